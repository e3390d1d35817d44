"""Calls of the gateway over HTTP: messages in, messages out, the server's errors raised."""

from __future__ import annotations

import asyncio
import json
import uuid
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import httpx
from google.protobuf.message import Message

from prisma.common.v1.job_pb2 import Job
from prisma_client import transcoding
from prisma_client.authorities import certificate_fault, verification
from prisma_client.complete_files import replacing
from prisma_client.errors import ExportNotice, PrismaError, ResourceExhausted, Unavailable, from_json, from_response

ATTEMPTS = 4
FIRST_PAUSE_SECONDS = 0.3
CONNECT_SECONDS = 5.0
_NOTICES_HEADER = "x-prisma-notices"
_Response = TypeVar("_Response", bound=Message)


class Transport:
    """One gateway. seconds: how long a response may take. authority: PEM file that verifies it; None: public ones.

    Raises OSError, ValueError for a file that cannot be used.
    """

    def __init__(
        self, url: str, key: str | None, seconds: float, *, authority: str | PathLike[str] | None = None
    ) -> None:
        headers = {"Authorization": f"Bearer {checked}"} if key and (checked := _checked_key(key)) else {}
        self.url = url
        self._client = httpx.AsyncClient(
            base_url=url,
            headers=headers,
            timeout=httpx.Timeout(seconds, connect=CONNECT_SECONDS),
            # To read the authorities' certificates takes longer than most calls.
            transport=httpx.AsyncHTTPTransport(
                retries=2, verify=not url.lower().startswith("http://") and verification(authority)
            ),
        )

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()

    async def call(self, name: str, message: Message, response: type[_Response]) -> _Response:
        """Calls `Service/Method`.

        Reads, and calls that take a request id, are repeated while a service is unavailable or too busy, up to four
        times. Raises PrismaError.
        """
        repeatable = "request_id" in message.DESCRIPTOR.fields_by_name
        if repeatable and response is not Job:
            _add_request_id(message)
        request = transcoding.request(name, message)
        data = await self._send(request, repeatable or request.verb == "GET")
        return self._read(data, response)

    async def pages(self, name: str, message: Any, response: type[_Response]) -> AsyncIterator[_Response]:
        """Yields all pages of a list: `message` is sent again with the previous page's token. Raises PrismaError."""
        while True:
            page: Any = await self.call(name, message, response)
            yield page
            message.page_token = page.next_page_token
            if not message.page_token:
                return

    async def stream(
        self, name: str, message: Message, response: type[_Response], *, silence: float | None = None
    ) -> AsyncIterator[_Response]:
        """Yields the messages of a server stream.

        silence: seconds without a byte after which Unavailable is raised. Raises PrismaError, also within the stream.
        """
        async with self._open(name, message, silence) as stream:
            async for line in stream.aiter_lines():
                if line.startswith('{"error": {'):
                    raise from_json(json.loads(line)["error"])
                yield self._read(line, response)

    async def download(self, name: str, message: Message) -> AsyncIterator[bytes]:
        """Yields the bytes of a file. Raises PrismaError; Unavailable where the file ends too early.

        Warns ExportNotice.
        """
        async with self._open(name, message, None) as stream:
            for notice in json.loads(stream.headers.get(_NOTICES_HEADER, "[]")):
                warnings.warn(notice, ExportNotice, stacklevel=2)
            async for chunk in stream.aiter_bytes():
                yield chunk

    async def save(self, name: str, message: Message, path: str | Path) -> int:
        """Writes a download to a file and returns its size in bytes. Raises PrismaError, OSError.

        It is written under a temporary name and renamed, so that the file is complete or absent.
        """
        size = 0
        with replacing(path) as file:
            async for chunk in self.download(name, message):
                size += file.write(chunk)
        return size

    async def upload(
        self,
        name: str,
        config: Message,
        chunks: Iterable[bytes],
        response: type[_Response],
        content_type: str | None = None,
    ) -> _Response:
        """Sends a file through a client stream whose first message is `config`.

        content_type: of a form with several files; None for a file alone. Raises PrismaError.
        """
        request = transcoding.request(name, config)

        async def body() -> AsyncIterator[bytes]:
            for chunk in chunks:
                yield chunk

        query = tuple((key.removeprefix("config."), value) for key, value in request.query)
        try:
            received = await self._client.post(
                request.path,
                params=query,
                content=body(),
                headers={"content-type": content_type} if content_type else None,
                timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),
            )
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        if received.status_code >= 400:
            raise from_response(received.status_code, received.content)
        return self._read(received.content, response)

    async def get_json(self, path: str, expected: str) -> Mapping[str, Any]:
        """Returns the JSON of a path that is not an RPC, an object with the field `expected`. Raises PrismaError."""
        data = await self._send(transcoding.HttpRequest("GET", path, (), None), repeatable=True)
        try:
            fields: Any = json.loads(data)
        except ValueError:
            raise self._foreign(data) from None
        if not isinstance(fields, dict) or expected not in fields:
            raise self._foreign(data)
        return fields  # pyright: ignore[reportUnknownVariableType]

    @asynccontextmanager
    async def _open(self, name: str, message: Message, silence: float | None) -> AsyncGenerator[httpx.Response]:
        """Opens a response that is still being sent. Raises PrismaError."""
        request = transcoding.request(name, message)
        timeout = httpx.Timeout(None, connect=CONNECT_SECONDS, read=silence)
        try:
            async with self._client.stream(
                request.verb,
                request.path,
                params=request.query,
                content=request.body,
                headers={"content-type": "application/json"} if request.body is not None else None,
                timeout=timeout,
            ) as response:
                if response.status_code >= 400:
                    raise from_response(response.status_code, await response.aread())
                yield response
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    async def _send(self, request: transcoding.HttpRequest, repeatable: bool) -> bytes:
        """Sends a request, and again after an outage or a busy server if it is repeatable. Raises PrismaError."""
        for attempt in range(1, ATTEMPTS):
            try:
                return await self._send_once(request)
            except (Unavailable, ResourceExhausted) as error:
                if not repeatable or not _is_transient(error):
                    raise
                await asyncio.sleep(error.retry_after or FIRST_PAUSE_SECONDS * 2**attempt)
        return await self._send_once(request)

    async def _send_once(self, request: transcoding.HttpRequest) -> bytes:
        headers = {"Content-Type": "application/json"} if request.body is not None else {}
        try:
            response = await self._client.request(
                request.verb, request.path, params=request.query, content=request.body, headers=headers
            )
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        if response.status_code >= 400:
            raise from_response(response.status_code, response.content)
        return response.content

    def _read(self, data: bytes | str, response: type[_Response]) -> _Response:
        """Returns the message in a response. Raises PrismaError for the response of another server."""
        try:
            return transcoding.response(data, response())
        except ValueError:
            raise self._foreign(data) from None

    def _foreign(self, data: bytes | str) -> PrismaError:
        text = data if isinstance(data, str) else data[:300].decode(errors="replace")
        return PrismaError(
            f"{self.url} is no gateway of PRISMA: it answers {text.strip()[:100]!r}. Set PRISMA_URL to its address",
            code="UNKNOWN",
        )

    def _unreachable(self, error: httpx.HTTPError) -> Unavailable:
        if (fault := certificate_fault(error)) is not None:
            return Unavailable(
                f"the certificate of {self.url} cannot be trusted: {fault}. PRISMA_TLS_AUTHORITY names the file with "
                "the authority that signs it",
                code="UNAVAILABLE",
                reason="GATEWAY_UNAVAILABLE",
            )
        return Unavailable(
            f"the gateway at {self.url} is unreachable ({str(error) or type(error).__name__}). Start it with "
            "`prisma up`, or set PRISMA_URL to its address",
            code="UNAVAILABLE",
            reason="GATEWAY_UNAVAILABLE",
        )


def _checked_key(key: str) -> str:
    """Returns the key without blanks around it; empty for blanks alone. Raises ValueError, which does not quote it."""
    key = key.strip()
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise ValueError(
            "the API key has characters that no key has: expected letters, digits and punctuation of ASCII"
        )
    return key


def _add_request_id(message: Any) -> None:
    """Makes a call repeatable. Not used for jobs: without an id, the server returns the resource's running job."""
    message.request_id = message.request_id or str(uuid.uuid4())


def _is_transient(error: PrismaError) -> bool:
    """Whether a repetition within seconds may succeed: not where nothing listens at the address, or a disk is full."""
    if isinstance(error, Unavailable):
        return not isinstance(error.__cause__, httpx.ConnectError | httpx.TimeoutException)
    return error.reason == "TOO_MANY_REQUESTS"
