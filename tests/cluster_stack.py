"""The suite as a cluster runs it: PostgreSQL, S3, three NATS servers, OpenSearch, and two replicas of every process.

`PRISMA_TEST_STACK=cluster` gives it to all tests that use the fixture `stack`.
"""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.children import tied
from tests.nats_server import nats_program, wait_for_port
from tests.ports import free_port
from tests.postgres_server import PostgresServer
from tests.process import ServiceProcess, start_all
from tests.s3_server import S3Server

SERVICES = ("embedder", "trainer", "interpreter", "search", "gateway")
REPLICAS = 2
_NATS_SERVERS = 3


@dataclass(frozen=True)
class NatsCluster:
    """NATS servers that replicate their streams."""

    folder: Path
    ports: list[int] = field(default_factory=lambda: [free_port() for _ in range(_NATS_SERVERS)])
    routes: list[int] = field(default_factory=lambda: [free_port() for _ in range(_NATS_SERVERS)])
    processes: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return ",".join(f"nats://127.0.0.1:{port}" for port in self.ports)

    def start(self) -> None:
        for number in range(_NATS_SERVERS):
            self.launch(number)
        for number in range(_NATS_SERVERS):
            wait_for_port(self.ports[number], self.processes[number], log=self.folder / f"nats-{number}.log")

    def launch(self, number: int) -> None:
        """Starts one server."""
        routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in self.routes)
        config = self.folder / f"nats-{number}.conf"
        config.write_text(
            f'server_name: "n{number}"\nlisten: "127.0.0.1:{self.ports[number]}"\n'
            f'jetstream {{ store_dir: "{self.folder / f"nats-{number}"}" }}\n'
            f'cluster {{ name: tests, listen: "127.0.0.1:{self.routes[number]}", routes: [{routes}] }}\n'
        )
        with (self.folder / f"nats-{number}.log").open("ab") as log:
            self.processes[number] = subprocess.Popen(tied(nats_program(), "-c", config), stdout=log, stderr=log)

    def kill(self, number: int) -> None:
        """kill -9 of one server."""
        self.processes[number].kill()
        self.processes[number].wait(10)

    def stop(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait(10)


@dataclass(frozen=True)
class Cluster:
    """Where it is, and its processes."""

    folder: Path
    nats: NatsCluster
    replicas: Mapping[str, list[ServiceProcess]]
    urls: list[str]
    """Of the gateways."""
    environment: dict[str, str]
    """How commands and stubs find it: by the first replica of each."""


def _address(processes: list[ServiceProcess]) -> str:
    """All replicas, for round robin."""
    return f"ipv4:{','.join(process.address for process in processes)}"


@contextmanager
def started(folder: Path, postgres: PostgresServer, s3: S3Server, opensearch_url: str) -> Iterator[Cluster]:
    """A cluster with empty stores."""
    nats = NatsCluster(folder)
    common = {
        "PRISMA_NATS_URL": nats.url,
        "PRISMA_NATS_REPLICAS": str(_NATS_SERVERS),
        "PRISMA_DATABASE_URL": postgres.create_database(),
        "PRISMA_DATABASE_SCHEMA": "prisma_{service}",
        "PRISMA_BLOB_URL": s3.url(),
        "PRISMA_OPENSEARCH_URL": opensearch_url,
        "PRISMA_OPENSEARCH_PREFIX": f"test{uuid.uuid4().hex[:8]}",
        "PRISMA_OLLAMA_URL": "http://127.0.0.1:9",
        "PRISMA_CATCH_UP_SECONDS": "1",
        "PRISMA_ACK_WAIT_SECONDS": "5",
        **s3.environment,
    }
    folders = [folder / f"host-{number}" for number in range(REPLICAS)]
    for host in folders:
        host.mkdir()
    replicas = {service: [ServiceProcess(service, host, common) for host in folders] for service in SERVICES}
    listeners = [f"127.0.0.1:{free_port()}" for _ in range(REPLICAS)]
    for service, processes in replicas.items():
        for process, http in zip(processes, listeners, strict=True):
            process.environment |= {f"PRISMA_{name.upper()}_ADDRESS": _address(replicas[name]) for name in SERVICES}
            if service == "gateway":
                process.environment["PRISMA_HTTP_LISTEN"] = http
    first = {name: processes[0] for name, processes in replicas.items()}
    urls = [f"http://{http}" for http in listeners]
    addresses = {f"PRISMA_{name.upper()}_LISTEN": process.address for name, process in first.items()}
    nats.start()
    try:
        start_all(*(process for processes in replicas.values() for process in processes))
        environment = {**first["gateway"].environment, **addresses, "PRISMA_URL": urls[0]}
        yield Cluster(folder, nats, replicas, urls, environment)
    finally:
        for processes in replicas.values():
            for process in processes:
                process.kill()
        nats.stop()


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One cluster for all tests of a run."""
    postgres, s3, opensearch_url = (
        request.getfixturevalue(name) for name in ("postgres_server", "s3_server", "opensearch_url")
    )
    with started(tmp_path_factory.mktemp("cluster"), postgres, s3, opensearch_url) as running:
        yield running
