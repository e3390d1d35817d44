"""With keys: nobody comes in without one, scopes are enforced, sessions end, and every change leaves an audit entry."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc.aio
import httpx
import pytest

from prisma.embedder.v1 import embedder_service_pb2 as pb2
from prisma.embedder.v1 import embedder_service_pb2_grpc
from prisma_client.cli import keys
from prisma_common.keys import Scope
from tests import planted
from tests.calls import reason as reason_of_call
from tests.nats_server import NatsServer
from tests.ports import free_port
from tests.process import ServiceProcess, start_all

YESTERDAY = datetime.now(UTC) - timedelta(days=1)


@dataclass(frozen=True)
class Guarded:
    """A gateway and an embedder with keys: one of each scope, and one that has expired."""

    client: httpx.AsyncClient
    file: Path
    keys: dict[str, str]
    gateway: ServiceProcess
    embedder: ServiceProcess

    def bearer(self, name: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.keys[name]}"}

    def recorded(self) -> set[tuple[str, str, str]]:
        """Who did what with which outcome."""
        return {(entry["user"], entry["method"].rpartition("/")[2], entry["outcome"]) for entry in self.changes()}

    def changes(self) -> list[dict[str, str]]:
        """The audit entries of both processes."""
        return [entry for entry in self.entries() if entry["event"] == "change"]

    def entries(self) -> list[dict[str, str]]:
        """The log of both processes."""
        lines = [line for log in (self.gateway.log, self.embedder.log) for line in log.read_text().splitlines()]
        return [json.loads(line) for line in lines if line.startswith("{")]


@pytest.fixture
async def guarded(nats_server: NatsServer, tmp_path: Path) -> AsyncIterator[Guarded]:
    file = tmp_path / "keys"
    created = {scope.word: keys.create(scope.word, file, scope=scope) for scope in Scope}
    created["expired"] = keys.create("expired", file, expire_time=YESTERDAY)
    common = {
        "PRISMA_NATS_URL": nats_server.url,
        "PRISMA_API_KEYS_FILE": str(file),
        "PRISMA_SERVICE_KEY": "0123456789abcdef",
        "PRISMA_LOG_FORMAT": "json",
    }
    embedder = ServiceProcess("embedder", tmp_path, common)
    http = f"127.0.0.1:{free_port()}"
    own = {"PRISMA_EMBEDDER_ADDRESS": embedder.address, "PRISMA_HTTP_LISTEN": http, "PRISMA_TRUST_FORWARDED": "true"}
    gateway = ServiceProcess("gateway", tmp_path, {**common, **own})
    start_all(embedder, gateway)
    async with httpx.AsyncClient(base_url=f"http://{http}", trust_env=False, timeout=60) as client:
        yield Guarded(client, file, created, gateway, embedder)
    gateway.kill()
    embedder.kill()


def reason(response: httpx.Response) -> str:
    details = response.json()["error"]["details"]
    return next(detail["reason"] for detail in details if detail["@type"].endswith("ErrorInfo"))


async def test_keys_scopes_sessions_and_audit(guarded: Guarded) -> None:
    """One test for what the same two processes show, as starting them takes longer than all of it."""
    await _check_that_a_key_is_required(guarded)
    await _check_access_log(guarded)
    await _check_scopes_over_http(guarded)
    await _check_scopes_over_grpc(guarded)
    await _check_sessions(guarded)
    await _check_a_damaged_keys_file(guarded)
    logs = [guarded.gateway.log, guarded.embedder.log]
    planted.assert_absent(logs, *guarded.keys.values(), "0123456789abcdef", planted.DOCUMENT_TEXT)


async def _check_that_a_key_is_required(guarded: Guarded) -> None:
    client = guarded.client
    for path in ("/v1/datasets", "/v1/status", "/metrics", "/v1/openapi.json", "/v1/jobs"):
        refused = await client.get(path)
        assert refused.status_code == 401, path
        assert refused.headers["www-authenticate"] == "Bearer"
    unknown = await client.get("/v1/datasets", headers={"Authorization": "Bearer wrong"})
    assert (unknown.status_code, reason(unknown)) == (401, "API_KEY_INVALID")
    expired = await client.get("/v1/datasets", headers=guarded.bearer("expired"))
    assert (expired.status_code, reason(expired)) == (401, "API_KEY_EXPIRED")
    for path in ("/healthz", "/", "/docs"):
        assert (await client.get(path)).status_code in (200, 503)


async def _check_access_log(guarded: Guarded) -> None:
    """A request's id is in the response and in one entry of each process that had to do with it."""
    headers = {**guarded.bearer("read"), "x-request-id": "request-1"}
    missing = await guarded.client.get("/v1/datasets/missing", headers=headers)
    assert (missing.status_code, missing.headers["x-request-id"]) == (404, "request-1")
    for _ in range(400):  # entries are written by a thread of their own
        entries = [entry for entry in guarded.entries() if entry.get("request_id") == "request-1"]
        if len(entries) == 2:
            break
        await asyncio.sleep(0.05)
    by_service = {entry["service"]: entry for entry in entries}
    request, call = by_service["gateway"], by_service["embedder"]
    assert (request["event"], request["route"], request["code"]) == ("request", "/v1/{name=datasets/*}", 404)
    assert (call["event"], call["code"]) == ("call", "NOT_FOUND")
    assert call["method"] == "/prisma.embedder.v1.EmbedderService/GetDataset"
    for entry in entries:
        assert entry["user"] == "read"
        assert {"milliseconds", "received_bytes", "sent_bytes"} <= entry.keys()
    assert not [entry for entry in guarded.entries() if entry.get("route") == "/healthz"]


