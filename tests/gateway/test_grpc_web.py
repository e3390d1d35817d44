"""gRPC-Web: calls and server streams over HTTP, the errors of services with all details, and pages of other origins."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from gateway.settings import GatewaySettings
from prisma.common.v1.job_pb2 import CancelJobRequest, GetJobRequest, ListJobsRequest, ListJobsResponse, WatchJobRequest
from prisma.embedder.v1 import embedder_service_pb2 as pb2
from prisma.embedder.v1.resources_pb2 import Dataset
from prisma_client.cli import keys
from prisma_common.keys import Scope
from services.chassis.startup import StartRefused
from tests.gateway.conftest import Suite
from tests.nats_server import NatsServer
from tests.ports import free_port
from tests.process import ServiceProcess

EMBEDDER, JOBS = "/prisma.embedder.v1.EmbedderService", "/prisma.common.v1.JobService"
APP, STRANGER = "https://app.example.org", "https://evil.example.org"


@dataclass(frozen=True)
class Answer:
    """The messages of a call, and its trailers."""

    messages: list[bytes]
    trailers: dict[str, str]

    @property
    def code(self) -> int:
        return int(self.trailers["grpc-status"])

    @property
    def reason(self) -> str:
        data = self.trailers["grpc-status-details-bin"]
        status = Status.FromString(base64.b64decode(data + "=" * (-len(data) % 4)))
        assert (status.code, status.message) == (self.code, unquote(self.trailers["grpc-message"]))
        info = ErrorInfo()
        assert status.details[0].Unpack(info)
        return info.reason


def frame(message: Message | bytes, flags: int = 0) -> bytes:
    data = message if isinstance(message, bytes) else message.SerializeToString()
    return bytes([flags]) + len(data).to_bytes(4, "big") + data


def parsed(body: bytes) -> Answer:
    """Frames as a client reads them: messages, then one frame of trailers at the end."""
    messages: list[bytes] = []
    while body:
        flags, length = body[0], int.from_bytes(body[1:5], "big")
        data, body = body[5 : 5 + length], body[5 + length :]
        if flags & 0x80:
            assert not body
            lines = [line.split(": ", 1) for line in data.decode().split("\r\n") if line]
            return Answer(messages, {name: value for name, value in lines})
        messages.append(data)
    raise AssertionError("the answer has no trailers")


async def call(
    client: httpx.AsyncClient, path: str, body: Message | bytes, *, text: bool = False, **headers: str
) -> Answer:
    data = body if isinstance(body, bytes) else frame(body)
    kind = "application/grpc-web-text" if text else "application/grpc-web+proto"
    request_headers = {
        "content-type": kind,
        "x-grpc-web": "1",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    response = await client.post(path, content=base64.b64encode(data) if text else data, headers=request_headers)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith(kind)
    return parsed(decoded(response.content) if text else response.content)


def decoded(text: bytes) -> bytes:
    """The bytes of base64 that is padded in several places, as frames are encoded one by one."""
    return b"".join(base64.b64decode(text[start : start + 4]) for start in range(0, len(text), 4))


@pytest.mark.parametrize("text", [False, True])
async def test_calls_and_streams(suite: Suite, text: bool) -> None:
    request = pb2.CreateDatasetRequest(dataset_id="d", dataset=Dataset(display_name="Häfen"))
    created = await call(suite.http, f"{EMBEDDER}/CreateDataset", request, text=text)
    assert (created.code, Dataset.FromString(created.messages[0]).display_name) == (0, "Häfen")

    lines = b"\n".join(b'{"id": "%d", "text": "ferry %d"}' % (number, number) for number in range(30))
    (await suite.http.post("/v1/datasets/d/documents:import", content=lines)).raise_for_status()
    stream = await call(
        suite.http, f"{EMBEDDER}/ReadDocuments", pb2.ReadDocumentsRequest(dataset="datasets/d"), text=text
    )
    assert stream.code == 0
    blocks = [pb2.ReadDocumentsResponse.FromString(message) for message in stream.messages]
    assert [document.key for block in blocks for document in block.documents] == [str(number) for number in range(30)]

    jobs = await call(suite.http, f"{JOBS}/ListJobs", ListJobsRequest(), text=text)  # the gateway answers this one
    assert (jobs.code, ListJobsResponse.FromString(jobs.messages[0]).jobs) == (0, [])


async def test_errors_have_the_code_and_the_details_of_the_service(suite: Suite) -> None:
    async def outcome(path: str, body: Message | bytes, **headers: Any) -> tuple[int, str]:
        answer = await call(suite.http, path, body, **headers)
        assert answer.messages == []
        return answer.code, answer.reason

    mistyped = pb2.GetDatasetRequest(name="datasets/göne")
    assert await outcome(f"{EMBEDDER}/GetDataset", pb2.GetDatasetRequest(name="datasets/gone")) == (
        5,
        "DATASET_NOT_FOUND",
    )
    assert (await outcome(f"{EMBEDDER}/GetDataset", mistyped, text=True))[0] == 3
    assert await outcome(f"{JOBS}/GetJob", GetJobRequest(name="jobs/embedder.gone")) == (5, "JOB_NOT_FOUND")
    assert await outcome(f"{JOBS}/WatchJob", WatchJobRequest(name="jobs/embedder.gone")) == (5, "JOB_NOT_FOUND")
    away = await outcome("/prisma.search.v1.SearchService/GetIndexStatus", b"\0\0\0\0\0", grpc_timeout="3S")
    assert away == (14, "SERVICE_UNAVAILABLE")
    assert (await outcome(f"{EMBEDDER}/NoSuchMethod", frame(b"")))[0] == 12
    assert (await outcome(f"{EMBEDDER}/ImportDocuments", frame(b"")))[0] == 12
    assert (await outcome(f"{EMBEDDER}/ListDatasets", frame(b"", flags=1)))[0] == 12
    for damaged in (b"", b"\0\0\0\0", frame(b"")[:-1] + b"\x09", frame(b"") * 2, frame(b"", flags=0x80)):
        assert (await outcome(f"{EMBEDDER}/ListDatasets", damaged))[0] == 3
    assert (await outcome(f"{EMBEDDER}/ListDatasets", frame(b"\xff")))[0] in (3, 13)
    assert (await outcome(f"{JOBS}/ListJobs", frame(b"\xff")))[0] == 3
    assert (await outcome(f"{EMBEDDER}/ListDatasets", frame(b""), grpc_timeout="soon"))[0] == 3
    assert (await outcome(f"{EMBEDDER}/ListDatasets", frame(bytes(100_001))))[0] == 8

    other = await suite.http.post(
        f"{EMBEDDER}/ListDatasets", content=b"{}", headers={"content-type": "application/json"}
    )
    assert other.status_code == 415


@pytest.fixture
async def guarded(
    nats_server: NatsServer, tmp_path: Path
) -> AsyncIterator[tuple[httpx.AsyncClient, Mapping[Scope, str]]]:
    """A gateway with keys that lets pages of one origin call, and keys of all scopes."""
    file = tmp_path / "keys"
    created = {scope: keys.create(scope.word, file, scope=scope) for scope in Scope}
    http = f"127.0.0.1:{free_port()}"
    settings = {
        "PRISMA_NATS_URL": nats_server.url,
        "PRISMA_API_KEYS_FILE": str(file),
        "PRISMA_SERVICE_KEY": "0123456789abcdef",
        "PRISMA_HTTP_LISTEN": http,
        "PRISMA_CORS_ORIGINS": f"{APP}, http://localhost:5173",
        "PRISMA_LOG_FORMAT": "json",
    }
    gateway = ServiceProcess("gateway", tmp_path, settings)
    gateway.start()
    async with httpx.AsyncClient(base_url=f"http://{http}", trust_env=False, timeout=60) as client:
        yield client, created
    gateway.kill()


async def test_keys_and_pages_of_other_origins(
    guarded: tuple[httpx.AsyncClient, Mapping[Scope, str]], tmp_path: Path
) -> None:
    client, created = guarded
    path = f"{JOBS}/ListJobs"

    def bearer(scope: Scope) -> str:
        return f"Bearer {created[scope]}"

    assert (await call(client, path, frame(b""))).code == 16
    assert (await call(client, path, frame(b""), authorization="Bearer prisma_wrong")).code == 16
    refused = await call(client, f"{JOBS}/CancelJob", frame(b""), authorization=bearer(Scope.READ))
    assert (refused.code, refused.reason) == (7, "PERMISSION_DENIED")
    request = CancelJobRequest(name="jobs/embedder.gone")
    assert (await call(client, f"{JOBS}/CancelJob", request, authorization=bearer(Scope.WRITE))).code == 5
    changes = await recorded(tmp_path / "gateway.log", count=2)
    assert changes == [("read", None, "PERMISSION_DENIED"), ("write", "jobs/embedder.gone", "NOT_FOUND")]

    assert (await call(client, path, frame(b""), authorization=bearer(Scope.READ), origin=APP)).code == 0
    preflight_headers = {
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,x-grpc-web,traceparent",
    }
    preflight = await client.options(path, headers={"origin": APP, **preflight_headers})
    assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (200, APP)
    assert "access-control-allow-credentials" not in preflight.headers
    stranger = await client.options(path, headers={"origin": STRANGER, **preflight_headers})
    assert (stranger.status_code, "access-control-allow-origin" in stranger.headers) == (400, False)

    signed_in = await client.post("/session", json={"key": created[Scope.WRITE]})
    assert signed_in.status_code == 200
    assert (await client.post("/v1/datasets", json={}, headers={"origin": APP})).status_code == 403  # by the session
    answer = await client.get("/v1/jobs", headers={"origin": APP, "authorization": bearer(Scope.READ)})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, APP)
    assert "x-request-id" in answer.headers["access-control-expose-headers"].lower()


async def recorded(log: Path, *, count: int) -> list[tuple[str, str | None, str]]:
    """Who changed which resource with which outcome."""
    for _ in range(400):  # entries are written by a thread of their own
        entries = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
        changes = [entry for entry in entries if entry["event"] == "change"]
        if len(changes) == count:
            break
        await asyncio.sleep(0.05)
    return [(entry["user"], entry["resource"], entry["outcome"]) for entry in changes]


@pytest.mark.parametrize(
    "origins",
    ["*", "https://app.example.org/", "app.example.org", "https://App.example.org", "https://app.example.org:443"],
)
def test_what_is_no_origin_is_refused_at_start(origins: str) -> None:
    with pytest.raises(StartRefused, match="PRISMA_CORS_ORIGINS"):
        _ = GatewaySettings(cors_origins=origins).origins
