"""When a server that limits its callers takes requests again, as its headers say it.

`Retry-After` (seconds or a date), `retry-after-ms`, and `x-ratelimit-reset-requests` / `-tokens` as OpenAI sends them
(`1s`, `6m0s`, `120ms`) beside what remains.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

BUSY = frozenset({429, 503})
"""Statuses of a server that takes no requests for now."""
_MAX_SECONDS = 86_400.0
_LIMITS = ("requests", "tokens")
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def pause_after(status: int, headers: httpx.Headers) -> float | None:
    """Seconds until the next request, at least 0; None where a response does not say so.

    A busy server's own wish counts first; without one, and after a success too, a limit of which nothing remains.
    """
    if status in BUSY:
        milliseconds = _milliseconds(headers)
        wish = milliseconds if milliseconds is not None else _retry_after(headers.get("retry-after", ""))
        if wish is not None:
            return min(wish, _MAX_SECONDS)
    resets = [_reset(headers, limit) for limit in _LIMITS]
    return max((min(reset, _MAX_SECONDS) for reset in resets if reset is not None), default=None)


def _milliseconds(headers: httpx.Headers) -> float | None:
    value = _number(headers.get("retry-after-ms", ""))
    return None if value is None else value / 1000


def _retry_after(text: str) -> float | None:
    if (seconds := _number(text)) is not None:
        return seconds
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())


def _reset(headers: httpx.Headers, limit: str) -> float | None:
    """Seconds until a limit of which nothing remains is reset."""
    if _number(headers.get(f"x-ratelimit-remaining-{limit}", "")) != 0.0:
        return None
    text = headers.get(f"x-ratelimit-reset-{limit}", "")
    if not re.fullmatch(rf"(?:{_DURATION.pattern})+", text):
        return None
    return sum(float(count) * _UNIT_SECONDS[unit] for count, unit in _DURATION.findall(text))


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None
