"""The whole stack, while each of its processes is killed in the middle of its work."""

from __future__ import annotations

import hashlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from prisma.common.v1.job_pb2 import Job
from prisma_client import NotFound, Prisma, Unavailable, sample
from services.chassis.job_store import TERMINAL
from tests.stack import PRISMA, environment

NAMES = ("nats-server", "services.embedder", "services.trainer", "services.interpreter", "services.search", "gateway")


@pytest.fixture
def up(tmp_path: Path) -> Iterator[tuple[Prisma, psutil.Process]]:
    chosen = {**environment(tmp_path), "PRISMA_ACK_WAIT_SECONDS": "3", "PRISMA_EMBED_BATCH": "32"}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([PRISMA, "up"], env=chosen, stdout=subprocess.PIPE, stderr=log, text=True)
        assert process.stdout is not None
        assert "PRISMA is up" in process.stdout.readline(), (tmp_path / "log").read_text()
        try:
            with Prisma(chosen["PRISMA_URL"]) as prisma:
                yield prisma, psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait(30)


def kill(stack: psutil.Process, name: str) -> None:
    """kill -9 of one process; the stack starts it again."""
    for child in stack.children():
        if any(name in word for word in child.cmdline()):
            child.kill()
            return
    raise AssertionError(f"{name} does not run")


def until_ended(prisma: Prisma, job: str) -> Job:
    """The job once it has ended, whoever is away meanwhile."""
    for _ in range(1200):
        try:
            found = prisma.jobs.get(job)
            if found.state in TERMINAL:
                return found
        except Unavailable:
            pass
        time.sleep(0.1)
    raise AssertionError(f"{job} did not end")


def kill_each_while_it_runs(prisma: Prisma, stack: psutil.Process, job: str) -> None:
    """Kills every process in turn, each once it is up, until all were or the job has ended."""
    for name in NAMES:
        for _ in range(300):
            if any(any(name in word for word in child.cmdline()) for child in stack.children()):
                break
            time.sleep(0.05)
        kill(stack, name)
        time.sleep(0.5)


@pytest.mark.timeout(400)
def test_killed_in_every_place_the_work_ends_by_itself_and_nothing_is_lost_or_doubled(
    up: tuple[Prisma, psutil.Process], tmp_path: Path
) -> None:
    prisma, stack = up
    documents = list(sample.documents())[:3000]
    data = prisma.datasets.create("d", documents, dataset_id="d")

    job = data.embed(wait=False)
    kill_each_while_it_runs(prisma, stack, job.name)
    assert until_ended(prisma, job.name).state == Job.STATE_SUCCEEDED
    data.refresh()
    assert (data.message.embedded_count, data.message.pending_count, data.message.failed_count) == (3000, 0, 0)

    config = {"expansion": 4, "k": 16, "epochs": 60, "threads": 1}
    disturbed = data.train(run_id="disturbed", wait=False, **config)
    job = next(each for each in prisma.jobs.list() if each.kind == "train-run")
    kill_each_while_it_runs(prisma, stack, job.name)
    assert until_ended(prisma, job.name).state == Job.STATE_SUCCEEDED
    undisturbed = data.train(run_id="undisturbed", **config)
    digests = []
    for run in (disturbed, undisturbed):
        run.export_weights(tmp_path / run.id)
        digests.append(hashlib.sha256((tmp_path / run.id).read_bytes()).hexdigest())
    assert digests[0] == digests[1], "a killed training ends with other weights"
    commands = [" ".join(child.cmdline()) for child in stack.children(recursive=True)]
    assert not any("services.trainer.training" in command for command in commands)

    run = disturbed
    run.compute_statistics()
    job = run.label(wait=False)
    kill(stack, "services.interpreter")
    assert until_ended(prisma, job.name).state == Job.STATE_SUCCEEDED
    found = run.interpretation()
    assert found.labelled_count == found.live_count
    for _ in range(600):
        status = data.index_status()
        counts = {(each.kind, each.resource): each.item_count for each in status.streams}
        if status.current and ("labels", run.name) in counts:
            break
        time.sleep(0.1)
    assert counts[("documents", data.name)] == counts[("vectors", data.name)] == 3000
    assert counts[("codes", run.name)] == 3000
    assert counts[("labels", run.name)] == found.labelled_count

    # Deleted while a job runs: gone everywhere, and nothing comes back.
    other = data.train(run_id="never", wait=False, **config)
    data.delete()
    for _ in range(300):
        try:
            other.refresh()
        except NotFound:
            break
        time.sleep(0.1)
    time.sleep(2)  # two rounds of all followers
    assert prisma.runs.list() == []
    assert prisma.datasets.list() == []
    left = [path for path in (tmp_path / "data").rglob("*.npy") if "vectors" not in path.parts]
    assert left == []
