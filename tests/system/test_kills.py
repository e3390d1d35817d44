"""The whole stack, while each of its processes is killed in the middle of its work."""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prisma.common.v1.job_pb2 import Job
from prisma_client import NotFound, Prisma, sample
from prisma_client.sync.jobs import TERMINAL
from tests.children import tied
from tests.stack import NAMES, PRISMA, environment, processes


@pytest.fixture
def up(tmp_path: Path) -> Iterator[tuple[Prisma, int]]:
    settings = {**environment(tmp_path), "PRISMA_ACK_WAIT_SECONDS": "3", "PRISMA_EMBED_BATCH": "4"}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(tied(PRISMA, "up"), env=settings, stdout=subprocess.PIPE, stderr=log, text=True)
        assert process.stdout is not None
        assert "PRISMA is up" in process.stdout.readline(), (tmp_path / "log").read_text()
        try:
            with Prisma(settings["PRISMA_URL"]) as prisma:
                yield prisma, process.pid
        finally:
            process.terminate()
            process.wait(30)


def kill_each_while_it_runs(prisma: Prisma, stack: int, job: str) -> None:
    """Kills every process in turn, each once it runs, while the job is not done: each kill interrupts it."""
    for name in NAMES:
        while name not in processes(stack):
            time.sleep(0.05)
        state = next(iter(prisma.jobs.watch(job))).state
        assert state not in TERMINAL, f"the job ended before {name} was killed: make it longer"
        processes(stack)[name].kill()


def index_files(data: Path) -> list[Path]:
    """The arrays of all services but the embedder's vectors, while folders are being deleted."""
    files = [Path(folder) / name for folder, _, names in os.walk(data) for name in names]
    return [path for path in files if path.suffix == ".npy" and "vectors" not in path.parts]


@pytest.mark.timeout(600)
def test_killed_in_every_place_the_work_ends_by_itself_and_nothing_is_lost_or_doubled(
    up: tuple[Prisma, int], tmp_path: Path
) -> None:
    prisma, stack = up
    documents = list(sample.documents())[:3000]
    data = prisma.datasets.create("d", documents, dataset_id="d")

    job = data.embed(wait=False)
    kill_each_while_it_runs(prisma, stack, job.name)
    assert prisma.jobs.wait(job.name).state == Job.STATE_SUCCEEDED
    data.refresh()
    assert (data.message.embedded_count, data.message.pending_count, data.message.failed_count) == (3000, 0, 0)

    config: dict[str, Any] = {"expansion": 2, "k": 16, "epochs": 120, "threads": 1, "siblings": 1}
    disturbed = data.train(run_id="disturbed", wait=False, **config)
    job = next(job for job in prisma.jobs.list() if job.kind == "train-run")
    kill_each_while_it_runs(prisma, stack, job.name)
    assert prisma.jobs.wait(job.name).state == Job.STATE_SUCCEEDED
    undisturbed = data.train(run_id="undisturbed", **config)
    digests = []
    for run in (disturbed, undisturbed):
        run.export_weights(tmp_path / run.id)
        digests.append(hashlib.sha256((tmp_path / run.id).read_bytes()).hexdigest())
    assert digests[0] == digests[1], "a killed training ends with other weights"
    trainer = processes(stack)["services.trainer"]
    assert trainer.children() == [], "no training process is left"

    run = disturbed
    run.compute_statistics()
    job = run.label(wait=False)
    processes(stack)["services.interpreter"].kill()
    assert prisma.jobs.wait(job.name).state == Job.STATE_SUCCEEDED
    interpretation = run.interpretation()
    assert interpretation.labelled_count == interpretation.live_count
    counts: dict[tuple[str, str], int] = {}
    for _ in range(600):
        status = data.index_status()
        counts = {(stream.kind, stream.resource): stream.item_count for stream in status.streams}
        if status.current and ("labels", run.name) in counts:
            break
        time.sleep(0.1)
    assert counts[("documents", data.name)] == counts[("vectors", data.name)] == 3000
    assert counts[("codes", run.name)] == 3000
    assert counts[("labels", run.name)] == interpretation.labelled_count

    # Deleted while a job runs: gone everywhere, and nothing comes back.
    other = data.train(run_id="never", wait=False, **config)
    data.delete()
    for _ in range(300):
        try:
            other.refresh()
        except NotFound:
            break
        time.sleep(0.1)
    # A dataset whose index is current has seen all followers come by after the deletion.
    later = prisma.datasets.create("later", ["a text"], dataset_id="later")
    while not (later.index_status().current and later.index_status().streams):
        time.sleep(0.1)
    later.delete()
    assert prisma.runs.list() == []
    assert prisma.datasets.list() == []
    remaining: list[Path] = []
    for _ in range(300):  # search deletes the index of `later` when it hears of it
        remaining = index_files(tmp_path / "data")
        if not remaining:
            break
        time.sleep(0.1)
    assert remaining == []
