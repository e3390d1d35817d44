"""Clients that go away. Only a service that tells when its call is cancelled can show it: here a scripted embedder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc.aio
import pytest

from prisma.embedder.v1 import embedder_service_pb2 as pb2
from prisma.embedder.v1 import embedder_service_pb2_grpc
from prisma.embedder.v1.resources_pb2 import Dataset
from tests.nats_server import NatsServer, free_port
from tests.process import ServiceProcess

SECONDS = 20


@dataclass
class Silent(embedder_service_pb2_grpc.EmbedderServiceServicer):
    """Never answers; says when a call has begun, has brought its whole file, and was cancelled."""

    begun: asyncio.Event = field(default_factory=asyncio.Event)
    whole: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    @contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def GetDataset(self, request, context) -> Dataset:
        with self._noted():
            self.begun.set()
            await asyncio.Event().wait()
        return Dataset()

    async def ReadDocuments(self, request, context) -> AsyncIterator[pb2.ReadDocumentsResponse]:
        with self._noted():
            if request.since_revision:
                yield pb2.ReadDocumentsResponse(revision=1)
            self.begun.set()
            await asyncio.Event().wait()

    async def ImportDocuments(self, request_iterator, context) -> pb2.ImportDocumentsResponse:
        with self._noted():
            async for message in request_iterator:
                if message.chunk:
                    self.begun.set()
            self.whole.set()
            await asyncio.Event().wait()
        return pb2.ImportDocumentsResponse()


@dataclass(frozen=True)
class Gateway:
    process: ServiceProcess
    port: int
    embedder: Silent


@pytest.fixture
async def gateway(nats_server: NatsServer, tmp_path: Path) -> AsyncIterator[Gateway]:
    embedder, server = Silent(), grpc.aio.server()
    embedder_service_pb2_grpc.add_EmbedderServiceServicer_to_server(embedder, server)
    behind = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    port = free_port()
    settings = {
        "PRISMA_NATS_URL": nats_server.url,
        "PRISMA_EMBEDDER_ADDRESS": f"127.0.0.1:{behind}",
        "PRISMA_HTTP_LISTEN": f"127.0.0.1:{port}",
    }
    process = ServiceProcess("gateway", tmp_path, settings)
    await asyncio.to_thread(process.start)
    yield Gateway(process, port, embedder)
    process.kill()
    await server.stop(0)


FILE = b"x" * (2 << 20)
REQUESTS = {
    "a single answer": (b"GET /v1/datasets/d HTTP/1.1\r\nHost: localhost\r\n\r\n", b""),
    "a stream before its first message": (
        b"GET /v1/datasets/d/documents:read HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"",
    ),
    "a stream between messages": (
        b"GET /v1/datasets/d/documents:read?sinceRevision=1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"HTTP/1.1 200",
    ),
    "half a file": (
        b"POST /v1/datasets/d/documents:import HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000\r\n\r\n" + FILE,
        b"",
    ),
    "a whole file": (
        b"POST /v1/datasets/d/documents:import HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2097152\r\n\r\n" + FILE,
        b"",
    ),
}


@pytest.mark.parametrize("case", REQUESTS)
async def test_a_client_that_goes_cancels_the_call_and_nothing_is_a_defect(gateway: Gateway, case: str) -> None:
    request, answer = REQUESTS[case]
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(request)
    await writer.drain()
    await asyncio.wait_for(gateway.embedder.begun.wait(), SECONDS)
    if case == "a whole file":
        await asyncio.wait_for(gateway.embedder.whole.wait(), SECONDS)
    if answer:
        assert (await asyncio.wait_for(reader.readline(), SECONDS)).startswith(answer)
    assert not gateway.embedder.cancelled.is_set()
    writer.close()
    await asyncio.wait_for(gateway.embedder.cancelled.wait(), SECONDS)
    assert await asyncio.to_thread(gateway.process.stop) == 0
    log = gateway.process.log.read_text()
    assert "Traceback" not in log, log
    assert "Exception in ASGI application" not in log, log
