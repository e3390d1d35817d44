"""Embedder, trainer and interpreter as users start them, with a trained run of the sample."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import grpc.aio
import pytest

from prisma.common.v1 import job_pb2_grpc
from prisma.common.v1.job_pb2 import Job
from prisma.embedder.v1 import embedder_service_pb2_grpc
from prisma.interpreter.v1 import interpreter_service_pb2_grpc
from prisma.trainer.v1 import trainer_service_pb2 as trainer_pb2
from prisma.trainer.v1 import trainer_service_pb2_grpc
from prisma.trainer.v1.resources_pb2 import Config, Run
from tests import calls
from tests.nats_server import NatsServer
from tests.process import ServiceProcess, start_all

DATASET = "datasets/d"
RUN = "runs/r"


@dataclass(frozen=True)
class Suite:
    """The processes, and stubs that reach them."""

    embedder_process: ServiceProcess
    trainer_process: ServiceProcess
    interpreter_process: ServiceProcess
    embedder: Any
    trainer: Any
    interpreter: Any
    jobs: Any

    async def ended(self, job: Job) -> Job:
        """The job once it has ended, however often what answers for it dies meanwhile."""
        return await calls.ended(self.jobs, job)

    async def train(
        self, run_id: str = "r", count: int = 600, siblings: int = 0, config: Mapping[str, Any] | None = None
    ) -> None:
        """A trained run of the sample's first texts, each of its latents being one of 256."""
        await calls.fill(self.embedder, self.jobs, count)
        settings = {"expansion": 1, "k": 8, "epochs": 5, "siblings": siblings, **(config or {})}
        run = Run(dataset=DATASET, config=Config(**settings))
        await self.trainer.CreateRun(trainer_pb2.CreateRunRequest(run_id=run_id, run=run))
        job = await self.ended(await self.trainer.TrainRun(trainer_pb2.TrainRunRequest(name=f"runs/{run_id}")))
        assert job.state == Job.STATE_SUCCEEDED, job


@pytest.fixture
def ollama_address() -> str:
    """No Ollama by default: nothing listens on this port."""
    return "http://127.0.0.1:9"


@pytest.fixture
def providers_file() -> str:
    """No file of model servers by default."""
    return ""


@pytest.fixture
async def suite(
    nats_server: NatsServer, tmp_path_factory: pytest.TempPathFactory, ollama_address: str, providers_file: str
) -> AsyncIterator[Suite]:
    folder = tmp_path_factory.mktemp("suite")
    common = {"PRISMA_NATS_URL": nats_server.url, "PRISMA_ACK_WAIT_SECONDS": "3", "PRISMA_CATCH_UP_SECONDS": "1"}
    embedder = ServiceProcess("embedder", folder, common)
    trainer = ServiceProcess("trainer", folder, {**common, "PRISMA_EMBEDDER_ADDRESS": embedder.address})
    addresses = {"PRISMA_EMBEDDER_ADDRESS": embedder.address, "PRISMA_TRAINER_ADDRESS": trainer.address}
    providers = {"PRISMA_OLLAMA_URL": ollama_address, "PRISMA_PROVIDERS": providers_file}
    interpreter = ServiceProcess("interpreter", folder, {**common, **addresses, **providers})
    start_all(embedder, trainer, interpreter)
    options = [("grpc.max_reconnect_backoff_ms", 200), ("grpc.initial_reconnect_backoff_ms", 100)]
    async with (
        grpc.aio.insecure_channel(embedder.address, options) as to_embedder,
        grpc.aio.insecure_channel(trainer.address, options) as to_trainer,
        grpc.aio.insecure_channel(interpreter.address, options) as to_interpreter,
    ):
        yield Suite(
            embedder_process=embedder,
            trainer_process=trainer,
            interpreter_process=interpreter,
            embedder=embedder_service_pb2_grpc.EmbedderServiceStub(to_embedder),
            trainer=trainer_service_pb2_grpc.TrainerServiceStub(to_trainer),
            interpreter=interpreter_service_pb2_grpc.InterpreterServiceStub(to_interpreter),
            jobs=job_pb2_grpc.JobServiceStub(to_embedder),
        )
    for process in (interpreter, trainer, embedder):
        process.kill()
