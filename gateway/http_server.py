"""The HTTP server: an end that cuts no request, and clients that send too slowly to be served."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Generator
from typing import cast

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.flow_control import CLOSE_HEADER
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from gateway.https import server_context
from prisma_common.listening import BACKLOG
from services.chassis.certificates import CertificateFiles
from services.chassis.threads import to_the_end

DRAIN_SECONDS = 1.0
"""How long a server that stops waits for another request on its open connections. The response closes them, so that no
client is sending a request just when they end."""
HEADER_SECONDS = 10.0
"""A connection must send a whole request header within this time."""
BODY_SECONDS = 30.0
MIN_BODY_BYTES = 4 << 10
"""A body must bring this many bytes in every BODY_SECONDS that the server waits for it."""
IDLE_SECONDS = 75
"""How long a connection may wait for another request: longer than clients keep theirs (httpx 5 s, browsers up to a
minute), so that none ends just when it is used again."""
PROBE_SECONDS = 30
"""A connection that is silent for so long, as a watch may be, is probed by TCP: what forwards it keeps it open …"""
PROBE_INTERVAL_SECONDS = 10
PROBES = 3
"""… and it ends when the client has left so many probes unanswered: no byte of a silent stream would notice that."""
MAX_CONNECTIONS = 4096


def http_server(
    application: ASGIApp, files: CertificateFiles | None = None, *, close_seconds: float = 3.0
) -> HttpServer:
    """The server of an application.

    files: its certificate; None for plain HTTP. close_seconds: how long requests in progress may go on when it stops.
    """
    config = _Config(
        application,
        http=PatientProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=round(close_seconds),
    )
    config.files = files
    return HttpServer(config)


class _Config(uvicorn.Config):
    """A configuration whose certificate can be replaced."""

    files: CertificateFiles | None = None

    def load(self) -> None:
        """Loads what the server needs."""
        super().load()
        self.ssl = None if self.files is None else server_context(self.files)


class HttpServer(uvicorn.Server):
    """A server that leaves the process's signals alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Captures none."""
        yield

    async def serve_on(self, listener: socket.socket) -> None:
        """Serves until cancelled; then connections get DRAIN_SECONDS, and requests in progress close_seconds more."""
        serving = asyncio.create_task(self.serve(sockets=[listener]))
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            self.should_exit = True
            await to_the_end(serving)  # who is cancelled again still lets requests in progress end

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accepts no more connections; ends the open ones, those with their next response first."""
        for server in self.servers:
            server.close()
        state = self.server_state
        state.default_headers = [*state.default_headers, CLOSE_HEADER]
        for connection in state.connections:
            assert isinstance(connection, PatientProtocol)
            connection.close_with_response()
        deadline = time.monotonic() + DRAIN_SECONDS
        while state.connections and time.monotonic() < deadline:  # noqa: ASYNC110 - connections end
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)


class PatientProtocol(H11Protocol):
    """HTTP/1.1 whose patience with slow senders ends: their connections are closed."""

    _timer: asyncio.TimerHandle | None = None
    _received = 0
    _has_served = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Starts the time for the first header."""
        super().connection_made(transport)
        _probe_when_silent(transport.get_extra_info("socket"))
        self._restart(HEADER_SECONDS)

    def data_received(self, data: bytes) -> None:
        """Restarts the timer where a header or a body is complete, and only there."""
        waited_for_header = self._waits_for_header
        super().data_received(data)
        self._received += len(data)
        self._has_served = self._has_served or not self._waits_for_header
        if self._timer is None or waited_for_header != self._waits_for_header:
            self._restart(HEADER_SECONDS if self._waits_for_header else BODY_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the timer."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def close_with_response(self) -> None:
        """Ends the connection with the response in progress, and says so to the client if its header is still to come.

        Without a request in progress the connection stays open.
        """
        cycle = cast("RequestResponseCycle | None", self.cycle)  # None before the first request
        if cycle is not None and not cycle.response_complete:
            cycle.keep_alive = False
            if not cycle.response_started:
                cycle.default_headers = [*cycle.default_headers, CLOSE_HEADER]

    def send_400_response(self, msg: str) -> None:
        """Answers what is not HTTP. A request whose body it is gets no other response."""
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:  # a response has begun
            self.transport.abort()

    @property
    def _waits_for_header(self) -> bool:
        return self.conn.their_state is h11.IDLE

    @property
    def _waits_for_body(self) -> bool:
        return self.conn.their_state is h11.SEND_BODY and not self.flow.read_paused

    def _restart(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._received = 0
        self._timer = self.loop.call_later(seconds, self._expire)

    def _expire(self) -> None:
        self._timer = None
        if self.transport.is_closing():
            return
        if self._waits_for_header:
            idle = self._has_served and not self.conn.trailing_data[0]
            if not idle:  # between two requests, uvicorn's own keep-alive timeout applies
                self.transport.abort()
        elif self._waits_for_body and self._received < MIN_BODY_BYTES:
            self.transport.abort()
        elif self.conn.their_state is h11.SEND_BODY:
            self._restart(BODY_SECONDS)


def _probe_when_silent(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # macOS has another name for the first one.
    idle = socket.TCP_KEEPIDLE if hasattr(socket, "TCP_KEEPIDLE") else socket.TCP_KEEPALIVE  # pyright: ignore
    connection.setsockopt(socket.IPPROTO_TCP, idle, PROBE_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBE_INTERVAL_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)
