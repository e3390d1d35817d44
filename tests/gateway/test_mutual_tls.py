"""TLS: services prove themselves to each other, clients show keys or certificates, and files are replaced at work."""

from __future__ import annotations

import os
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from cryptography import x509
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from prisma.embedder.v1 import embedder_service_pb2 as pb2
from prisma.embedder.v1 import embedder_service_pb2_grpc
from prisma_client import Prisma
from prisma_client.errors import Unavailable
from tests.certificates import Authority, replace
from tests.nats_server import NatsServer
from tests.ports import free_port
from tests.process import ServiceProcess, start_all
from tests.stack import command

READ_SECONDS = 5
"""A bound of how long a process shows a certificate that was replaced: one second, and the time of a connection."""


@dataclass(frozen=True)
class Installation:
    """An embedder behind a gateway, both with TLS. probes: of the embedder."""

    authority: Authority
    certificates: Path
    embedder: str
    gateway: str
    http: str
    probes: str
    embedder_process: ServiceProcess

    def credentials(self, *, own: bool) -> grpc.ChannelCredentials:
        """Of a client that trusts the authority. own: whether it has a certificate of its own."""
        authority = (self.certificates / "authority.pem").read_bytes()
        if not own:
            return grpc.ssl_channel_credentials(authority)
        key, certificate = (self.certificates / name for name in ("key.pem", "certificate.pem"))
        return grpc.ssl_channel_credentials(authority, key.read_bytes(), certificate.read_bytes())

    def serial_number(self, address: str) -> int:
        """That of the certificate that a new connection is shown."""
        host, port = address.split(":")
        return x509.load_pem_x509_certificate(ssl.get_server_certificate((host, int(port))).encode()).serial_number

    @property
    def own_serial_number(self) -> int:
        """That of the certificate in the files."""
        return x509.load_pem_x509_certificate((self.certificates / "certificate.pem").read_bytes()).serial_number


def installed(nats_server: NatsServer, folder: Path, **settings: str) -> Iterator[Installation]:
    authority = Authority()
    authority.issue(folder)
    common = {
        "PRISMA_NATS_URL": nats_server.url,
        "PRISMA_TLS_AUTHORITY": str(folder / "authority.pem"),
        "PRISMA_TLS_CERTIFICATE": str(folder / "certificate.pem"),
        "PRISMA_TLS_KEY": str(folder / "key.pem"),
        "PRISMA_PROBE_LISTEN": f"127.0.0.1:{free_port()}",
    }
    embedder = ServiceProcess("embedder", folder, {**common, **settings})
    http = f"127.0.0.1:{free_port()}"
    addresses = {"PRISMA_EMBEDDER_ADDRESS": embedder.address, "PRISMA_HTTP_LISTEN": http, "PRISMA_PROBE_LISTEN": ""}
    gateway = ServiceProcess("gateway", folder, {**common, **settings, **addresses})
    start_all(embedder, gateway)
    yield Installation(
        authority, folder, embedder.address, gateway.address, http, f"http://{common['PRISMA_PROBE_LISTEN']}", embedder
    )
    for process in (gateway, embedder):
        process.kill()


@pytest.fixture
def installation(nats_server: NatsServer, tmp_path: Path) -> Iterator[Installation]:
    yield from installed(nats_server, tmp_path)


def test_jobs_health_and_reflection_work_through_the_gateway(installation: Installation) -> None:
    context = ssl.create_default_context(cafile=str(installation.certificates / "authority.pem"))
    with httpx.Client(base_url=f"https://{installation.http}", verify=context, trust_env=False, timeout=60) as client:
        assert client.post("/v1/datasets?datasetId=d", json={}).status_code == 200
        job = client.post("/v1/datasets/d:embed", json={})
        assert job.status_code == 200, job.text
        listed = client.get("/v1/jobs").json()["jobs"]
        assert [entry["name"] for entry in listed] == [job.json()["name"]]
        services = {service["service"]: service for service in client.get("/v1/status").json()["services"]}
        for name in ("embedder", "gateway"):
            assert services[name]["health"] == "HEALTH_OK"
            certificate = {entry["name"]: entry for entry in services[name]["dependencies"]}["tls_certificate"]
            assert certificate["details"]["names"] == "localhost, 127.0.0.1"
    for address in (installation.embedder, installation.gateway):
        with grpc.secure_channel(address, installation.credentials(own=True)) as channel:
            probe: Any = health_pb2_grpc.HealthStub(channel)  # its types have no methods
            for name in ("", "liveness", "prisma.embedder.v1.EmbedderService"):
                answer = probe.Check(health_pb2.HealthCheckRequest(service=name), wait_for_ready=True, timeout=20)
                assert answer.status == health_pb2.HealthCheckResponse.SERVING, (address, name)
            reflection: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
            request = reflection_pb2.ServerReflectionRequest(list_services="")
            services = next(iter(reflection.ServerReflectionInfo(iter([request])))).list_services_response.service
            assert "prisma.embedder.v1.EmbedderService" in {service.name for service in services}
            stub = embedder_service_pb2_grpc.EmbedderServiceStub(channel)
            assert stub.GetDataset(pb2.GetDatasetRequest(name="datasets/d")).uid