async def _check_scopes_over_http(guarded: Guarded) -> None:
    client = guarded.client
    assert (await client.get("/v1/datasets", headers=guarded.bearer("read"))).status_code == 200
    refused = await client.post("/v1/datasets", json={}, headers=guarded.bearer("read"))
    assert (refused.status_code, reason(refused)) == (403, "PERMISSION_DENIED")
    created = await client.post("/v1/datasets?datasetId=d", json={}, headers=guarded.bearer("write"))
    assert created.status_code == 200, created.text
    document = json.dumps([{"id": "a", "text": planted.DOCUMENT_TEXT}])
    imported = await client.post("/v1/datasets/d/documents:import", content=document, headers=guarded.bearer("write"))
    assert imported.json()["importedCount"] == "1"
    assert (await client.delete("/v1/datasets/d", headers=guarded.bearer("write"))).status_code == 403
    assert (await client.delete("/v1/datasets/d", headers=guarded.bearer("admin"))).status_code == 200
    expected = {
        ("read", "CreateDataset", "PERMISSION_DENIED"),
        ("write", "CreateDataset", "OK"),
        ("write", "ImportDocuments", "OK"),
        ("write", "DeleteDataset", "PERMISSION_DENIED"),
        ("admin", "DeleteDataset", "OK"),
    }
    for _ in range(400):  # entries are written by a thread of their own
        if guarded.recorded() == expected:
            break
        await asyncio.sleep(0.05)
    assert guarded.recorded() == expected
    assert all(entry["request_id"] for entry in guarded.changes())
    assert {entry["resource"] for entry in guarded.changes() if entry["outcome"] == "OK"} == {"datasets/d"}
    assert not any(entry["method"].endswith("ListDatasets") for entry in guarded.changes())


async def _check_scopes_over_grpc(guarded: Guarded) -> None:
    """Directly, and through the gateway's port, which passes calls on."""
    for address in (guarded.embedder.address, guarded.gateway.address):
        async with grpc.aio.insecure_channel(address) as channel:
            stub = embedder_service_pb2_grpc.EmbedderServiceStub(channel)

            async def code(
                request: object, name: str | None, method: str = "CreateDataset", stub: object = stub
            ) -> str:
                metadata = () if name is None else (("authorization", f"Bearer {guarded.keys[name]}"),)
                try:
                    await getattr(stub, method)(request, metadata=metadata)
                except grpc.aio.AioRpcError as error:
                    return reason_of_call(error)
                return "OK"

            create = pb2.CreateDatasetRequest()
            assert await code(create, None) == "API_KEY_MISSING"
            assert await code(create, "read") == "PERMISSION_DENIED"
            assert await code(create, "write") == "OK"
            assert await code(pb2.ListDatasetsRequest(), "read", "ListDatasets") == "OK"
            missing = pb2.GetDatasetRequest(name="datasets/none")
            assert await code(missing, "read", "GetDataset") == "DATASET_NOT_FOUND"


async def _check_sessions(guarded: Guarded) -> None:
    client = guarded.client
    assert (await client.get("/session")).json() == {"required": True, "user": None, "scope": None}
    assert (await client.post("/session", json={"key": "wrong"})).status_code == 401
    assert (await client.post("/session", content=b'{"key": "\\ud800"}')).status_code == 401
    assert (await client.post("/session", json={})).status_code == 400
    signed_in = await client.post("/session", json={"key": guarded.keys["read"]})
    assert signed_in.json() == {"required": True, "user": "read", "scope": "read"}
    cookie = signed_in.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Secure" not in cookie
    assert guarded.keys["read"] not in cookie
    assert (await client.get("/v1/datasets")).status_code == 200
    assert (await client.post("/v1/datasets", json={})).status_code == 403, "a session has the scope of its key"

    # Behind a trusted proxy that ends TLS the cookie is for TLS only, and origins are compared with their scheme.
    proxied = {"X-Forwarded-Proto": "https"}
    async with httpx.AsyncClient(base_url=client.base_url) as other:
        assert (
            "Secure"
            in (await other.post("/session", json={"key": guarded.keys["read"]}, headers=proxied)).headers["set-cookie"]
        )
    host = client.base_url.netloc.decode()
    for origin, headers in (("http://evil.example", {}), (f"https://{host}", {}), (f"http://{host}", proxied)):
        foreign = await client.delete("/session", headers={"Origin": origin, **headers})
        assert foreign.status_code == 403, (origin, headers)

    # A changed cookie is none, a revoked key ends its sessions, and a cookie does not outlive its sign-out.
    value = client.cookies["prisma_session"]
    changed = value[:-2] + ("AA" if value[-2:] != "AA" else "BB")
    async with httpx.AsyncClient(base_url=client.base_url, cookies={"prisma_session": changed}) as other:
        assert (await other.get("/v1/datasets")).status_code == 401
    content = guarded.file.read_text()
    guarded.file.write_text("# none\n")
    assert (await client.get("/v1/datasets")).status_code == 401
    guarded.file.write_text(content)
    assert (await client.get("/v1/datasets")).status_code == 200
    assert (await client.delete("/session", headers={"Origin": f"http://{host}"})).json()["user"] is None
    async with httpx.AsyncClient(base_url=client.base_url, cookies={"prisma_session": value}) as other:
        assert (await other.get("/v1/datasets")).status_code == 401


async def _check_a_damaged_keys_file(guarded: Guarded) -> None:
    content = guarded.file.read_bytes()
    guarded.file.write_bytes(content + b"\xff\n")
    damaged = await guarded.client.get("/v1/datasets", headers=guarded.bearer("admin"))
    assert (damaged.status_code, reason(damaged)) == (503, "API_KEYS_UNREADABLE")
    guarded.file.write_bytes(content)
    assert (await guarded.client.get("/v1/datasets", headers=guarded.bearer("admin"))).status_code == 200
