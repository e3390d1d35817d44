"""Calls of the gateway over HTTP: messages in, messages out, errors raised as they are told."""

from __future__ import annotations

import time
import json
from collections.abc import Generator, Iterator, Iterable, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx
from google.protobuf import json_format
from google.protobuf.message import Message

from prisma_client import transcoding
from prisma_client.errors import PrismaError, Unavailable, of_answer, of_json

ATTEMPTS = 3
_Answer = TypeVar("_Answer", bound=Message)


class Transport:
    """One gateway. seconds: how long an answer may take."""

    def __init__(self, url: str, key: str | None, seconds: float) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.url = url
        self._client = httpx.Client(
            base_url=url,
            headers=headers,
            timeout=httpx.Timeout(seconds, connect=5.0),
            transport=httpx.HTTPTransport(retries=2),
        )

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def call(self, name: str, message: Message, answer: type[_Answer]) -> _Answer:
        """Calls `Service/Method`. Reads that meet an outage are tried again. Raises PrismaError."""
        asked = transcoding.request(name, message)
        data = self._send(asked)
        return json_format.Parse(data, answer(), ignore_unknown_fields=True)

    def pages(self, name: str, message: Any, answer: type[_Answer]) -> Iterator[_Answer]:
        """All pages of a list: `message` is asked again with the token of the page before. Raises PrismaError."""
        while True:
            page: Any = self.call(name, message, answer)
            yield page
            message.page_token = page.next_page_token
            if not message.page_token:
                return

    def stream(self, name: str, message: Message, answer: type[_Answer]) -> Iterator[_Answer]:
        """The messages of a server stream. Raises PrismaError, also in its middle."""
        with self._opened(name, message) as response:
            for line in response.iter_lines():
                if line.startswith('{"error": {'):
                    raise of_json(json.loads(line)["error"])
                yield json_format.Parse(line, answer(), ignore_unknown_fields=True)

    def download(self, name: str, message: Message) -> Iterator[bytes]:
        """The bytes of a file. Raises PrismaError; a file that ends too early raises Unavailable."""
        with self._opened(name, message) as response:
            for part in response.iter_bytes():
                yield part

    def upload(self, name: str, config: Message, chunks: Iterable[bytes], answer: type[_Answer]) -> _Answer:
        """Sends a file by a client stream: `config` is its first message. Raises PrismaError."""
        asked = transcoding.request(name, config)

        def body() -> Iterator[bytes]:
            for chunk in chunks:
                yield chunk

        query = tuple((key.removeprefix("config."), value) for key, value in asked.query)
        try:
            response = self._client.post(
                asked.path, params=query, content=body(), timeout=httpx.Timeout(None, connect=5.0)
            )
        except httpx.HTTPError as error:
            raise self._away(error) from error
        if response.status_code >= 400:
            raise of_answer(response.status_code, response.content)
        return json_format.Parse(response.content, answer(), ignore_unknown_fields=True)

    def look(self, path: str) -> Mapping[str, Any]:
        """The JSON of a path that is no RPC. Raises PrismaError."""
        return json.loads(self._send(transcoding.HttpRequest("GET", path, (), None)))

    @contextmanager
    def _opened(self, name: str, message: Message) -> Generator[httpx.Response]:
        """An answer that is still being sent. Raises PrismaError."""
        asked = transcoding.request(name, message)
        try:
            with self._client.stream(
                asked.verb, asked.path, params=asked.query, timeout=httpx.Timeout(None, connect=5.0)
            ) as response:
                if response.status_code >= 400:
                    raise of_answer(response.status_code, response.read())
                yield response
        except httpx.HTTPError as error:
            raise self._away(error) from error

    def _send(self, asked: transcoding.HttpRequest) -> bytes:
        headers = {"Content-Type": "application/json"} if asked.body is not None else {}
        last: PrismaError | None = None
        for attempt in range(ATTEMPTS if asked.verb == "GET" else 1):
            if attempt:
                time.sleep(0.3 * 2**attempt)
            try:
                response = self._client.request(
                    asked.verb, asked.path, params=asked.query, content=asked.body, headers=headers
                )
            except httpx.HTTPError as error:
                raise self._away(error) from error
            if response.status_code < 400:
                return response.content
            last = of_answer(response.status_code, response.content)
            if not isinstance(last, Unavailable):
                break
        assert last is not None
        raise last

    def _away(self, error: httpx.HTTPError) -> Unavailable:
        told = str(error) or type(error).__name__
        return Unavailable(
            f"the gateway at {self.url} does not answer ({told}). Is it running? `prisma up` starts it here; "
            "PRISMA_URL says where it is",
            code="UNAVAILABLE",
            reason="GATEWAY_UNAVAILABLE",
        )
