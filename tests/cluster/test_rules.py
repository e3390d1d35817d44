"""The rules and the dashboard in deploy/observability, in a real Prometheus that scrapes real processes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import yaml

from prisma.embedder.v1 import embedder_service_pb2 as pb2
from prisma.embedder.v1 import embedder_service_pb2_grpc
from prisma.embedder.v1.resources_pb2 import Dataset
from tests.broken_ollama import broken_ollama
from tests.children import tied
from tests.nats_server import NatsServer
from tests.ports import free_port, free_ports
from tests.process import ServiceProcess

FOLDER = Path(__file__).parents[2] / "deploy/observability"
REFERENCE = Path(__file__).parents[2] / "docs/reference/metrics.md"
HOW = "no Prometheus: apt-get install prometheus"
KIND = {"service": "embedder", "kind": "embed-dataset"}
SERIES = {
    "PrismaProcessDown": ['up{job="prisma"} 0x100'],
    "PrismaNatsDisconnected": ["prisma_nats_connected 0x100"],
    "PrismaJobsUntaken": ["prisma_jobs_queued{K} 2x100", 'prisma_jobs{K,state="running"} 0x100'],
    "PrismaJobsQueuedLong": ["prisma_jobs_oldest_queued_seconds{K} 2000x100"],
    "PrismaJobsWaiting": ['prisma_jobs_waiting{K,reason="PROVIDER_UNAVAILABLE"} 1x100'],
    "PrismaJobsFail": ['prisma_job_attempts_total{K,outcome="failed"} 0x50 1x50'],
    "PrismaLeasesLost": ["prisma_job_lease_losses_total{K} 0+1x100"],
    "PrismaProviderFails": ['prisma_provider_requests_total{provider="p",outcome="timed_out"} 0+1x100'],
    "PrismaProviderSlow": [
        'prisma_provider_seconds_bucket{provider="p",le="30"} 0x100',
        'prisma_provider_seconds_bucket{provider="p",le="60"} 0+9x100',
        'prisma_provider_seconds_bucket{provider="p",le="+Inf"} 0+9x100',
    ],
    "PrismaIndexBehind": ['prisma_index_lag_seconds{kind="codes"} 1000x100'],
    "PrismaDatabaseLockWaits": [
        'prisma_database_lock_wait_seconds_bucket{service="embedder",le="2"} 0x100',
        'prisma_database_lock_wait_seconds_bucket{service="embedder",le="10"} 0+9x100',
        'prisma_database_lock_wait_seconds_bucket{service="embedder",le="+Inf"} 0+9x100',
    ],
    "PrismaDefects": ['prisma_rpc_total{service="search",method="/m",code="INTERNAL"} 0x50 1x50'],
    "PrismaCertificateExpires": ['prisma_tls_certificate_expiry_timestamp_seconds{use="server"} 9000x100'],
}
"""Series that trigger each alert."""
FIRST_DEFECT_OF_THE_GATEWAY = ['prisma_http_total{method="GET",route="/r",code="500"} _x50 1x50']


@pytest.fixture(autouse=True)
def installed() -> None:
    if shutil.which("prometheus") is None or shutil.which("promtool") is None:
        pytest.skip(HOW)


def rules() -> list[dict[str, Any]]:
    return yaml.safe_load((FOLDER / "rules.yml").read_text())["groups"][0]["rules"]


def expressions() -> list[str]:
    """Of the rules and of the dashboard."""
    panels = json.loads((FOLDER / "dashboard.json").read_text())["panels"]
    return [
        *(rule["expr"] for rule in rules()),
        *(target["expr"] for panel in panels for target in panel.get("targets", ())),
    ]


def promtool(*words: str | Path) -> None:
    result = subprocess.run(["promtool", *words], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_rules_are_valid_and_their_metrics_exist() -> None:
    promtool("check", "config", FOLDER / "prometheus.yml")
    listed = set(re.findall(r"^\| `(prisma_\w+)`", REFERENCE.read_text(), re.MULTILINE))
    for expression in expressions():
        for name in re.findall(r"\bprisma_\w+", expression):
            assert re.sub("_(bucket|count|sum)$", "", name) in listed, expression


def test_each_alert_fires_on_what_it_is_for(tmp_path: Path) -> None:
    assert SERIES.keys() == {rule["alert"] for rule in rules()}
    labels = ",".join(f'{name}="{value}"' for name, value in KIND.items())
    tests = [
        {
            "interval": "1m",
            "input_series": [
                {"series": series.replace("K}", f"{labels}}}").replace("K,", f"{labels},"), "values": values}
                for series, values in (line.rsplit(" ", 1) for line in lines)
            ],
            "promql_expr_test": [
                {
                    "expr": f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})',
                    "eval_time": "60m",
                    "exp_samples": [{"labels": "{}", "value": 1}],
                }
            ],
        }
        for alert, lines in [*SERIES.items(), ("PrismaDefects", FIRST_DEFECT_OF_THE_GATEWAY)]
    ]
    file = tmp_path / "rules_test.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(FOLDER / "rules.yml")], "tests": tests}))
    promtool("test", "rules", file)


@pytest.fixture
def metrics_port() -> int:
    return free_ports(5)


@pytest.fixture
def prometheus(tmp_path: Path, metrics_port: int) -> Iterator[httpx.Client]:
    """Prometheus with the rules, which here fire at once, on the embedder's metrics."""
    immediate = [{key: value for key, value in rule.items() if key != "for"} for rule in rules()]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "prisma", "rules": immediate}]}))
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["scrape_configs"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{metrics_port}"]}]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    command = [
        "prometheus", f"--config.file={tmp_path / 'prometheus.yml'}", f"--storage.tsdb.path={tmp_path / 'tsdb'}",
        f"--web.listen-address={address}",
    ]  # fmt: skip
    with (tmp_path / "prometheus.txt").open("wb") as log:
        process = subprocess.Popen(tied(*command), stdout=log, stderr=log)
    with httpx.Client(base_url=f"http://{address}/api/v1", trust_env=False, timeout=20) as client:
        yield client
    process.terminate()
    process.wait(30)


