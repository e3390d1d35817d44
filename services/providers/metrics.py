"""Metrics of requests to model servers, by the names that the operator gave these."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager

from prometheus_client import Counter, Histogram

from services.chassis import job_time

_SECONDS = Histogram(
    "prisma_provider_seconds",
    "Duration of requests to model servers, in seconds, without the pauses that a server asks for",
    ["provider"],
    buckets=(0.02, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300),
)
_REQUESTS = Counter(
    "prisma_provider_requests_total",
    "Requests to model servers, by outcome: ok, refused, busy, unavailable, timed_out, cancelled",
    ["provider", "outcome"],
)
_RETRIES = Counter("prisma_provider_retries_total", "Requests to model servers that were repeated", ["provider"])
_PAUSE_SECONDS = Counter(
    "prisma_provider_pause_seconds_total", "Time that requests have waited as their model server asked", ["provider"]
)


class Request:
    """A request in progress. outcome: set by who makes it."""

    outcome = "cancelled"


@contextmanager
def measured(provider: str, *, is_retry: bool, is_work: bool) -> Generator[Request]:
    """Counts one request. is_work: whether jobs count it too, other than a request for a list of models."""
    if is_retry:
        _RETRIES.labels(provider).inc()
    request, start = Request(), time.perf_counter()
    try:
        yield request
    finally:
        seconds = time.perf_counter() - start
        _SECONDS.labels(provider).observe(seconds)
        if is_work:
            job_time.note_request(provider, seconds)
        _REQUESTS.labels(provider, request.outcome).inc()


def count_pause(provider: str, seconds: float) -> None:
    """Counts a pause that a server has asked for."""
    _PAUSE_SECONDS.labels(provider).inc(seconds)
