"""How many calls may be in progress at once: in all, and per caller."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

from services.chassis.errors import TooManyRequests

RETRY_SECONDS = 1.0


class CallLimit:
    """Counts the calls in progress. Streams that are watched for long count like any other call.

    total: calls in progress in this process. per_caller: of these, calls of one API key.
    """

    def __init__(self, *, total: int, per_caller: int) -> None:
        self._total = total
        self._per_caller = per_caller
        self._in_progress = 0
        self._by_caller: Counter[str] = Counter()

    def check(self, caller: str | None) -> None:
        """Raises TooManyRequests if one more call of this caller would exceed a limit. None: no limit per caller."""
        if self._in_progress >= self._total:
            self._refuse(f"this server already has {self._total} calls in progress")
        if caller is not None and self._by_caller[caller] >= self._per_caller:
            self._refuse(f"the API key {caller!r} already has {self._per_caller} calls in progress")

    @contextmanager
    def call(self, caller: str | None) -> Generator[None]:
        """Counts one call for as long as it is in progress. Raises TooManyRequests."""
        self.check(caller)
        self._in_progress += 1
        if caller is not None:
            self._by_caller[caller] += 1
        try:
            yield
        finally:
            self._in_progress -= 1
            if caller is not None:
                self._by_caller[caller] -= 1
                if not self._by_caller[caller]:
                    del self._by_caller[caller]

    def _refuse(self, message: str) -> None:
        raise TooManyRequests(f"{message}; retry in a moment", retry_seconds=RETRY_SECONDS)
