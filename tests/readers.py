"""Clients that read without a pause, each over a kept connection, and send no request again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

import httpx

CLIENTS = 16


@asynccontextmanager
async def reading(url: str, headers: Mapping[str, str] | None = None) -> AsyncGenerator[Counter[str]]:
    """Counts the outcomes of requests: statuses, or the names of errors.

    Every client has had three answers when the block begins, and three after its end, or one error.
    """
    outcomes: Counter[str] = Counter()
    stop = asyncio.Event()
    answers = [0] * CLIENTS

    async def read(number: int) -> None:
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=120, trust_env=False) as client:
            while not stop.is_set():
                try:
                    outcomes[str((await client.get("/v1/datasets")).status_code)] += 1
                except httpx.HTTPError as error:
                    outcomes[type(error).__name__] += 1
                    return
                answers[number] += 1

    async def further_answers() -> None:
        before = list(answers)
        while any(  # noqa: ASYNC110 - requests are in progress
            not client.done() and count < earlier + 3
            for client, count, earlier in zip(clients, answers, before, strict=True)
        ):
            await asyncio.sleep(0.02)

    clients = [asyncio.create_task(read(number)) for number in range(CLIENTS)]
    try:
        await further_answers()
        yield outcomes
        await further_answers()
    finally:
        stop.set()
        await asyncio.gather(*clients)