def test_without_a_certificate_clients_reach_the_gateway_only(installation: Installation) -> None:
    def call(address: str, credentials: grpc.ChannelCredentials) -> grpc.StatusCode:
        with grpc.secure_channel(address, credentials) as channel:
            stub = embedder_service_pb2_grpc.EmbedderServiceStub(channel)
            try:
                stub.ListDatasets(pb2.ListDatasetsRequest(), timeout=10)
            except grpc.RpcError as error:
                return error.code()
            return grpc.StatusCode.OK

    assert call(installation.gateway, installation.credentials(own=False)) == grpc.StatusCode.OK
    assert call(installation.embedder, installation.credentials(own=True)) == grpc.StatusCode.OK
    for credentials in (installation.credentials(own=False), grpc.ssl_channel_credentials()):
        assert call(installation.embedder, credentials) == grpc.StatusCode.UNAVAILABLE
    assert "andshake" not in installation.embedder_process.log.read_text(), "anybody could fill the log"
    elsewhere = f"ipv4:127.0.0.1:{installation.gateway.rpartition(':')[2]}"
    options = (("grpc.ssl_target_name_override", "prisma.example"),)
    with grpc.secure_channel(elsewhere, installation.credentials(own=True), options) as channel:
        stub = embedder_service_pb2_grpc.EmbedderServiceStub(channel)
        with pytest.raises(grpc.RpcError, match="Hostname Verification Check failed"):
            stub.ListDatasets(pb2.ListDatasetsRequest(), timeout=10)


def test_probes_need_neither_tls_nor_a_key(installation: Installation) -> None:
    def status(path: str, method: str = "GET") -> int:
        return httpx.request(method, installation.probes + path, trust_env=False).status_code

    for path in ("/startupz", "/livez", "/readyz", "/readyz?service=prisma.common.v1.JobService"):
        for _ in range(100):
            if status(path) == 200:
                break
            time.sleep(0.1)  # readiness is checked from time to time
        assert status(path) == 200, path
    assert status("/readyz?service=nothing") == 404
    assert status("/v1/datasets") == 404
    assert status("/livez", "POST") == 405


def test_sdk_and_command_line_verify_the_gateway_by_a_file(installation: Installation) -> None:
    url, authority = f"https://{installation.http}", installation.certificates / "authority.pem"
    with Prisma(url, tls_authority=authority) as prisma:
        assert list(prisma.datasets.list()) == []
    with Prisma(url) as prisma, pytest.raises(Unavailable, match="PRISMA_TLS_AUTHORITY names the file"):
        prisma.datasets.get("d")
    with pytest.raises(ValueError, match="expected certificates in PEM"):
        Prisma(url, tls_authority=installation.certificates / "key.pem")
    environment = {"PATH": os.environ["PATH"], "PRISMA_URL": url, "PRISMA_TLS_AUTHORITY": str(authority)}
    listed = command("datasets", environment=environment)
    assert listed.returncode == 0, listed.stderr


