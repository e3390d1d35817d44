"""The HTTP listener: options of its sockets, slow senders, limits, forms that were cut."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from gateway import http_server
from gateway.settings import GatewaySettings
from gateway.uploads import Upload
from services.chassis.errors import InvalidArgument, TooManyRequests
from services.chassis.limits import CallLimit
from services.chassis.startup import StartRefused

CUT_FORM = b'--B\r\nContent-Disposition: form-data; name="file"; filename="x.jsonl"\r\n\r\n{"id": "a", "text": "one"}\n'


async def read_body(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """A server that counts the bytes of bodies."""
    listener = http_server.listening_socket("127.0.0.1:0")
    server = http_server.http_server(Starlette(routes=[Route("/", read_body, methods=["POST"])]), GatewaySettings())
    serving = asyncio.create_task(server.serve_on(listener))
    yield listener.getsockname()[1]
    serving.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await serving


async def test_responses_are_not_delayed_by_nagles_algorithm() -> None:
    accepted: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def on_connection(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set_result(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    listener = http_server.listening_socket("127.0.0.1:0")
    server = await asyncio.start_server(on_connection, sock=listener)
    _, writer = await asyncio.open_connection(*listener.getsockname())
    assert await asyncio.wait_for(accepted, 20) == 1
    writer.close()
    server.close()


def test_an_address_in_use_refuses_the_start_in_words() -> None:
    listener = http_server.listening_socket("127.0.0.1:0")
    with listener, pytest.raises(StartRefused, match="PRISMA_HTTP_LISTEN"):
        http_server.listening_socket(f"127.0.0.1:{listener.getsockname()[1]}")


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"POST / HTTP/1.1\r\nHost: a\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\naPOST / HTTP/1.1\r\nHo",
    ],
    ids=["nothing", "half a header", "half a body", "half a second header"],
)
async def test_slow_senders_are_disconnected(port: int, head: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "HEADER_SECONDS", 0.2)
    monkeypatch.setattr(http_server, "BODY_SECONDS", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head)
    with contextlib.suppress(ConnectionResetError):
        await asyncio.wait_for(reader.read(), 20)
    writer.close()


async def test_a_steady_sender_is_served_however_long_it_takes(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "BODY_SECONDS", 0.5)
    monkeypatch.setattr(http_server, "MIN_BODY_BYTES", 1)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 30\r\n\r\n")
    for _ in range(30):
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.05)
    assert (await asyncio.wait_for(reader.readline(), 20)).startswith(b"HTTP/1.1 200")
    writer.close()


async def test_a_connection_outlasts_a_pause_between_requests(port: int) -> None:
    """Clients that close theirs after five seconds, as httpx does, must not meet a server that does so just then."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for seconds in (6.0, 0.0):
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
        assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)).startswith(b"HTTP/1.1 200")
        assert await reader.readexactly(1) == b"1"
        await asyncio.sleep(seconds)
    writer.close()


async def test_calls_beyond_a_limit_are_refused_with_a_time_to_wait() -> None:
    limit = CallLimit(total=3, per_caller=2)
    with limit.call("ada"), limit.call("ada"):
        with pytest.raises(TooManyRequests) as caught, limit.call("ada"):
            pass
        assert caught.value.retry_seconds
        assert any(detail.type_url.endswith("RetryInfo") for detail in caught.value.to_status().details)
        with limit.call("bob"), pytest.raises(TooManyRequests), limit.call(None):
            pass
    with limit.call("ada"), limit.call("bob"):
        pass


def form_request(body: bytes) -> Request:
    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [(b"content-type", b"multipart/form-data; boundary=B")]
    return Request({"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers}, receive)


@pytest.mark.parametrize("end", [b"", b"\r\n", b"\r\n--B", b"\r\n--B\r\n", b"\r\n--B-"])
async def test_a_form_without_its_closing_boundary_is_refused(end: bytes) -> None:
    upload = Upload(form_request(CUT_FORM + end))
    with pytest.raises(InvalidArgument):
        async for _ in upload.file():
            pass


async def test_a_whole_form_is_read() -> None:
    upload = Upload(form_request(CUT_FORM + b"\r\n--B--\r\n"))
    assert b"".join([part async for part in upload.file()]) == b'{"id": "a", "text": "one"}\n'


def test_a_private_folder_is_private(tmp_path: Path) -> None:
    settings = GatewaySettings(data_dir=tmp_path / "data")
    (tmp_path / "data/gateway").mkdir(parents=True, mode=0o755)
    assert settings.data_of("gateway").stat().st_mode & 0o777 == 0o700
