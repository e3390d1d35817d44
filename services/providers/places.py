"""Requests that a server gets at a time: as many as its operator allows, fewer while it cannot answer them in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from services.providers.client import ProviderTimedOut

_ANSWERS = 32
"""In a row, after which a server that got fewer requests gets one more."""


class Places:
    """A place for each request; all requests to a server share them."""

    def __init__(self, maximum: int) -> None:
        self.limit = maximum
        self._maximum = maximum
        self._requests = 0
        self._answers = 0
        self._freed = asyncio.Event()

    @asynccontextmanager
    async def take(self) -> AsyncGenerator[None]:
        """Holds a place; a request that times out halves their number."""
        while self._requests >= self.limit:
            await self._freed.wait()
        self._requests += 1
        limit = self.limit
        try:
            yield
            self._count_answer()
        except ProviderTimedOut:
            self.limit = min(self.limit, max(1, limit // 2))  # once for all that were sent together
            self._answers = 0
            raise
        finally:
            self._requests -= 1
            self._freed.set()  # wakes those that wait now
            self._freed.clear()

    def _count_answer(self) -> None:
        self._answers += 1
        if self._answers >= _ANSWERS and self.limit < self._maximum:
            self.limit += 1
            self._answers = 0
