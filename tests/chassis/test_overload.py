"""Beyond its limit a process refuses calls at once, with a time to wait, and serves on."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
import pytest
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status

from prisma.embedder.v1 import embedder_service_pb2 as pb2
from prisma.embedder.v1 import embedder_service_pb2_grpc
from tests.calls import reason
from tests.nats_server import NatsServer
from tests.process import ServiceProcess

LIMIT = 4


@pytest.fixture
async def channel(nats_server: NatsServer, tmp_path: Path) -> AsyncIterator[grpc.aio.Channel]:
    """To an embedder that answers LIMIT calls at a time."""
    environment = {"PRISMA_NATS_URL": nats_server.url, "PRISMA_MAX_CALLS": str(LIMIT)}
    process = ServiceProcess("embedder", tmp_path, environment)
    process.start()
    async with grpc.aio.insecure_channel(process.address) as opened:
        yield opened
    process.kill()


def retry_seconds(error: grpc.aio.AioRpcError) -> float:
    """The time to wait in an error's RetryInfo; 0 without one."""
    info = error_details_pb2.RetryInfo()
    details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
    assert isinstance(details, bytes)
    is_given = any(detail.Unpack(info) for detail in Status.FromString(details).details)
    return info.retry_delay.ToTimedelta().total_seconds() if is_given else 0


async def test_a_call_beyond_the_limit_is_refused_until_another_ends(channel: grpc.aio.Channel) -> None:
    stub = embedder_service_pb2_grpc.EmbedderServiceStub(channel)
    await stub.CreateDataset(pb2.CreateDatasetRequest(dataset_id="d"))
    ended = asyncio.Event()

    async def slow_import() -> AsyncIterator[pb2.ImportDocumentsRequest]:
        yield pb2.ImportDocumentsRequest(config={"dataset": "datasets/d"})
        yield pb2.ImportDocumentsRequest(chunk=b'{"id": "a", ')
        await ended.wait()
        yield pb2.ImportDocumentsRequest(chunk=b'"text": "a"}')

    async def accepted_import() -> pb2.ImportDocumentsResponse:
        """A call that has been answered may still be counted for a moment, so an import may be refused at first."""
        while True:
            try:
                return await stub.ImportDocuments(slow_import())
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                    raise

    imports = [asyncio.ensure_future(accepted_import()) for _ in range(LIMIT)]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        for _ in range(100):  # the server counts an import once its first message has arrived
            await stub.GetDataset(pb2.GetDatasetRequest(name="datasets/d"))
            await asyncio.sleep(0.05)
    assert (caught.value.code(), reason(caught.value)) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_REQUESTS")
    assert retry_seconds(caught.value) > 0
    ended.set()
    reports = await asyncio.gather(*imports)
    assert sum(report.imported_count for report in reports) == 1
    await stub.GetDataset(pb2.GetDatasetRequest(name="datasets/d"))


async def test_an_overload_gets_answers_or_refusals_and_nothing_else(channel: grpc.aio.Channel) -> None:
    stub = embedder_service_pb2_grpc.EmbedderServiceStub(channel)
    outcomes: Counter[grpc.StatusCode] = Counter()

    async def client() -> None:
        for _ in range(20):
            try:
                await stub.ListDatasets(pb2.ListDatasetsRequest(), timeout=60)
                outcomes[grpc.StatusCode.OK] += 1
            except grpc.aio.AioRpcError as error:
                outcomes[error.code()] += 1

    await asyncio.gather(*(client() for _ in range(16 * LIMIT)))
    assert set(outcomes) == {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}, outcomes
    await stub.ListDatasets(pb2.ListDatasetsRequest())
