"""Metrics are open on loopback alone: beyond it, scrapers show an API key. Processes on one host have a port each."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import httpx

from tests.nats_server import NatsServer
from tests.ports import free_ports
from tests.process import ServiceProcess, start_all


def test_scrapers_beyond_loopback_show_a_key(tmp_path: Path, nats_server: NatsServer) -> None:
    (tmp_path / "keys").write_text(f"scraper {hashlib.sha256(b'secret').hexdigest()}\n")
    port = free_ports(5)
    environment = {
        "PRISMA_NATS_URL": nats_server.url,
        "PRISMA_METRICS_LISTEN": f"0.0.0.0:{port}",
        "PRISMA_API_KEYS_FILE": str(tmp_path / "keys"),
        "PRISMA_SERVICE_KEY": "between services",
    }
    embedder, trainer = (ServiceProcess(name, tmp_path, environment) for name in ("embedder", "trainer"))
    start_all(embedder, trainer)
    try:
        for number in (port, port + 1):
            with httpx.Client(base_url=f"http://127.0.0.1:{number}", trust_env=False, timeout=20) as client:
                for header in ("", "Bearer wrong"):
                    refused = client.get("/metrics", headers={"Authorization": header})
                    assert refused.status_code == 401
                    assert "prisma_rpc" not in refused.text
                metrics = client.get("/metrics", headers={"Authorization": "Bearer secret"})
                assert metrics.status_code == 200
                assert re.search("^# HELP prisma_rpc_seconds", metrics.text, re.MULTILINE)
    finally:
        for process in (embedder, trainer):
            process.kill()
