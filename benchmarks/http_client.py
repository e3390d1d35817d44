"""GET requests over kept connections, for a tenth of the CPU time of a general client.

A load generator that shares its cores with the server must not be what is slow: httpx with 500 connections needs more
CPU time for a request than the gateway.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

SECONDS = 60.0


@dataclass(frozen=True)
class Response:
    """A status, the headers by their names in lower case, and the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Client:
    """Opens a connection for a request where no open one is free, so that requests never wait for each other."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._idle: list[_Connection] = []

    async def __aenter__(self) -> Self:
        """Nothing to open yet."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Closes the connections."""
        for connection in self._idle:
            connection.close()

    async def get(self, path: str) -> Response:
        """Sends one request, once. Raises OSError, TimeoutError."""
        connection = self._free_connection()
        async with asyncio.timeout(SECONDS):
            if connection is None:
                _, connection = await asyncio.get_running_loop().create_connection(_Connection, self._host, self._port)
            try:
                response = await connection.get(path, self._host)
            except BaseException:
                connection.close()
                raise
        if connection.is_open:
            self._idle.append(connection)
        return response

    def _free_connection(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
        return None


class _Connection(asyncio.Protocol):
    """One request at a time; bodies have a length."""

    is_open = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The connection is there."""
        self._transport = transport
        self._received = b""
        self._response: asyncio.Future[Response] | None = None
        self.is_open = True

    def connection_lost(self, exc: Exception | None) -> None:
        """A request in progress fails."""
        self.is_open = False
        if self._response is not None and not self._response.done():
            self._response.set_exception(exc or ConnectionResetError("closed before the response"))

    def eof_received(self) -> None:
        """The server closes the connection: it takes no further request."""
        self.is_open = False

    def data_received(self, data: bytes) -> None:
        """Completes the response once all of it has come."""
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not separator or self._response is None:
            return
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if len(body) < int(headers["content-length"]):
            return
        self._received = b""
        if headers.get("connection", "").lower() == "close":
            self.close()
        if not self._response.done():
            self._response.set_result(Response(int(status.split(" ")[1]), headers, body))

    def close(self) -> None:
        """Takes no further request."""
        self.is_open = False
        self._transport.close()

    async def get(self, path: str, host: str) -> Response:
        """Sends a request. Raises OSError."""
        self._response = asyncio.get_running_loop().create_future()
        self._transport.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: application/json\r\n\r\n".encode())
        return await self._response
