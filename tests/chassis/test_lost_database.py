"""A service whose database is gone refuses to start beside its files, which it would take for orphans."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.nats_server import NatsServer
from tests.process import ServiceProcess

FILES = {
    "embedder": "vectors/0123/0.npy",
    "trainer": "runs/0123/a/weights.safetensors",
    "interpreter": "statistics/0123/a/density.npy",
}


@pytest.mark.parametrize("service", FILES)
def test_a_service_without_its_database_refuses_to_start(service: str, nats_server: NatsServer, tmp_path: Path) -> None:
    process = ServiceProcess(service, tmp_path, {"PRISMA_NATS_URL": nats_server.url})
    file = tmp_path / "data" / service / "blobs" / FILES[service]
    file.parent.mkdir(parents=True)
    file.write_bytes(b"x")
    process.launch()
    assert process.wait() != 0
    message = process.log.read_text()
    assert "is empty" in message
    assert "prisma restore" in message
    assert "Traceback" not in message
    assert file.exists()
