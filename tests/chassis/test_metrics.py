"""Metrics are open on loopback alone: beyond it, scrapers show an API key. Processes on one host have a port each.

docs/reference/metrics.md lists all of them.
"""

from __future__ import annotations

import hashlib
import re
import socket
import threading
from pathlib import Path

import httpx
import pytest
from prometheus_client import REGISTRY

import gateway.app
import services.chassis.server
import services.providers.client
import services.search.lag
import services.trainer.worker
from services.chassis import metrics
from services.chassis.auth import Keys
from services.chassis.settings import ChassisSettings
from tests.nats_server import NatsServer
from tests.ports import free_port, free_ports
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
                for name in (
                    r"prisma_rpc_total\{code=\"INTERNAL\"",
                    r"prisma_job_attempts_total\{.*outcome=\"failed\"",
                ):
                    assert re.search(rf"^{name}.* 0\.0$", metrics.text, re.MULTILINE), "alerts see the first increase"
    finally:
        for process in (embedder, trainer):
            process.kill()


@pytest.fixture
def listener(tmp_path: Path) -> int:
    """The port of a listener that demands a key, in this process."""
    (tmp_path / "keys").write_text(f"scraper {hashlib.sha256(b'secret').hexdigest()}\n")
    settings = ChassisSettings.model_validate({"api_keys_file": tmp_path / "keys", "service_key": "between services"})
    port = free_port()
    metrics.listen(f"0.0.0.0:{port}", Keys(settings))
    return port


def scrape(port: int) -> int:
    headers = {"Authorization": "Bearer secret"}
    return httpx.get(f"http://127.0.0.1:{port}/metrics", headers=headers, trust_env=False, timeout=20).status_code


def test_idle_connections_keep_no_scraper_out_and_take_few_threads(listener: int) -> None:
    before = threading.active_count()
    idle = [socket.create_connection(("127.0.0.1", listener)) for _ in range(3 * metrics.MAX_CONNECTIONS)]
    assert scrape(listener) == 200
    assert threading.active_count() <= before + metrics.MAX_CONNECTIONS
    for connection in idle:
        connection.close()


def test_a_connection_ends_however_often_it_sends(listener: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "REQUEST_SECONDS", 1)
    with socket.create_connection(("127.0.0.1", listener)) as connection:
        connection.settimeout(0.2)
        for _ in range(100):
            connection.send(b"G")
            try:
                assert connection.recv(1) == b""
                return
            except TimeoutError:
                continue
            except ConnectionError:
                return
    raise AssertionError("it goes on for 20 s")


def test_a_damaged_keys_file_is_no_wrong_key(listener: int, tmp_path: Path) -> None:
    (tmp_path / "keys").write_bytes(b"\xff\n")
    assert scrape(listener) == 503
