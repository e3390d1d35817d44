"""The HTTP server: its end, slow senders, limits, forms that were cut."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from gateway import http_server
from gateway.settings import GatewaySettings
from gateway.uploads import Upload
from prisma_common.listening import listening_socket
from services.chassis.errors import InvalidArgument, TooManyRequests
from services.chassis.limits import CallLimit

CUT_FORM = b'--B\r\nContent-Disposition: form-data; name="file"; filename="x.jsonl"\r\n\r\n{"id": "a", "text": "one"}\n'


async def read_body(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


@dataclass(frozen=True)
class Serving:
    """A server that counts the bytes of bodies, and the task that it ends with."""

    port: int
    task: asyncio.Task[None]


@pytest.fixture
async def serving() -> AsyncIterator[Serving]:
    listener = listening_socket("127.0.0.1:0")
    server = http_server.http_server(Starlette(routes=[Route("/", read_body, methods=["POST"])]))
    task = asyncio.create_task(server.serve_on(listener))
    yield Serving(listener.getsockname()[1], task)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@pytest.fixture
def port(serving: Serving) -> int:
    """Of the server."""
    return serving.port


ONE_BYTE = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n"
"""A request whose body, a byte, is still to come."""


async def header_of(reader: asyncio.StreamReader) -> bytes:
    """The header of a response; its body is read too, and is `1`."""
    header = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
    assert header.startswith(b"HTTP/1.1 200")
    assert await reader.readexactly(1) == b"1"
    return header.lower()


async def test_a_server_that_stops_ends_connections_with_a_response_that_says_so(serving: Serving) -> None:
    """One that is idle when the stop begins, and one with a request in progress."""
    idle, in_progress = [await asyncio.open_connection("127.0.0.1", serving.port) for _ in range(2)]
    idle[1].write(ONE_BYTE + b"x")
    assert b"connection: close" not in await header_of(idle[0])
    in_progress[1].write(ONE_BYTE)
    serving.task.cancel()
    header = b""
    while b"connection: close" not in header:  # the server notices the stop within a tenth of a second
        idle[1].write(ONE_BYTE + b"x")
        header = await header_of(idle[0])
    serving.task.cancel()  # again, as `cancel_until_done` does while the server waits for requests in progress
    for _ in range(10):
        await asyncio.sleep(0)
    assert not serving.task.done()
    in_progress[1].write(b"x")
    assert b"connection: close" in await header_of(in_progress[0])
    for reader, writer in (idle, in_progress):
        assert await asyncio.wait_for(reader.read(), 20) == b""
        writer.close()
    await asyncio.wait([serving.task])


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
        writer.write(ONE_BYTE + b"x")
        await header_of(reader)
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


def form_request(body: bytes, kind: bytes = b"multipart/form-data") -> Request:
    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [(b"content-type", kind + b"; boundary=B")]
    return Request({"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers}, receive)


@pytest.mark.parametrize("end", [b"", b"\r\n", b"\r\n--B", b"\r\n--B\r\n", b"\r\n--B-"])
async def test_a_form_without_its_closing_boundary_is_refused(end: bytes) -> None:
    upload = Upload(form_request(CUT_FORM + end))
    with pytest.raises(InvalidArgument):
        async for _ in upload.files():
            pass


async def test_a_whole_form_is_read() -> None:
    upload = Upload(form_request(CUT_FORM + b"\r\n--B--\r\n"))
    assert [part async for part in upload.files()] == [(None, b'{"id": "a", "text": "one"}\n')]


def file_part(name: bytes, data: bytes) -> bytes:
    return b'--B\r\nContent-Disposition: form-data; name="%s"; filename="x"\r\n\r\n%s\r\n' % (name, data)


async def test_a_further_file_is_one_of_a_field_that_takes_it() -> None:
    documents, vectors = file_part(b"file", b"documents"), file_part(b"vectors", b"numbers")
    for body in (documents + vectors, vectors + documents):
        upload = Upload(form_request(body + b"--B--\r\n"), ["vectors"])
        assert {name: data async for name, data in upload.files()} == {None: b"documents", "vectors": b"numbers"}
    for body in (documents + documents, documents + vectors + vectors):
        upload = Upload(form_request(body + b"--B--\r\n"), ["vectors"])
        with pytest.raises(InvalidArgument, match="expected one file as the last part of the form, got a second file"):
            async for _ in upload.files():
                pass


async def test_another_kind_of_multipart_body_is_no_file() -> None:
    body = b'--B\r\nContent-Type: application/json\r\n\r\n{"id": "a", "text": "one"}\n\r\n--B--\r\n'
    upload = Upload(form_request(body, kind=b"multipart/mixed"))
    with pytest.raises(InvalidArgument, match="expected a form with a file"):
        async for _ in upload.files():
            pass


class NoTransport(asyncio.Transport):
    """Keeps what is written, and stays open when it is closed."""

    def __init__(self) -> None:
        super().__init__({"socket": socket.socket()})
        self.written = bytearray()
        self.ended = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def close(self) -> None:
        self.ended = True

    def abort(self) -> None:
        self.ended = True

    def is_closing(self) -> bool:
        return self.ended


@pytest.mark.parametrize("has_begun", [False, True])
async def test_a_request_whose_body_is_not_http_gets_one_response_and_no_traceback(
    has_begun: bool, caplog: pytest.LogCaptureFixture
) -> None:
    answer = asyncio.Event()

    async def application(_scope: Scope, _receive: Receive, send: Send) -> None:
        if has_begun:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        await answer.wait()
        if not has_begun:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"late"})

    server = http_server.http_server(application)
    server.config.load()
    protocol = http_server.PatientProtocol(config=server.config, server_state=server.server_state, app_state={})
    transport = NoTransport()
    protocol.connection_made(transport)
    protocol.data_received(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    await asyncio.sleep(0)
    protocol.data_received(b"zz\r\n")
    answer.set()
    await asyncio.gather(*server.server_state.tasks)
    protocol.connection_lost(None)
    assert transport.ended
    assert transport.written.count(b"HTTP/1.1") == 1 and b"late" not in transport.written
    assert has_begun or transport.written.startswith(b"HTTP/1.1 400")
    assert not [record for record in caplog.records if record.exc_info]


def test_a_private_folder_is_private(tmp_path: Path) -> None:
    settings = GatewaySettings(data_dir=tmp_path / "data")
    (tmp_path / "data/gateway").mkdir(parents=True, mode=0o755)
    assert settings.data_of("gateway").stat().st_mode & 0o777 == 0o700