def wait_for_alert(prometheus: httpx.Client, name: str, **labels: str) -> None:
    for _ in range(600):
        try:
            alerts = prometheus.get("/alerts").json()["data"]["alerts"]
        except httpx.TransportError:  # it starts
            alerts = []
        for alert in alerts:
            if alert["labels"]["alertname"] == name and alert["state"] == "firing":
                assert labels.items() <= alert["labels"].items()
                return
        time.sleep(0.1)
    raise AssertionError(f"{name} does not fire: {alerts}")


def test_a_real_prometheus_alerts_on_a_dead_model_server_a_lost_message_server_and_a_dead_process(
    nats_server: NatsServer, tmp_path: Path, prometheus: httpx.Client, metrics_port: int
) -> None:
    with broken_ollama() as ollama:
        settings = {
            "PRISMA_NATS_URL": nats_server.url,
            "PRISMA_OLLAMA_URL": ollama.url,
            "PRISMA_METRICS_LISTEN": f"127.0.0.1:{metrics_port}",
        }
        embedder = ServiceProcess("embedder", tmp_path, settings)
        embedder.start()
        try:
            with grpc.insecure_channel(embedder.address) as channel:
                stub = embedder_service_pb2_grpc.EmbedderServiceStub(channel)
                dataset = Dataset(embedding_model="ollama/dead:latest")
                stub.CreateDataset(pb2.CreateDatasetRequest(dataset_id="d", dataset=dataset))
                config = pb2.ImportDocumentsRequest(config={"dataset": "datasets/d"})
                chunk = pb2.ImportDocumentsRequest(chunk=json.dumps([{"id": "a", "text": "a text"}]).encode())
                stub.ImportDocuments(iter([config, chunk]))
                stub.EmbedDataset(pb2.EmbedDatasetRequest(name="datasets/d"))
            wait_for_alert(prometheus, "PrismaJobsWaiting", reason="PROVIDER_UNAVAILABLE", **KIND)
            wait_for_alert(prometheus, "PrismaProviderFails", provider="ollama")
            for expression in expressions():
                answer = prometheus.get("/query", params={"query": expression})
                assert answer.json()["status"] == "success", expression
            nats_server.kill()
            wait_for_alert(prometheus, "PrismaNatsDisconnected")
        finally:
            embedder.kill()
        wait_for_alert(prometheus, "PrismaProcessDown")
