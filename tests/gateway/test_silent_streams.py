"""Watches that are silent for long, over HTTP: lines of JSON, and server-sent events. Over gRPC: test_restarts.py."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from grpc import aio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from gateway import http_server, transcoder
from prisma.common.v1.job_pb2 import Job
from prisma_client.aio import jobs as client_jobs
from prisma_common.listening import listening_socket
from services.chassis import channels
from services.chassis.settings import ChassisSettings

LIMIT_SECONDS = 0.1
"""Every limit of the server here."""


class SilentCall:
    """A call whose second message comes when the test says so."""

    def __init__(self) -> None:
        self.ends = asyncio.Event()
        self._messages = iter((Job(name="jobs/last"), aio.EOF))

    async def read(self) -> Any:
        await self.ends.wait()
        return next(self._messages)

    def cancel(self) -> None:
        self.ends.set()


class Serving:
    """A server whose limits are all short, with a silent call as lines and as events."""

    def __init__(self) -> None:
        self.call = SilentCall()
        self._writers: list[asyncio.StreamWriter] = []  # one that is dropped closes its connection
        self.listener = listening_socket("127.0.0.1:0")
        routes = [Route("/lines", self._lines), Route("/events", self._events)]
        self.server = http_server.http_server(Starlette(routes=routes))

    async def _lines(self, _request: Request) -> StreamingResponse:
        return StreamingResponse(transcoder._lines(self.call, Job(name="jobs/first"), "trainer"))  # pyright: ignore[reportPrivateUsage]

    async def _events(self, _request: Request) -> StreamingResponse:
        return StreamingResponse(transcoder._events(self.call, Job(name="jobs/first"), "trainer"))  # pyright: ignore[reportPrivateUsage]

    async def get(self, path: str) -> asyncio.StreamReader:
        """The response to a request, behind its header."""
        reader, writer = await asyncio.open_connection(*self.listener.getsockname())
        self._writers.append(writer)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        return reader


@pytest.fixture
async def serving(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Serving]:
    for limit in ("HEADER_SECONDS", "BODY_SECONDS", "IDLE_SECONDS"):
        monkeypatch.setattr(http_server, limit, LIMIT_SECONDS)
    monkeypatch.setattr(transcoder, "_PING_SECONDS", LIMIT_SECONDS / 10)
    serving = Serving()
    task = asyncio.create_task(serving.server.serve_on(serving.listener))
    yield serving
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_silent_lines_go_on_after_every_limit_of_the_server(serving: Serving) -> None:
    reader = await serving.get("/lines")
    await reader.readuntil(b"jobs/first")
    await asyncio.sleep(10 * LIMIT_SECONDS)  # the limits' timers have all run
    serving.call.ends.set()
    assert b"jobs/last" in await reader.readuntil(b"0\r\n\r\n")


async def test_silent_events_are_filled_with_comments(serving: Serving) -> None:
    reader = await serving.get("/events")
    await reader.readuntil(b"jobs/first")
    for _ in range(20):  # beyond all limits
        await reader.readuntil(b"\n: \n\n")
    serving.call.ends.set()
    assert b"jobs/last" in await reader.readuntil(b"event: end")


async def test_a_silent_connection_is_probed(serving: Serving) -> None:
    await serving.get("/lines")
    (connection,) = serving.server.server_state.connections
    accepted: socket.socket = connection.transport.get_extra_info("socket")  # type: ignore[union-attr]
    assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) != 0
    assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == http_server.PROBE_SECONDS
    serving.call.cancel()


def test_signs_of_life_come_more_often_than_anyone_waits_for_them() -> None:
    patience = min(client_jobs.SILENCE_SECONDS, http_server.IDLE_SECONDS)
    assert patience > transcoder._PING_SECONDS  # pyright: ignore[reportPrivateUsage]
    assert patience > http_server.PROBE_SECONDS
    for options in (channels.CHANNEL_OPTIONS, channels.SERVER_OPTIONS):
        assert channels.MIN_PING_MS < dict(options)["grpc.keepalive_time_ms"] <= 1000 * patience
        assert dict(options)["grpc.keepalive_permit_without_calls"] == 1
    assert 1000 * ChassisSettings().connection_age_seconds < channels.CONNECTION_GRACE_MS
