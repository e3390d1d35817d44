"""A search service as users start it, its owners, and what talks to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc.aio
import nats
import pytest

from prisma.common.v1 import job_pb2_grpc
from prisma.common.v1.event_pb2 import ResourceChanged
from prisma.embedder.v1 import embedder_service_pb2_grpc
from prisma.interpreter.v1 import interpreter_service_pb2_grpc
from prisma.search.v1 import search_service_pb2_grpc
from prisma.trainer.v1 import trainer_service_pb2_grpc
from tests.nats_server import NatsServer
from tests.process import ServiceProcess
from tests.search.owners import Owners

Hint = Callable[..., Awaitable[None]]


@pytest.fixture
async def owners() -> AsyncIterator[Owners]:
    servicer = Owners()
    server = grpc.aio.server()
    registrations: list[Callable[[Any, Any], None]] = [
        embedder_service_pb2_grpc.add_EmbedderServiceServicer_to_server,
        trainer_service_pb2_grpc.add_TrainerServiceServicer_to_server,
        interpreter_service_pb2_grpc.add_InterpreterServiceServicer_to_server,
    ]
    for add_servicer in registrations:
        add_servicer(servicer, server)
    servicer.port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield servicer
    await server.stop(None)


def make_service(owners: Owners, nats_server: NatsServer, folder: Path, **environment: str) -> ServiceProcess:
    address = f"127.0.0.1:{owners.port}"
    return ServiceProcess(
        "search",
        folder,
        {
            "PRISMA_NATS_URL": nats_server.url,
            "PRISMA_EMBEDDER_ADDRESS": address,
            "PRISMA_TRAINER_ADDRESS": address,
            "PRISMA_INTERPRETER_ADDRESS": address,
            "PRISMA_ACK_WAIT_SECONDS": "2",
            **environment,
        },
    )


@pytest.fixture
async def service(owners: Owners, nats_server: NatsServer, tmp_path: Path) -> AsyncIterator[ServiceProcess]:
    """Started by the test, in a thread: the owners answer on this loop."""
    process = make_service(owners, nats_server, tmp_path)
    yield process
    process.kill()


@pytest.fixture
async def channel(service: ServiceProcess) -> AsyncIterator[grpc.aio.Channel]:
    options = [("grpc.max_reconnect_backoff_ms", 200), ("grpc.initial_reconnect_backoff_ms", 100)]
    async with grpc.aio.insecure_channel(service.address, options) as connection:
        yield connection


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> search_service_pb2_grpc.SearchServiceStub:
    return search_service_pb2_grpc.SearchServiceStub(channel)


@pytest.fixture
def jobs(channel: grpc.aio.Channel) -> job_pb2_grpc.JobServiceStub:
    return job_pb2_grpc.JobServiceStub(channel)


@pytest.fixture
async def hint(nats_server: NatsServer) -> AsyncIterator[Hint]:
    """Publishes a hint that a resource has changed; without a name, that something has."""
    link = await nats.connect(nats_server.url)

    async def publish(resource: str = "") -> None:
        event = ResourceChanged(resource=resource)
        await link.publish("prisma.events.dataset.changed", event.SerializeToString())
        await link.flush()

    yield publish
    await link.close()
