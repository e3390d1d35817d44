"""A service that restarts fails no request; one that stays away is reported."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
import httpx
import pytest

from gateway.listener import address_of
from prisma.common.v1 import job_pb2, job_pb2_grpc
from prisma.embedder.v1 import embedder_service_pb2 as pb2
from prisma.embedder.v1 import embedder_service_pb2_grpc
from prisma_common.listening import listening_socket
from services.chassis import channels
from services.chassis.limits import QUEUE_SECONDS, CallLimit, Waiting
from services.chassis.settings import ChassisSettings
from tests.nats_server import NatsServer
from tests.ports import free_port
from tests.process import ServiceProcess, start_all
from tests.readers import reading

CLIENTS = 8


@pytest.fixture
async def gateway(nats_server: NatsServer, tmp_path: Path) -> AsyncIterator[tuple[httpx.AsyncClient, ServiceProcess]]:
    """A client of a gateway, and the embedder behind it."""
    common = {"PRISMA_NATS_URL": nats_server.url}
    embedder = ServiceProcess("embedder", tmp_path, common)
    http = f"127.0.0.1:{free_port()}"
    own = {"PRISMA_EMBEDDER_ADDRESS": embedder.address, "PRISMA_HTTP_LISTEN": http}
    process = ServiceProcess("gateway", tmp_path, {**common, **own})
    start_all(embedder, process)
    async with httpx.AsyncClient(base_url=f"http://{http}", timeout=120, trust_env=False) as client:
        yield client, embedder
    process.kill()
    embedder.kill()


@pytest.mark.parametrize("end", ["SIGTERM", "SIGKILL"])
async def test_a_restart_fails_no_request(gateway: tuple[httpx.AsyncClient, ServiceProcess], end: str) -> None:
    client, embedder = gateway
    statuses: list[int] = []
    stop = asyncio.Event()

    async def read() -> None:
        while not stop.is_set():
            statuses.append((await client.get("/v1/datasets")).status_code)

    async def create() -> None:
        """Writes are not repeated: only an orderly end must fail none of them."""
        while not stop.is_set() and end == "SIGTERM":
            statuses.append((await client.post("/v1/datasets", json={"displayName": "d"})).status_code)

    readers = [asyncio.create_task(read()) for _ in range(CLIENTS)] + [asyncio.create_task(create())]
    while len(statuses) < 3 * CLIENTS:  # noqa: ASYNC110 - requests are in progress
        await asyncio.sleep(0.05)
    await asyncio.to_thread(embedder.stop if end == "SIGTERM" else embedder.kill)
    before = len(statuses)
    await asyncio.to_thread(embedder.start)
    while len(statuses) < before + 3 * CLIENTS:  # noqa: ASYNC110 - requests after the restart
        await asyncio.sleep(0.05)
    stop.set()
    await asyncio.gather(*readers)
    assert set(statuses) == {200}, {status: statuses.count(status) for status in set(statuses)}


async def test_a_restart_of_the_gateway_fails_no_request_of_clients_that_send_none_again(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    """With kept connections: what supervises the gateway keeps its socket for HTTP open."""
    common = {"PRISMA_NATS_URL": nats_server.url}
    embedder = ServiceProcess("embedder", tmp_path, common)
    with listening_socket("127.0.0.1:0") as listener:
        own = {"PRISMA_EMBEDDER_ADDRESS": embedder.address, "PRISMA_HTTP_LISTEN_FD": str(listener.fileno())}
        gateway = ServiceProcess("gateway", tmp_path, {**common, **own}, descriptors=[listener.fileno()])
        start_all(embedder, gateway)
        async with reading(f"http://{address_of(listener)}") as statuses:
            await asyncio.to_thread(gateway.stop)
            await asyncio.to_thread(gateway.start)
        assert set(statuses) == {"200"}, statuses
    gateway.kill()
    embedder.kill()


async def test_a_service_that_stays_away_is_reported_within_the_callers_deadline() -> None:
    channel = channels.open_channel(f"127.0.0.1:{free_port()}", ChassisSettings())
    stub = embedder_service_pb2_grpc.EmbedderServiceStub(channel)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.ListDatasets(pb2.ListDatasetsRequest(), timeout=0.5)
    error = channels.translate(caught.value, "embedder")
    assert error.reason == "SERVICE_UNAVAILABLE"
    await channel.close()


@pytest.mark.timeout(60)
async def test_calls_that_wait_for_a_restart_keep_no_others_out() -> None:
    """In a time that does not pass by itself, so that only the wait makes room."""
    now = 0.0
    waiting = Waiting(floor=1, clock=lambda: now)
    limit = CallLimit(total=2, per_caller=2, waiting=waiting)
    channel = channels.open_channel(f"127.0.0.1:{free_port()}", ChassisSettings())
    stub = embedder_service_pb2_grpc.EmbedderServiceStub(channel)
    begun = asyncio.Event()

    async def call() -> None:
        nonlocal now
        with limit.call(None):
            now = 2 * QUEUE_SECONDS
            assert waiting.is_full
            begun.set()
            await stub.ListDatasets(pb2.ListDatasetsRequest(), timeout=30)

    first = asyncio.create_task(call())
    await begun.wait()
    while waiting.is_full:  # noqa: ASYNC110 - the call comes to its wait
        await asyncio.sleep(0.01)
    assert not first.done()
    first.cancel()
    await asyncio.wait([first])
    await channel.close()


class Silent(job_pb2_grpc.JobServiceServicer):
    """Sends a job, stays silent for longer than a server with gRPC's own limits would accept pings, sends another."""

    async def WatchJob(self, request: job_pb2.WatchJobRequest, context: object) -> AsyncIterator[job_pb2.Job]:
        yield job_pb2.Job(name="jobs/first")
        await asyncio.sleep(40)
        yield job_pb2.Job(name="jobs/last")


async def test_a_silent_stream_is_not_cut_by_pings() -> None:
    """With pings at the shortest interval that servers accept; by gRPC's own limit the stream is cut after 32 s."""
    server = grpc.aio.server(options=[*channels.SERVER_OPTIONS])
    job_pb2_grpc.add_JobServiceServicer_to_server(Silent(), server)  # pyright: ignore[reportAbstractUsage]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    options = {**dict(channels.CHANNEL_OPTIONS), "grpc.keepalive_time_ms": channels.MIN_PING_MS + 500}
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=[*options.items()]) as channel:
        watch = job_pb2_grpc.JobServiceStub(channel).WatchJob(job_pb2.WatchJobRequest(name="jobs/first"))
        assert [job.name async for job in watch] == ["jobs/first", "jobs/last"]
    await server.stop(0)
    assert channels.KEEPALIVE_MS > channels.MIN_PING_MS
