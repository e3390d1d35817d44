"""Metrics are open on loopback alone: beyond it, scrapers show an API key. Processes on one host have a port each.

docs/reference/metrics.md lists all of them.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import httpx
from prometheus_client import REGISTRY

import gateway.app
import services.chassis.server
import services.providers.client
import services.search.lag
import services.trainer.worker
from tests.nats_server import NatsServer
from tests.ports import free_ports
from tests.process import ServiceProcess, start_all

MODULES = (
    gateway.app, services.chassis.server, services.providers.client, services.search.lag, services.trainer.worker,
)  # fmt: skip
"""Whose imports declare all metrics."""
REFERENCE = Path(__file__).parents[2] / "docs/reference/metrics.md"


def test_the_reference_lists_all_metrics_with_their_labels() -> None:
    rows = re.findall(r"^\| `(prisma_\w+)` \| (\w+) \|([^|]*)\|", REFERENCE.read_text(), re.MULTILINE)
    listed = {(name, kind, *re.findall(r"`(\w+)`", labels)) for name, kind, labels in rows}
    registered = {
        (f"{metric._name}_total" if metric._type == "counter" else metric._name, metric._type, *metric._labelnames)
        for metric in set(REGISTRY._collector_to_names)
        if getattr(metric, "_name", "").startswith("prisma_")
    }
    assert listed == registered


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
