"""With keys: nobody comes in without one, a browser keeps a signed cookie, and a key that is taken out is out."""

from __future__ import annotations

from pathlib import Path

import httpx

from prisma_client.cli import keys
from tests.nats_server import NatsServer, free_port
from tests.process import ServiceProcess, start_all


async def test_keys_and_sessions(nats_server: NatsServer, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    key = keys.create("ada", file)
    common = {
        "PRISMA_NATS_URL": nats_server.url,
        "PRISMA_API_KEYS_FILE": str(file),
        "PRISMA_SERVICE_KEY": "0123456789abcdef",
    }
    embedder = ServiceProcess("embedder", tmp_path, common)
    http = f"127.0.0.1:{free_port()}"
    gateway = ServiceProcess(
        "gateway", tmp_path, {**common, "PRISMA_EMBEDDER_ADDRESS": embedder.address, "PRISMA_HTTP_LISTEN": http}
    )
    start_all(embedder, gateway)
    try:
        async with httpx.AsyncClient(base_url=f"http://{http}", trust_env=False) as client:
            await _try(client, key, file)
    finally:
        gateway.kill()
        embedder.kill()


async def _try(client: httpx.AsyncClient, key: str, file: Path) -> None:
    bearer = {"Authorization": f"Bearer {key}"}
    for path in ("/v1/datasets", "/v1/status", "/metrics", "/v1/openapi.json"):
        refused = await client.get(path)
        assert refused.status_code == 401, path
        assert refused.headers["www-authenticate"] == "Bearer"
    assert (await client.get("/v1/datasets", headers={"Authorization": "Bearer wrong"})).status_code == 401
    assert (await client.get("/v1/datasets", headers=bearer)).status_code == 200
    for path in ("/healthz", "/", "/docs"):
        assert (await client.get(path)).status_code in (200, 503)

    assert (await client.get("/session")).json() == {"required": True, "user": None}
    assert (await client.post("/session", json={"key": "wrong"})).status_code == 401
    assert (await client.post("/session", json={})).status_code == 400
    came = await client.post("/session", json={"key": key})
    assert came.json() == {"required": True, "user": "ada"}
    cookie = came.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert key not in cookie
    assert (await client.get("/v1/datasets")).status_code == 200
    assert (await client.get("/session")).json() == {"required": True, "user": "ada"}

    # A page of elsewhere can't use the cookie, and a changed cookie is none.
    foreign = await client.post("/v1/datasets", json={}, headers={"Origin": "http://evil.example"})
    assert foreign.status_code == 403
    value = client.cookies["prisma_session"]
    changed = value[:-2] + ("AA" if value[-2:] != "AA" else "BB")
    async with httpx.AsyncClient(base_url=client.base_url, cookies={"prisma_session": changed}) as other:
        assert (await other.get("/v1/datasets")).status_code == 401

    # A key that is taken out ends its sessions.
    held = file.read_text()
    file.write_text("# none\n")
    assert (await client.get("/v1/datasets")).status_code == 401
    file.write_text(held)
    assert (await client.get("/v1/datasets")).status_code == 200
    assert (await client.delete("/session")).json()["user"] is None
    assert (await client.get("/v1/datasets")).status_code == 401
