"""How many texts a model server gets in one request, and how many requests at a time: one mechanism for all servers.

- Requests grow while they are fast, and shrink where a server needs too long or declines their size: they double until
  the first setback, and grow by a quarter now and then from there on.
- A request that the server declines is halved until the offending text is found, which fails alone.
- A server that declines even a plain word declines everything: that is an error of the call and not of its texts. It is
  asked for one before any text is blamed, as a server can stop working in the middle.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from services.embedder.documents import Failure
from services.embedder.providers import Embedding
from services.providers.client import BLAMES_INPUT, ProviderRefused, ProviderTimedOut

PROBE = "dimension"
"""A plain word, which each model can embed."""
MAX_CHARACTERS = 200_000
"""Of one request: OpenAI takes 300,000 tokens."""
_FIRST_BATCH = 32
_FAST_SECONDS = 2.0
_TIMEOUT_DIVISOR = 4
_FULL_REQUESTS = 8
"""That must succeed before a size that was too large is tried again."""
_OK = 200

Answer = Embedding | Failure
Request = Callable[[Sequence[str]], Awaitable[list[Answer]]]
"""Embeds texts by one request: an answer for each. Raises ProviderUnavailable, ProviderRefused."""
RefusedText = Callable[[str, ProviderRefused], Awaitable[Answer]]
"""The answer for a text that was refused alone."""


@dataclass(frozen=True)
class Limits:
    """Of one server. batch: texts of a request; first_batch: of the first one. concurrency: requests at a time."""

    batch: int
    concurrency: int
    first_batch: int = _FIRST_BATCH


class Batches:
    """The requests to one model of a server. `slots` has a place for each request that the server gets at a time."""

    def __init__(self, limits: Limits, slots: asyncio.Semaphore, request: Request, refused_text: RefusedText) -> None:
        self._limits = limits
        self._slots = slots
        self._send = request
        self._refused_text = refused_text
        self._works = False
        self._full_count: int | None = None  # full requests since the size changed; counted from the first setback on
        self.size = min(limits.first_batch, limits.batch)

    async def embed(self, texts: Sequence[str]) -> list[Answer]:
        """For each text its vector or failure. Raises ProviderUnavailable, ProviderRefused."""
        answers: dict[int, list[Answer]] = {}
        start = 0
        share = -(-len(texts) // self._limits.concurrency)

        async def work() -> None:
            nonlocal start
            while start < len(texts):
                part_start, start = start, self._end(texts, start, share)
                answers[part_start] = await self._embed_part(texts[part_start:start])

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self._limits.concurrency, len(texts))):
                    group.create_task(work())
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return [answer for part_start in sorted(answers) for answer in answers[part_start]]

    def _end(self, texts: Sequence[str], start: int, share: int) -> int:
        """Where the request ends that begins with a text; it has at most `share` texts."""
        count = min(self.size, share, len(texts) - start)
        characters = 0
        for index in range(start, start + count):
            characters += len(texts[index])
            if characters > MAX_CHARACTERS:
                return max(index, start + 1)
        return start + count

    async def _embed_part(self, texts: Sequence[str]) -> list[Answer]:
        """The answers to one request; to several, where the server cannot answer one."""
        try:
            return await self._request(texts)
        except ProviderTimedOut:
            if len(texts) == 1:
                raise
            self._shrink(len(texts) // _TIMEOUT_DIVISOR)
        except ProviderRefused as error:
            return await self._take_apart(texts, error)
        # The first text alone: a server that does not answer it either is down, and waited for no longer.
        answers = await self._embed_part(texts[:1])
        while len(answers) < len(texts):
            answers += await self._embed_part(texts[len(answers) : len(answers) + self.size])
        return answers

    async def _take_apart(self, texts: Sequence[str], error: ProviderRefused) -> list[Answer]:
        """The answers to a request that was declined: by halves, down to single texts."""
        if error.status not in BLAMES_INPUT:
            raise error
        if error.status != _OK and (len(texts) == 1 or not self._works):
            try:
                await self._request([PROBE])
            except ProviderRefused:
                raise error from None
        if len(texts) == 1:
            async with self._slots:
                return [await self._refused_text(texts[0], error)]
        middle = len(texts) // 2
        answers = [*await self._embed_part(texts[:middle]), *await self._embed_part(texts[middle:])]
        if not any(isinstance(answer, Failure) for answer in answers):
            self._shrink(middle)  # no text was the cause, so their number was
        return answers

    async def _request(self, texts: Sequence[str]) -> list[Answer]:
        async with self._slots:
            start = time.monotonic()
            answers = await self._send(texts)
        self._works = True
        if len(texts) >= self.size and time.monotonic() - start < _FAST_SECONDS:
            self._grow()
        return answers

    def _grow(self) -> None:
        if self._full_count is None:
            self.size = min(2 * self.size, self._limits.batch)
            return
        self._full_count += 1
        if self._full_count == _FULL_REQUESTS:
            self._full_count = 0
            self.size = min(self.size + max(1, self.size // 4), self._limits.batch)

    def _shrink(self, size: int) -> None:
        self.size = max(1, min(self.size, size))
        self._full_count = 0
