"""Startup, liveness and readiness are three answers: each probe's consequence fits what is wrong."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.chassis import probe_listener
from services.chassis.probes import Probes
from services.chassis.settings import ChassisSettings
from tests.nats_server import NatsServer
from tests.ports import free_port
from tests.postgres_server import PostgresServer, binaries
from tests.process import ServiceProcess

EMBEDDER = "prisma.embedder.v1.EmbedderService"
JOBS = "prisma.common.v1.JobService"
SERVING = health_pb2.HealthCheckResponse.SERVING
NAMES = ("startup", "liveness", "", EMBEDDER, JOBS)


def serving(address: str) -> dict[str, bool]:
    """Which names are SERVING."""
    with grpc.insecure_channel(address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)  # its types have no methods
        statuses = {name: stub.Check(health_pb2.HealthCheckRequest(service=name)).status for name in NAMES}
    return {name: status == SERVING for name, status in statuses.items()}


def until(address: str, expected: dict[str, bool]) -> None:
    """Waits for these answers."""
    for _ in range(300):
        if serving(address) == expected:
            return
        time.sleep(0.1)
    assert serving(address) == expected


async def test_every_name_is_known_from_the_first_moment_on() -> None:
    probes = Probes({"": [], EMBEDDER: [], JOBS: []})

    async def serving_names() -> set[str]:
        context: Any = None  # an unknown name would be reported to it
        requests = [health_pb2.HealthCheckRequest(service=name) for name in NAMES]
        responses = [await probes.servicer.Check(request, context) for request in requests]
        return {name for name, response in zip(NAMES, responses, strict=True) if response.status == SERVING}

    await probes.prepare()
    assert await serving_names() == {"liveness"}
    await probes.start()
    assert await serving_names() == set(NAMES)


async def test_idle_connections_keep_no_probe_out(tmp_path: Path) -> None:
    probes = Probes({"": []})
    await probes.prepare()
    await probes.start()
    port = free_port()
    settings = ChassisSettings(data_dir=tmp_path, probe_listen=f"127.0.0.1:{port}")
    async with await probe_listener.listen(settings, "embedder", probes):
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(probe_listener.MAX_CONNECTIONS)]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /livez HTTP/1.1\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200 OK")
        assert await idle[0][0].read() == b"", "the oldest has ended"
        for _reader, connection in [*idle, (reader, writer)]:
            connection.close()


def test_a_service_without_its_database_is_alive_and_not_ready(
    tmp_path: Path, nats_server: NatsServer, postgres_server: PostgresServer
) -> None:
    programs = binaries()
    assert programs is not None
    postgres = PostgresServer(programs)
    postgres.start()
    environment = {"PRISMA_NATS_URL": nats_server.url, "PRISMA_DATABASE_URL": postgres.create_database()}
    process = ServiceProcess("embedder", tmp_path, environment)
    try:
        process.start()
        until(process.address, dict.fromkeys(NAMES, True))
        postgres.kill()
        until(process.address, {**dict.fromkeys(NAMES, True), "": False, EMBEDDER: False})
        postgres.start()
        until(process.address, dict.fromkeys(NAMES, True))
        nats_server.kill()
        until(process.address, {**dict.fromkeys(NAMES, True), JOBS: False})
    finally:
        process.kill()
        postgres.stop()
