"""Jobs are followed to their end: through outages, and where they fail."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest
from google.protobuf import json_format

from prisma.common.v1.job_pb2 import Job
from prisma_client import AsyncPrisma, JobFailed, Prisma, Unavailable, outage
from prisma_client.sync import jobs
from tests.client.scripted_gateway import Answer, error, reply, scripted, status_json, stream

RUNNING = {"name": "jobs/j", "kind": "train-run", "state": "STATE_RUNNING", "progress": {"done": "1"}}
WAITING = {
    **RUNNING,
    "state": "STATE_WAITING",
    "error": {**status_json("UNAVAILABLE", "SERVICE_UNAVAILABLE", "the embedder is unreachable"), "code": 14},
}
SUCCEEDED = {**RUNNING, "state": "STATE_SUCCEEDED"}
FAILED = {
    **RUNNING,
    "state": "STATE_FAILED",
    "error": {**status_json("FAILED_PRECONDITION", "RUN_NOT_TRAINED", "runs/r has no codes yet"), "code": 9},
}
for failing in (WAITING, FAILED):
    del failing["error"]["status"]  # google.rpc.Status has a code only
NATS_TIMEOUT = error(503, "UNAVAILABLE", "NATS_UNAVAILABLE", "the message server does not answer")


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outage, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(outage, "LONGEST_PAUSE_SECONDS", 0.02)


def test_following_a_job_outlasts_every_kind_of_outage(caplog: pytest.LogCaptureFixture) -> None:
    answers = [
        NATS_TIMEOUT,
        stream(RUNNING, cut=True),
        reply(502, "a proxy's page"),
        stream(RUNNING),  # ended in order, as by a gateway that stops
        stream(WAITING, {"error": status_json("UNAVAILABLE", "NATS_UNAVAILABLE")}),
        stream(WAITING, SUCCEEDED),
    ]
    states: list[int] = []
    with scripted(answers) as gateway, Prisma(gateway.url) as prisma, caplog.at_level(logging.WARNING):
        ended = prisma.jobs.wait("j", lambda job: states.append(job.state))
    assert ended.state == Job.STATE_SUCCEEDED
    assert states == [Job.STATE_RUNNING, Job.STATE_WAITING, Job.STATE_SUCCEEDED], "a repeated state is not a change"
    assert gateway.requests == ["GET /v1/jobs/j:watch"] * len(answers)
    assert "the message server does not answer" in caplog.text


def test_an_outage_beyond_the_patience_is_an_error() -> None:
    with scripted([NATS_TIMEOUT]) as gateway, Prisma(gateway.url, patience=0.05) as prisma:
        with pytest.raises(Unavailable) as caught:
            prisma.jobs.wait("j")
        assert caught.value.reason == "NATS_UNAVAILABLE"
    assert len(gateway.requests) >= 2


async def test_a_failed_job_is_an_error_with_its_reason() -> None:
    with scripted([stream(RUNNING, FAILED)]) as gateway:
        async with AsyncPrisma(gateway.url) as prisma:
            with pytest.raises(JobFailed, match="runs/r has no codes yet") as caught:
                await prisma.jobs.wait("j")
    assert (caught.value.code, caught.value.reason) == ("FAILED_PRECONDITION", "RUN_NOT_TRAINED")
    assert caught.value.metadata == {"run": "r"}


def test_calls_that_carry_a_request_id_are_repeated() -> None:
    busy = error(429, "RESOURCE_EXHAUSTED", "TOO_MANY_REQUESTS")
    answers = [reply(200, {"name": "datasets/d"}), busy, NATS_TIMEOUT, reply(200, RUNNING)]
    with scripted(answers) as gateway, Prisma(gateway.url) as prisma:
        assert prisma.datasets.get("d").embed(wait=False).name == "jobs/j"
        assert gateway.requests[1:] == ["POST /v1/datasets/d:embed"] * 3


EMBEDDED = {**SUCCEEDED, "kind": "embed-dataset", "resources": ["datasets/d"]}
TRAINED = {**SUCCEEDED, "resources": ["runs/r", "datasets/d"]}


def index(*current: str, behind: str = "codes of runs/other") -> Answer:
    """The state of an index."""
    streams = [(*stream.split(" of "), True) for stream in current] + [(*behind.split(" of "), False)]
    return reply(200, {"streams": [{"kind": kind, "resource": name, "current": done} for kind, name, done in streams]})


def test_a_job_that_was_waited_for_has_results_that_searches_find(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "INDEX_PAUSES_SECONDS", (0.0, 0.0, 0.0))
    documents, vectors, codes = "documents of datasets/d", "vectors of datasets/d", "codes of runs/r"
    answers = [
        reply(200, {"name": "datasets/d"}),
        reply(200, EMBEDDED),
        stream(EMBEDDED),
        index(documents),
        index(documents, vectors),
        reply(200, {"name": "datasets/d"}),
        reply(200, {"name": "runs/r"}),
        reply(200, TRAINED),
        stream(TRAINED),
        index(documents, vectors),
        index(documents, vectors, codes),
        reply(200, {"name": "runs/r"}),
    ]
    with scripted(answers) as gateway, Prisma(gateway.url) as prisma:
        data = prisma.datasets.get("d")
        data.embed()
        assert len(gateway.requests) == 6
        data.train(run_id="r")
        assert len(gateway.requests) == len(answers)


def test_an_index_that_stays_behind_or_does_not_answer_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "INDEX_PAUSES_SECONDS", (0.0, 0.0))
    job = json_format.ParseDict(TRAINED, Job())
    for answer, count in ((index(), 2), (error(404, "NOT_FOUND", "DATASET_NOT_FOUND"), 1)):
        with scripted([answer]) as gateway, Prisma(gateway.url) as prisma:
            assert not prisma.jobs.wait_for_index(job)
            assert len(gateway.requests) == count


ISOLATED = """
import importlib, pkgutil, sys

class NoServer:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("services", "gateway"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NoServer())
import prisma_client
for module in pkgutil.walk_packages(prisma_client.__path__, "prisma_client."):
    importlib.import_module(module.name)
with prisma_client.Prisma(sys.argv[1]) as prisma:
    print([job.error.message for job in prisma.jobs.list()], prisma.jobs.get("j").kind)
    try:
        prisma.jobs.wait("j")
    except prisma_client.JobFailed as error:
        print(error.reason)
"""


def test_the_client_reads_failed_jobs_where_no_service_is_installed() -> None:
    answers = [reply(200, {"jobs": [FAILED]}), reply(200, FAILED), stream(FAILED)]
    with scripted(answers) as gateway:
        ended = subprocess.run(
            [sys.executable, "-c", ISOLATED, gateway.url], capture_output=True, text=True, timeout=60
        )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "['runs/r has no codes yet'] train-run\nRUN_NOT_TRAINED\n"
