"""`python -P -m services.… migrate`: what an operator runs before the services start."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.nats_server import NatsServer
from tests.ports import free_port
from tests.process import ServiceProcess


def test_a_database_is_migrated_before_its_service_starts(
    nats_server: NatsServer, postgres_url: str, tmp_path: Path
) -> None:
    settings = {
        "PRISMA_NATS_URL": nats_server.url,
        "PRISMA_DATABASE_URL": postgres_url,
        "PRISMA_DATABASE_SCHEMA": "prisma_{service}",
        "PRISMA_MIGRATE": "off",
    }
    service = ServiceProcess("embedder", tmp_path, settings)
    service.launch()
    assert service.wait() == 1
    assert "run `python -P -m services.embedder migrate`" in service.log.read_text()
    assert [service.run("migrate"), service.run("migrate")] == [0, 0]
    service.start()
    service.kill()
    assert "Traceback" not in service.log.read_text()


def test_a_service_without_a_database_has_nothing_to_migrate(tmp_path: Path) -> None:
    search = ServiceProcess("search", tmp_path, {})
    assert search.run("migrate") == 0
    assert "there is nothing to migrate" in search.log.read_text()
    assert search.run("migrate", "now") == 1
    assert "expected no argument, or `migrate`; got 'migrate now'" in search.log.read_text()


@pytest.mark.parametrize("arguments", [(), ("migrate",)])
def test_a_database_that_is_away_is_one_sentence(
    arguments: tuple[str, ...], nats_server: NatsServer, tmp_path: Path
) -> None:
    url = f"postgresql://prisma:planted-password@127.0.0.1:{free_port()}/prisma"
    service = ServiceProcess("embedder", tmp_path, {"PRISMA_NATS_URL": nats_server.url, "PRISMA_DATABASE_URL": url})
    assert service.run(*arguments) == 1
    message = service.log.read_text()
    assert "the embedder cannot start: the embedder's database 127.0.0.1/prisma does not answer" in message
    assert "Traceback" not in message and "planted-password" not in message
