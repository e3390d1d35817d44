"""An embedder as users start it, and what talks to it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc.aio
import pytest

from prisma.common.v1 import job_pb2_grpc
from prisma.embedder.v1 import embedder_service_pb2_grpc
from tests.nats_server import NatsServer
from tests.process import ServiceProcess


@pytest.fixture
def embedder(nats_server: NatsServer, tmp_path: Path) -> Iterator[ServiceProcess]:
    process = ServiceProcess(
        "embedder",
        tmp_path,
        {
            "PRISMA_NATS_URL": nats_server.url,
            "PRISMA_EMBED_BATCH": "16",
            "PRISMA_ACK_WAIT_SECONDS": "2",
            "PRISMA_SCRUB_SECONDS": "1",
        },
    )
    process.start()
    yield process
    process.kill()


@pytest.fixture
async def channel(embedder: ServiceProcess) -> AsyncIterator[grpc.aio.Channel]:
    options = [("grpc.max_reconnect_backoff_ms", 200), ("grpc.initial_reconnect_backoff_ms", 100)]
    async with grpc.aio.insecure_channel(embedder.address, options) as opened:
        yield opened


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> embedder_service_pb2_grpc.EmbedderServiceStub:
    return embedder_service_pb2_grpc.EmbedderServiceStub(channel)


@pytest.fixture
def jobs(channel: grpc.aio.Channel) -> job_pb2_grpc.JobServiceStub:
    return job_pb2_grpc.JobServiceStub(channel)
