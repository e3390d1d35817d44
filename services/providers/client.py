"""The HTTP client for model servers: addresses from the operator's settings, bounded retries, complete error texts.

Kinds of failure are kept apart, because different things must follow from them:

- ProviderUnavailable: the server is broken or overloaded (no connection, a redirect, 429, any 5xx but 501, a response
  that is not a JSON object, or one with an error in spite of its status). It says nothing about the request; the
  caller tries again later.
- ProviderTimedOut: an unavailable server, or a request that is too much for it. A smaller one may work.
- ProviderRefused: the server works and declines this request (any other status from 400, or an error whose text blames
  the input).
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_random_exponential

from services.chassis import job_time, tracing
from services.chassis.errors import FailedPrecondition, Unavailable
from services.providers import metrics
from services.providers.rate_limits import BUSY, pause_after

BLAMES_INPUT = frozenset({200, 400, 413, 422, 500})
"""Statuses of refusals that the input can cause; all others concern each request alike."""
LISTING_SECONDS = 20.0
"""That a provider may take to list its models; a slower one counts as unreachable."""
MAX_ATTEMPTS = 4
MAX_PAUSES = 10
"""Attempts of a request that a server does not take for now, as it says."""
MAX_PAUSE_SECONDS = 60.0
"""The longest pause that a server can ask for; for a longer one the request fails, and its job waits instead."""
MAX_RESPONSE_BYTES = 256 << 20
_MAX_DETAIL_CHARACTERS = 2000
_TOO_MANY_REQUESTS = 429
_NOT_IMPLEMENTED = 501
_ERROR_FIELDS = ("error", "message", "detail")
_MAX_JITTER_SECONDS = 0.2
_RANDOM = random.SystemRandom()
_EXPONENTIAL = wait_random_exponential(multiplier=0.2, max=5.0)


class ProviderUnavailable(Unavailable):
    """The model server cannot be reached, is overloaded or is broken."""

    reason = "PROVIDER_UNAVAILABLE"
    outcome = "unavailable"


class ProviderTimedOut(ProviderUnavailable):
    """The model server did not answer in time."""

    outcome = "timed_out"


class ProviderBusy(ProviderUnavailable):
    """The model server limits its callers, and says after how many seconds it takes requests again."""

    outcome = "busy"

    def __init__(self, message: str, *, seconds: float, provider: str) -> None:
        super().__init__(message, metadata={"provider": provider})
        self.seconds = seconds


class ProviderRefused(FailedPrecondition):
    """The model server declines the request.

    status: the HTTP status.
    detail: the server's own error text.
    """

    reason = "PROVIDER_REFUSED"
    outcome = "refused"

    def __init__(self, message: str, *, status: int, detail: str, provider: str) -> None:
        super().__init__(message, metadata={"provider": provider, "status": str(status)})
        self.status = status
        self.detail = detail


class ProviderClient:
    """Sends requests to one model server. All methods raise ProviderUnavailable and ProviderRefused."""

    def __init__(
        self, name: str, url: str, *, key: str = "", seconds: float = 120.0, input_errors: Sequence[str] = ()
    ) -> None:
        """seconds: limit for a whole response; a connection may take 5 s.

        key: sent as a bearer token; it is removed from the server's error texts.
        input_errors: parts of error texts by which this server blames the input though it answers with a 5xx.
        """
        self.name = name
        self.url = url
        self._key = key
        self._seconds = seconds
        self._input_errors = tuple(input_errors)
        self._resume_time = 0.0
        self._client = httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(seconds, connect=5.0),
            follow_redirects=False,
            trust_env=False,
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
            stop=lambda state: state.attempt_number >= (MAX_PAUSES if attempts > 1 and _is_busy(state) else attempts),
            wait=_backoff,
            retry=retry_if_exception(_may_pass),
            reraise=True,
        )
        with job_time.during(job_time.Part.PROVIDER):
            async for attempt in retrying:
                with attempt:
                    if attempts > 1:
                        await self._pause()
                    is_retry = attempt.retry_state.attempt_number > 1
                    with (
                        metrics.measured(self.name, is_retry=is_retry, is_work=attempts > 1) as request,
                        tracing.span(f"{self.name} {method} {path}", "client"),
                    ):
                        return await self._answer(request, method, path, body)
        raise AssertionError("the last attempt raises")

    async def _answer(
        self, request: metrics.Request, method: str, path: str, body: Mapping[str, Any] | None
    ) -> Mapping[str, Any]:
        """The JSON object that answers one request; notes its outcome."""
        try:
            answer = self._parsed(*await self._send(method, path, body))
        except (ProviderUnavailable, ProviderRefused) as error:
            request.outcome = error.outcome
            raise
        request.outcome = "ok"
        return answer

    async def _pause(self) -> None:
        """Waits until the server takes requests again, and a little more, so that not all callers come at once."""
        seconds = self._resume_time - time.monotonic()
        if seconds > 0:
            metrics.count_pause(self.name, seconds)
            await asyncio.sleep(seconds + _RANDOM.uniform(0, _MAX_JITTER_SECONDS))

    async def _send(self, method: str, path: str, body: Mapping[str, Any] | None) -> tuple[int, httpx.Headers, bytes]:
        """Status, headers and body of one request. Raises ProviderUnavailable when there is no complete response."""
        try:
            async with asyncio.timeout(self._seconds), self._client.stream(method, path, json=body) as response:
                data = bytearray()
                async for part in response.aiter_bytes():
                    data += part
                    if len(data) > MAX_RESPONSE_BYTES:
                        raise self.unavailable(f"its response is larger than {MAX_RESPONSE_BYTES:,} bytes")
                return response.status_code, response.headers, bytes(data)
        except (TimeoutError, httpx.ReadTimeout, httpx.WriteTimeout) as error:
            raise ProviderTimedOut(
                f"{self.name} at {self.url} does not work: no complete response within {self._seconds:g} s",
                metadata={"provider": self.name},
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise self.unavailable(str(error) or type(error).__name__) from error

    def _parsed(self, status: int, headers: httpx.Headers, data: bytes) -> Mapping[str, Any]:
        """The JSON object in a response. Raises ProviderUnavailable, ProviderRefused."""
        pause = pause_after(status, headers)
        if pause is not None and pause <= MAX_PAUSE_SECONDS:
            self._resume_time = max(self._resume_time, time.monotonic() + pause)
        if status >= 300:
            detail = self._error_text(data)
            if 300 <= status < 400:
                raise self.unavailable(f"{status}: it redirects to another address, which is not followed")
            if pause is not None and status in BUSY:
                raise ProviderBusy(
                    f"{self.name} at {self.url} limits its callers, and asks to wait {pause:,.0f} s: {status} {detail}",
                    seconds=pause,
                    provider=self.name,
                )
            if status == _TOO_MANY_REQUESTS or (status >= 500 and status != _NOT_IMPLEMENTED):
                raise self._error(status, detail, f"{status} {detail}")
            raise self.refused(status, detail)
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise self.unavailable(f"expected a JSON object, got {self._error_text(data)[:200]!r}")
        if value.get("error"):  # some servers report an error with a status of success
            detail = self._error_text(data)
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

    def _error_text(self, data: bytes) -> str:
        """The text of an error response in one of the usual JSON forms, or as it is; the key is left out."""
        text = data[: 4 * _MAX_DETAIL_CHARACTERS].decode(errors="replace").strip()
        try:
            value = json.loads(text)
            error = next(value[name] for name in _ERROR_FIELDS if value.get(name))
            text = str(error["message"] if isinstance(error, dict) else error)
        except (ValueError, KeyError, TypeError, AttributeError, StopIteration, RecursionError):
            pass  # none of the JSON forms: the text is shown as it is
        if self._key:
            text = text.replace(self._key, "[key]")
        return text[:_MAX_DETAIL_CHARACTERS]


def _may_pass(error: BaseException) -> bool:
    """Whether the same request may succeed soon."""
    if isinstance(error, ProviderBusy):
        return error.seconds <= MAX_PAUSE_SECONDS
    return isinstance(error, ProviderUnavailable) and not isinstance(error, ProviderTimedOut)


def _backoff(state: RetryCallState) -> float:
    """Seconds to wait before an attempt; none for a server that says how long: the client pauses by itself."""
    return 0.0 if _is_busy(state) else _EXPONENTIAL(state)


def _is_busy(state: RetryCallState) -> bool:
    return state.outcome is not None and isinstance(state.outcome.exception(), ProviderBusy)
