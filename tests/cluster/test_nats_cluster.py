"""Three message servers with TLS, credentials and few permissions: one is lost at a time, no job is."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from prisma.common.v1 import job_pb2_grpc
from prisma.common.v1.job_pb2 import GetJobRequest, Job, ListJobsRequest, WatchJobRequest
from prisma.embedder.v1 import embedder_service_pb2 as embedder_pb2
from prisma.embedder.v1 import embedder_service_pb2_grpc
from prisma.trainer.v1 import trainer_service_pb2 as trainer_pb2
from prisma.trainer.v1 import trainer_service_pb2_grpc
from prisma.trainer.v1.resources_pb2 import Config, Run
from services.chassis.job_store import TERMINAL
from services.chassis.nats import BUCKET, DEAD, JOBS, NatsLink
from services.chassis.nats_access import NatsAccess
from services.chassis.settings import ChassisSettings
from tests import calls
from tests.nats_cluster import SIZE, NatsCluster
from tests.process import ROOT, ServiceProcess, start_all

PERMISSIONS = (ROOT / "docs/reference/nats.md").read_text()
STREAMS = (JOBS, DEAD, f"KV_{BUCKET}")
SUBMISSIONS = 60


def documented(kind: str) -> tuple[str, ...]:
    """The subjects that the reference says PRISMA's user needs."""
    block = re.search(rf"{kind}: \[(.*?)\]", PERMISSIONS, re.DOTALL)
    assert block is not None
    return tuple(re.findall(r'"(.+?)"', block[1]))


@dataclass(frozen=True)
class Suite:
    """An embedder and a trainer on a cluster of message servers."""

    cluster: NatsCluster
    processes: tuple[ServiceProcess, ServiceProcess]
    embedder: Any
    trainer: Any
    jobs: Any

    @asynccontextmanager
    async def linked(self) -> AsyncIterator[NatsLink]:
        """A connection to the cluster."""
        settings = {name.removeprefix("PRISMA_").lower(): value for name, value in self.cluster.settings.items()}
        link = NatsLink(NatsAccess.of(ChassisSettings.model_validate(settings)))
        link.start()
        try:
            await link.ready()
            yield link
        finally:
            await link.close()

    async def stream_settings(self) -> list[dict[str, Any]]:
        """The settings of all streams, as an operator sees them."""
        async with self.linked() as link:
            return [(await link.stream.stream_info(name)).config.as_dict() for name in STREAMS]

    async def set_replicas(self, stream: str, replicas: int) -> None:
        """What an operator does."""
        async with self.linked() as link:
            config = (await link.stream.stream_info(stream)).config
            await link.stream.update_stream(config.evolve(num_replicas=replicas))


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[NatsCluster]:
    cluster = NatsCluster(tmp_path / "nats", publish=documented("publish"), subscribe=documented("subscribe"))
    cluster.start()
    yield cluster
    cluster.kill()


@pytest.fixture
async def suite(cluster: NatsCluster, tmp_path: Path) -> AsyncIterator[Suite]:
    common = {**cluster.settings, "PRISMA_ACK_WAIT_SECONDS": "3", "PRISMA_CATCH_UP_SECONDS": "1"}
    embedder = ServiceProcess("embedder", tmp_path, common)
    trainer = ServiceProcess("trainer", tmp_path, {**common, "PRISMA_EMBEDDER_ADDRESS": embedder.address})
    start_all(embedder, trainer)
    options = [("grpc.max_reconnect_backoff_ms", 200), ("grpc.initial_reconnect_backoff_ms", 100)]
    async with (
        grpc.aio.insecure_channel(embedder.address, options) as to_embedder,
        grpc.aio.insecure_channel(trainer.address, options) as to_trainer,
    ):
        for channel in (to_embedder, to_trainer):  # a cluster without a leader is no fault of theirs
            await persistent(job_pb2_grpc.JobServiceStub(channel).ListJobs, ListJobsRequest())
        yield Suite(
            cluster=cluster,
            processes=(embedder, trainer),
            embedder=embedder_service_pb2_grpc.EmbedderServiceStub(to_embedder),
            trainer=trainer_service_pb2_grpc.TrainerServiceStub(to_trainer),
            jobs=job_pb2_grpc.JobServiceStub(to_embedder),
        )
    for process in (trainer, embedder):
        process.kill()
        assert "lacks a permission" not in process.log.read_text()


