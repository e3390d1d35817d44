"""A gateway before a real embedder and trainer; nothing listens where it looks for the other two."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest

from tests.nats_server import NatsServer
from tests.ports import free_port
from tests.process import ServiceProcess, start_all


@dataclass(frozen=True)
class Suite:
    """The processes, and a client of the gateway."""

    embedder_process: ServiceProcess
    trainer_process: ServiceProcess
    gateway_process: ServiceProcess
    http: httpx.AsyncClient
    url: str


@pytest.fixture
async def suite(nats_server: NatsServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Suite]:
    folder = tmp_path_factory.mktemp("gateway")
    common = {"PRISMA_NATS_URL": nats_server.url, "PRISMA_CATCH_UP_SECONDS": "1"}
    embedder = ServiceProcess("embedder", folder, common)
    trainer = ServiceProcess("trainer", folder, {**common, "PRISMA_EMBEDDER_ADDRESS": embedder.address})
    http = f"127.0.0.1:{free_port()}"
    gateway = ServiceProcess(
        "gateway",
        folder,
        {
            **common,
            "PRISMA_EMBEDDER_ADDRESS": embedder.address,
            "PRISMA_TRAINER_ADDRESS": trainer.address,
            "PRISMA_INTERPRETER_ADDRESS": "127.0.0.1:9",
            "PRISMA_SEARCH_ADDRESS": "127.0.0.1:9",
            "PRISMA_HTTP_LISTEN": http,
            "PRISMA_MAX_BODY_BYTES": "100000",
        },
    )
    start_all(embedder, trainer, gateway)
    async with httpx.AsyncClient(base_url=f"http://{http}", timeout=60, trust_env=False) as client:
        yield Suite(embedder, trainer, gateway, client, f"http://{http}")
    for process in (gateway, trainer, embedder):
        process.kill()
