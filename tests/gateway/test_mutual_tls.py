"""With one authority's certificates, the processes prove themselves to each other, and nobody else gets in."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from prisma.embedder.v1 import embedder_service_pb2 as pb2
from prisma.embedder.v1 import embedder_service_pb2_grpc
from tests.nats_server import NatsServer
from tests.ports import free_port
from tests.process import ServiceProcess, start_all


@dataclass(frozen=True)
class Installation:
    """An embedder behind a gateway, both with mutual TLS."""

    certificates: Path
    embedder: str
    gateway: str
    http: str

    def credentials(self, *, own: bool) -> grpc.ChannelCredentials:
        """Of a client that trusts the authority. own: whether it has a certificate of its own."""
        authority = (self.certificates / "authority.pem").read_bytes()
        if not own:
            return grpc.ssl_channel_credentials(authority)
        key, certificate = (self.certificates / name for name in ("key.pem", "certificate.pem"))
        return grpc.ssl_channel_credentials(authority, key.read_bytes(), certificate.read_bytes())


def create_certificates(folder: Path) -> None:
    """An authority, and one certificate by it for 127.0.0.1."""

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl("req", "-x509", *new, "-keyout", "authority.key", "-out", "authority.pem", "-subj", "/CN=tests")
    openssl("req", *new, "-keyout", "key.pem", "-out", "request.pem", "-subj", "/CN=prisma")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    signer = ("-CA", "authority.pem", "-CAkey", "authority.key", "-CAcreateserial", "-extfile", "names")
    openssl("x509", "-req", "-in", "request.pem", *signer, "-out", "certificate.pem")


@pytest.fixture
def installation(nats_server: NatsServer, tmp_path: Path) -> Iterator[Installation]:
    create_certificates(tmp_path)
    common = {
        "PRISMA_NATS_URL": nats_server.url,
        "PRISMA_TLS_AUTHORITY": str(tmp_path / "authority.pem"),
        "PRISMA_TLS_CERTIFICATE": str(tmp_path / "certificate.pem"),
        "PRISMA_TLS_KEY": str(tmp_path / "key.pem"),
    }
    embedder = ServiceProcess("embedder", tmp_path, common)
    http = f"127.0.0.1:{free_port()}"
    addresses = {"PRISMA_EMBEDDER_ADDRESS": embedder.address, "PRISMA_HTTP_LISTEN": http}
    gateway = ServiceProcess("gateway", tmp_path, {**common, **addresses})
    start_all(embedder, gateway)
    yield Installation(tmp_path, embedder.address, gateway.address, http)
    for process in (gateway, embedder):
        process.kill()


def test_jobs_health_and_reflection_work_through_the_gateway(installation: Installation) -> None:
    context = ssl.create_default_context(cafile=str(installation.certificates / "authority.pem"))
    with httpx.Client(base_url=f"https://{installation.http}", verify=context, trust_env=False, timeout=60) as client:
        assert client.post("/v1/datasets?datasetId=d", json={}).status_code == 200
        job = client.post("/v1/datasets/d:embed", json={})
        assert job.status_code == 200, job.text
        listed = client.get("/v1/jobs").json()["jobs"]
        assert [entry["name"] for entry in listed] == [job.json()["name"]]
        health = {service["service"]: service["health"] for service in client.get("/v1/status").json()["services"]}
        assert (health["embedder"], health["gateway"]) == ("HEALTH_OK", "HEALTH_OK")
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


def test_a_client_without_a_certificate_gets_no_answer(installation: Installation) -> None:
    for credentials in (installation.credentials(own=False), grpc.ssl_channel_credentials()):
        with grpc.secure_channel(installation.embedder, credentials) as channel:
            stub = embedder_service_pb2_grpc.EmbedderServiceStub(channel)
            with pytest.raises(grpc.RpcError) as caught:
                stub.ListDatasets(pb2.ListDatasetsRequest(), timeout=10)
            assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
