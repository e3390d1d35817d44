"""The HTTP client for model servers: addresses from the operator's settings, bounded retries, complete error texts.

Two kinds of failure are kept apart, because different things must follow from them:

- ProviderUnavailable: the server is broken or overloaded (no connection, a redirect, 429, any 5xx, a response that is
  not a JSON object, or one with an error in spite of its status). It says nothing about the request; the caller tries
  again later.
- ProviderRefused: the server works and declines this request (any other status from 400, or an error whose text blames
  the input).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from services.chassis.errors import FailedPrecondition, Unavailable

MAX_ATTEMPTS = 4
MAX_RESPONSE_BYTES = 256 << 20
_MAX_DETAIL_CHARACTERS = 2000
_TOO_MANY_REQUESTS = 429


class ProviderUnavailable(Unavailable):
    """The model server cannot be reached, is overloaded or is broken."""

    reason = "PROVIDER_UNAVAILABLE"


class ProviderRefused(FailedPrecondition):
    """The model server declines the request.

    status: the HTTP status.
    detail: the server's own error text.
    """

    reason = "PROVIDER_REFUSED"

    def __init__(self, message: str, *, status: int, detail: str, provider: str) -> None:
        super().__init__(message, metadata={"provider": provider, "status": str(status)})
        self.status = status
        self.detail = detail


class ProviderClient:
    """Sends requests to one model server. All methods raise ProviderUnavailable and ProviderRefused."""

    def __init__(self, name: str, url: str, *, seconds: float = 120.0, input_errors: Sequence[str] = ()) -> None:
        """seconds: limit for a response; a connection may take 5 s.

        input_errors: parts of error texts by which this server blames the input though it answers with a 5xx.
        """
        self.name = name
        self.url = url
        self._input_errors = tuple(input_errors)
        self._client = httpx.AsyncClient(
            base_url=url, timeout=httpx.Timeout(seconds, connect=5.0), follow_redirects=False, trust_env=False
        )

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()

    async def get(self, path: str, *, attempts: int = MAX_ATTEMPTS) -> Mapping[str, Any]:
        """The JSON object at a path."""
        return await self._retry("GET", path, None, attempts)

    async def post(self, path: str, body: Mapping[str, Any], *, attempts: int = MAX_ATTEMPTS) -> Mapping[str, Any]:
        """The JSON object that answers a JSON body."""
        return await self._retry("POST", path, body, attempts)

    async def _retry(self, method: str, path: str, body: Mapping[str, Any] | None, attempts: int) -> Mapping[str, Any]:
        retrying = AsyncRetrying(
            stop=stop_after_attempt(attempts),
            wait=wait_random_exponential(multiplier=0.2, max=5.0),
            retry=retry_if_exception_type(ProviderUnavailable),
            reraise=True,
        )
        async for attempt in retrying:
            with attempt:
                return self._parsed(*await self._send(method, path, body))
        raise AssertionError("the last attempt raises")

    async def _send(self, method: str, path: str, body: Mapping[str, Any] | None) -> tuple[int, bytes]:
        """Status and body of one request. Raises ProviderUnavailable when there is no complete response."""
        try:
            async with self._client.stream(method, path, json=body) as response:
                data = bytearray()
                async for part in response.aiter_bytes():
                    data += part
                    if len(data) > MAX_RESPONSE_BYTES:
                        raise self.unavailable(f"its response is larger than {MAX_RESPONSE_BYTES:,} bytes")
                return response.status_code, bytes(data)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise self.unavailable(str(error) or type(error).__name__) from error

    def _parsed(self, status: int, data: bytes) -> Mapping[str, Any]:
        """The JSON object in a response. Raises ProviderUnavailable, ProviderRefused."""
        if status >= 300:
            detail = _error_text(data)
            if 300 <= status < 400:
                raise self.unavailable(f"{status}: it redirects to another address, which is not followed")
            if status == _TOO_MANY_REQUESTS or status >= 500:
                raise self._error(status, detail, f"{status} {detail}")
            raise self.refused(status, detail)
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise self.unavailable(f"expected a JSON object, got {_error_text(data)[:200]!r}")
        if value.get("error"):  # some servers report an error with a status of success
            detail = _error_text(data)
            raise self._error(status, detail, detail)
        return value

    def _error(self, status: int, detail: str, message: str) -> ProviderRefused | ProviderUnavailable:
        """The error of a server that fails: a refusal where it blames the input, else an outage."""
        if any(part in detail for part in self._input_errors):
            return self.refused(status, detail)
        return self.unavailable(message)

    def unavailable(self, detail: str) -> ProviderUnavailable:
        """The error for a server that is down, overloaded or broken."""
        return ProviderUnavailable(
            f"{self.name} at {self.url} does not work: {detail}", metadata={"provider": self.name}
        )

    def refused(self, status: int, detail: str) -> ProviderRefused:
        """The error for a request that the server declines, or answers with something unusable."""
        return ProviderRefused(f"{self.name}: {detail}", status=status, detail=detail, provider=self.name)


def _error_text(data: bytes) -> str:
    """The text of an error response: `{"error": "…"}`, `{"error": {"message": "…"}}`, or plain text."""
    text = data[: 4 * _MAX_DETAIL_CHARACTERS].decode(errors="replace").strip()
    try:
        error = json.loads(text)["error"]
        text = str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, KeyError, TypeError, RecursionError):
        pass  # not one of the two JSON forms: the text is shown as it is
    return text[:_MAX_DETAIL_CHARACTERS]
