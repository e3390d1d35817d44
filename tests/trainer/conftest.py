"""An embedder and a trainer as users start them, with a dataset of known vectors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from prisma.common.v1 import job_pb2_grpc
from prisma.common.v1.job_pb2 import GetJobRequest, Job
from prisma.embedder.v1 import embedder_service_pb2 as embedder_pb2
from prisma.embedder.v1 import embedder_service_pb2_grpc
from prisma.trainer.v1 import trainer_service_pb2_grpc
from prisma_client import sample
from services.chassis.job_store import TERMINAL
from tests.nats_server import NatsServer
from tests.process import ServiceProcess

DATASET = "datasets/d"


@dataclass(frozen=True)
class Suite:
    """The processes, and stubs that reach them."""

    nats: NatsServer
    embedder_process: ServiceProcess
    trainer_process: ServiceProcess
    embedder: Any
    trainer: Any
    jobs: Any
    folder: Path

    async def ended(self, job: Job) -> Job:
        """The job once it has ended, however often what answers for it dies meanwhile."""
        for _ in range(900):
            try:
                job = await self.jobs.GetJob(GetJobRequest(name=job.name))
                if job.state in TERMINAL:
                    return job
            except grpc.aio.AioRpcError as error:
                assert error.code() == grpc.StatusCode.UNAVAILABLE, error
            await asyncio.sleep(0.1)
        raise AssertionError(f"the job did not end: {job}")

    async def fill(self, count: int) -> None:
        """A dataset of `count` embedded texts of the sample."""
        rows = [each for each, _ in zip(sample.documents(), range(count), strict=False)]
        await self.embedder.CreateDataset(embedder_pb2.CreateDatasetRequest(dataset_id="d"))

        async def messages() -> AsyncIterator[embedder_pb2.ImportDocumentsRequest]:
            config = embedder_pb2.ImportDocumentsRequest.Config(dataset=DATASET)
            yield embedder_pb2.ImportDocumentsRequest(config=config)
            yield embedder_pb2.ImportDocumentsRequest(chunk=json.dumps(rows).encode())

        await self.embedder.ImportDocuments(messages())
        job = await self.ended(await self.embedder.EmbedDataset(embedder_pb2.EmbedDatasetRequest(name=DATASET)))
        assert job.state == Job.STATE_SUCCEEDED, job


@pytest.fixture
def processes(nats_server: NatsServer, tmp_path: Path) -> Iterator[tuple[ServiceProcess, ServiceProcess]]:
    common = {"PRISMA_NATS_URL": nats_server.url, "PRISMA_ACK_WAIT_SECONDS": "3", "PRISMA_CATCH_UP_SECONDS": "1"}
    embedder = ServiceProcess("embedder", tmp_path, common)
    # The trainer's own folder: it shares nothing with the rest but two addresses.
    apart = tmp_path / "elsewhere"
    apart.mkdir()
    trainer = ServiceProcess("trainer", apart, {**common, "PRISMA_EMBEDDER_ADDRESS": embedder.address})
    embedder.start()
    trainer.start()
    yield embedder, trainer
    for process in (trainer, embedder):
        process.kill()


@pytest.fixture
async def suite(
    processes: tuple[ServiceProcess, ServiceProcess], nats_server: NatsServer, tmp_path: Path
) -> AsyncIterator[Suite]:
    embedder, trainer = processes
    options = [("grpc.max_reconnect_backoff_ms", 200), ("grpc.initial_reconnect_backoff_ms", 100)]
    async with (
        grpc.aio.insecure_channel(embedder.address, options) as to_embedder,
        grpc.aio.insecure_channel(trainer.address, options) as to_trainer,
    ):
        yield Suite(
            nats_server,
            embedder,
            trainer,
            embedder_service_pb2_grpc.EmbedderServiceStub(to_embedder),
            trainer_service_pb2_grpc.TrainerServiceStub(to_trainer),
            job_pb2_grpc.JobServiceStub(to_embedder),
            tmp_path / "elsewhere/data/trainer/blobs",
        )
