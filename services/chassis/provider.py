"""The one HTTP client for providers of models: addresses from the operator's settings, bounded retries, errors told.

Retried, with jitter, are 429, 502, 503, 504 and connections that fail; nothing else, as no other answer gets better.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import httpx
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from services.chassis.errors import FailedPrecondition, Unavailable

ATTEMPTS = 4
MAX_ANSWER_BYTES = 256 << 20
_RETRIED = frozenset({429, 502, 503, 504})


class ProviderUnavailable(Unavailable):
    """The provider does not answer, or is overloaded."""

    reason = "PROVIDER_UNAVAILABLE"


class ProviderRefused(FailedPrecondition):
    """The provider answers that it won't. status: of HTTP. said: its own words."""

    reason = "PROVIDER_REFUSED"

    def __init__(self, message: str, *, status: int, said: str, provider: str) -> None:
        super().__init__(message, metadata={"provider": provider, "status": str(status)})
        self.status = status
        self.said = said


class ProviderClient:
    """Asks one provider. `seconds` bounds the wait for an answer, not for a connection (5 s)."""

    def __init__(self, name: str, url: str, *, seconds: float = 120.0) -> None:
        self.name = name
        self.url = url
        self._client = httpx.AsyncClient(
            base_url=url, timeout=httpx.Timeout(seconds, connect=5.0), follow_redirects=False, trust_env=False
        )

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()

    async def get(self, path: str, *, attempts: int = ATTEMPTS) -> Any:
        """The JSON at a path. Raises ProviderUnavailable, ProviderRefused."""
        return await self._ask("GET", path, None, attempts)

    async def post(self, path: str, body: Mapping[str, Any], *, attempts: int = ATTEMPTS) -> Any:
        """The JSON that answers a body. Raises ProviderUnavailable, ProviderRefused."""
        return await self._ask("POST", path, body, attempts)

    async def _ask(self, method: str, path: str, body: Mapping[str, Any] | None, attempts: int) -> Any:
        retrying = AsyncRetrying(
            stop=stop_after_attempt(attempts),
            wait=wait_random_exponential(multiplier=0.2, max=5.0),
            retry=retry_if_exception_type(ProviderUnavailable),
            reraise=True,
        )
        async for attempt in retrying:
            with attempt:
                return await self._once(method, path, body)
        raise AssertionError("the last attempt raises")

    async def _once(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        try:
            async with self._client.stream(method, path, json=body) as response:
                data = bytearray()
                async for part in response.aiter_bytes():
                    data += part
                    if len(data) > MAX_ANSWER_BYTES:
                        raise self._refused(
                            response.status_code, f"its answer is larger than {MAX_ANSWER_BYTES:,} bytes"
                        )
        except httpx.HTTPError as error:
            told = str(error) or type(error).__name__
            raise ProviderUnavailable(
                f"{self.name} at {self.url} does not answer: {told}", metadata={"provider": self.name}
            ) from error
        if response.status_code in _RETRIED:
            raise ProviderUnavailable(
                f"{self.name} at {self.url} is overloaded or starting: {response.status_code} {_words(data)}",
                metadata={"provider": self.name},
            )
        if response.status_code >= 300:
            raise self._refused(response.status_code, _words(data))
        try:
            return json.loads(data)
        except ValueError:
            raise self._refused(response.status_code, f"expected JSON, got {_words(data)[:200]!r}") from None

    def _refused(self, status: int, said: str) -> ProviderRefused:
        return ProviderRefused(f"{self.name}: {said}", status=status, said=said, provider=self.name)


def _words(data: bytes | bytearray) -> str:
    """What a provider says of an error: `{"error": "…"}`, `{"error": {"message": "…"}}`, or plain text."""
    text = bytes(data).decode(errors="replace").strip()
    try:
        error = json.loads(text)["error"]
        return str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, KeyError, TypeError):
        return text[:2000]