async def persistent(call: Any, request: Any) -> Any:
    """The response of a call, repeated while the message server is away."""
    while True:
        try:
            return await call(request)
        except grpc.aio.AioRpcError as error:
            assert error.code() == grpc.StatusCode.UNAVAILABLE, error
            assert calls.reason(error) == "NATS_UNAVAILABLE", error
            await asyncio.sleep(0.2)


async def watched(jobs: Any, job: Job) -> list[Job]:
    """What one stream shows of a job until its end."""
    return [state async for state in jobs.WatchJob(WatchJobRequest(name=job.name))]


async def until_done_in_part(jobs: Any, job: Job) -> None:
    """Waits until a job has begun and not ended."""
    async for state in jobs.WatchJob(WatchJobRequest(name=job.name)):
        assert state.state not in TERMINAL, "the job is too short"
        if state.progress.done:
            return


@pytest.mark.timeout(240)
async def test_a_server_is_killed_while_a_run_is_trained(suite: Suite) -> None:
    await calls.fill(suite.embedder, suite.jobs, 400)
    config = Config(expansion=8, k=16, batch_size=32, epochs=120, threads=1, siblings=0)
    run = trainer_pb2.CreateRunRequest(run_id="r", run=Run(dataset="datasets/d", config=config))
    await suite.trainer.CreateRun(run)
    job = await persistent(suite.trainer.TrainRun, trainer_pb2.TrainRunRequest(name="runs/r", request_id="r"))
    watching = asyncio.create_task(watched(suite.jobs, job))
    await until_done_in_part(suite.jobs, job)
    leader = suite.cluster.leader(f"KV_{BUCKET}")
    leader.kill()
    states = await watching
    assert len(states) > 2
    assert states[-1].state == Job.STATE_SUCCEEDED, states[-1]
    leader.start()

    assert [entry["num_replicas"] for entry in await suite.stream_settings()] == [SIZE] * len(STREAMS)
    await suite.set_replicas(DEAD, 1)
    settings = await suite.stream_settings()
    assert settings[STREAMS.index(DEAD)]["num_replicas"] == 1
    for process in suite.processes:
        process.kill()
    start_all(*suite.processes)
    assert (await persistent(suite.jobs.GetJob, GetJobRequest(name=job.name))).state == Job.STATE_SUCCEEDED
    assert await suite.stream_settings() == settings


@pytest.mark.timeout(240)
async def test_the_leader_is_killed_while_jobs_are_submitted(suite: Suite) -> None:
    for number in range(SUBMISSIONS):
        await suite.embedder.CreateDataset(embedder_pb2.CreateDatasetRequest(dataset_id=f"d{number}"))
    names: list[str] = []

    async def submit(numbers: range) -> None:
        for number in numbers:
            request = embedder_pb2.EmbedDatasetRequest(name=f"datasets/d{number}", request_id=str(uuid.uuid4()))
            names.append((await persistent(suite.embedder.EmbedDataset, request)).name)

    third = SUBMISSIONS // 3
    await submit(range(third))
    for stream, first in ((f"KV_{BUCKET}", third), (JOBS, 2 * third)):
        leader = suite.cluster.leader(stream)
        submitting = asyncio.create_task(submit(range(first, first + third)))
        await asyncio.sleep(0.02)
        leader.kill()
        await submitting
        leader.start()
    assert len(set(names)) == SUBMISSIONS
    listed = await persistent(suite.jobs.ListJobs, ListJobsRequest(page_size=1000))
    assert sorted(job.name for job in listed.jobs) == sorted(names)
    for name in names:
        assert (await calls.ended(suite.jobs, Job(name=name))).state == Job.STATE_SUCCEEDED