class Load:
    """Repeats calls until it ends; counts those that fail."""

    def __init__(self, *calls: Callable[[], object]) -> None:
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(len(calls))
        self.counts = [0] * len(calls)
        self.failures: list[str] = []
        for number, call in enumerate(calls):
            self._pool.submit(self._repeat, number, call)

    def _repeat(self, number: int, call: Callable[[], object]) -> None:
        while not self._stop.is_set():
            try:
                call()
                self.counts[number] += 1
            except (httpx.HTTPError, grpc.RpcError) as error:
                self.failures.append(repr(error))

    def go_on(self) -> None:
        """Returns once each call has succeeded ten times more."""
        goals = [count + 10 for count in self.counts]
        while not self.failures and any(count < goal for count, goal in zip(self.counts, goals, strict=True)):
            time.sleep(0.01)

    def end(self) -> None:
        self._stop.set()
        self._pool.shutdown()


def test_files_are_replaced_under_load_and_no_call_fails(installation: Installation) -> None:
    folder = installation.certificates
    other = Authority("its successor")
    trusted = ssl.create_default_context(cadata=(installation.authority.pem + other.pem).decode())
    client = httpx.Client(base_url=f"https://{installation.http}", verify=trusted, trust_env=False, timeout=30)
    client.post("/v1/datasets?datasetId=d", json={}).raise_for_status()

    def on_a_new_connection() -> None:
        httpx.get(f"https://{installation.http}/v1/datasets/d", verify=trusted, trust_env=False).raise_for_status()

    def over_grpc() -> None:
        with grpc.secure_channel(installation.embedder, credentials[-1]) as channel:
            stub = embedder_service_pb2_grpc.EmbedderServiceStub(channel)
            stub.GetDataset(pb2.GetDatasetRequest(name="datasets/d"), timeout=30)

    credentials = [installation.credentials(own=True)]
    load = Load(lambda: client.get("/v1/datasets/d").raise_for_status(), on_a_new_connection, over_grpc)
    try:
        load.go_on()
        replace(folder / "authority.pem", installation.authority.pem + other.pem)
        load.go_on()
        time.sleep(2)  # all processes believe both authorities before one shows a certificate by the new one
        credentials.append(installation.credentials(own=True))
        for authority in (installation.authority, other):
            authority.issue(folder)
            new, deadline = installation.own_serial_number, time.monotonic() + READ_SECONDS
            addresses = (installation.embedder, installation.gateway, installation.http)
            while time.monotonic() < deadline and {installation.serial_number(place) for place in addresses} != {new}:
                load.go_on()
            assert {installation.serial_number(place) for place in addresses} == {new}
            credentials.append(installation.credentials(own=True))
            load.go_on()
        replace(folder / "authority.pem", other.pem)
        time.sleep(2)
        load.go_on()
        credentials.append(installation.credentials(own=True))
        load.end()
        installation.embedder_process.stop()
        installation.embedder_process.start()
        assert client.get("/v1/datasets/d").status_code == 200, "the gateway connects with what the files hold"
    finally:
        load.end()
        client.close()
    assert load.failures == []
    with grpc.secure_channel(installation.embedder, credentials[0]) as channel:  # by the authority that has gone
        stub = embedder_service_pb2_grpc.EmbedderServiceStub(channel)
        with pytest.raises(grpc.RpcError):
            stub.GetDataset(pb2.GetDatasetRequest(name="datasets/d"), timeout=10)


def test_server_tls_with_keys_alone_and_http_with_a_certificate_of_its_own(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    (tmp_path / "http").mkdir()
    public = Authority("public")
    public.issue(tmp_path / "http")
    settings = {
        "PRISMA_TLS_CLIENT_CERTIFICATES": "none",
        "PRISMA_HTTP_TLS_CERTIFICATE": str(tmp_path / "http/certificate.pem"),
        "PRISMA_HTTP_TLS_KEY": str(tmp_path / "http/key.pem"),
    }
    installations = installed(nats_server, tmp_path, **settings)
    installation = next(installations)
    try:
        context = ssl.create_default_context(cadata=public.pem.decode())
        response = httpx.get(f"https://{installation.http}/v1/datasets", verify=context, trust_env=False)
        assert response.status_code == 200
        assert installation.serial_number(installation.gateway) == installation.own_serial_number
        assert installation.serial_number(installation.http) != installation.own_serial_number
        with grpc.secure_channel(installation.embedder, installation.credentials(own=False)) as channel:
            stub = embedder_service_pb2_grpc.EmbedderServiceStub(channel)
            assert not stub.ListDatasets(pb2.ListDatasetsRequest(), timeout=10).datasets
    finally:
        next(installations, None)
