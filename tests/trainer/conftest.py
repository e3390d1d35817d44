"""An embedder and a trainer as users start them, with a dataset of known vectors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from prisma.common.v1 import job_pb2_grpc
from prisma.common.v1.job_pb2 import Job
from prisma.embedder.v1 import embedder_service_pb2_grpc
from prisma.trainer.v1 import trainer_service_pb2_grpc
from tests import calls
from tests.nats_server import NatsServer
from tests.process import ServiceProcess, start_all

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
    pushed: Path
    """Where the operator lets runs be pushed to."""

    async def ended(self, job: Job) -> Job:
        """The job once it has ended, however often what answers for it dies meanwhile."""
        return await calls.ended(self.jobs, job)

    async def fill(self, count: int) -> None:
        """A dataset of `count` embedded texts of the sample."""
        await calls.fill(self.embedder, self.jobs, count)

    async def add(self, count: int) -> None:
        """Adds documents to the dataset, without embedding them."""
        documents = [{"id": f"added-{number}", "text": f"an added text, number {number}"} for number in range(count)]
        await calls.add(self.embedder, documents)


@pytest.fixture
def processes(nats_server: NatsServer, tmp_path: Path) -> Iterator[tuple[ServiceProcess, ServiceProcess]]:
    common = {"PRISMA_NATS_URL": nats_server.url, "PRISMA_ACK_WAIT_SECONDS": "3", "PRISMA_CATCH_UP_SECONDS": "1"}
    embedder = ServiceProcess("embedder", tmp_path, common)
    # The trainer's own folder: it shares nothing with the rest but two addresses.
    apart = tmp_path / "elsewhere"
    apart.mkdir()
    pushed = tmp_path / "pushed"
    pushed.mkdir()
    addresses = {"PRISMA_EMBEDDER_ADDRESS": embedder.address, "PRISMA_TRAINER_PUSH_URL": pushed.as_uri()}
    trainer = ServiceProcess("trainer", apart, {**common, **addresses})
    start_all(embedder, trainer)
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
            nats=nats_server,
            embedder_process=embedder,
            trainer_process=trainer,
            embedder=embedder_service_pb2_grpc.EmbedderServiceStub(to_embedder),
            trainer=trainer_service_pb2_grpc.TrainerServiceStub(to_trainer),
            jobs=job_pb2_grpc.JobServiceStub(to_embedder),
            folder=tmp_path / "elsewhere/data/trainer/blobs",
            pushed=tmp_path / "pushed",
        )
