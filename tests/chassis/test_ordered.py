"""Work on several items at a time, with results in order."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from services.chassis.ordered import ordered


class Recorder:
    """Work that ends when it is told to; records what runs."""

    def __init__(self, count: int) -> None:
        self.gates, self.starts, self.ends = ([asyncio.Event() for _ in range(count)] for _ in range(3))
        self.running: set[int] = set()
        self.most_at_once = 0

    async def work(self, item: int) -> int:
        self.running.add(item)
        self.most_at_once = max(self.most_at_once, len(self.running))
        self.starts[item].set()
        try:
            await self.gates[item].wait()
        finally:
            self.running.discard(item)
            self.ends[item].set()
        if item == 4:
            raise ValueError("four")
        return item * 10


async def test_results_are_in_order_and_no_more_work_runs_than_allowed() -> None:
    recorder = Recorder(4)
    results = ordered(recorder.work, range(4), concurrency=2)
    first = asyncio.create_task(anext(results))
    for item in (1, 2, 3):  # the others end while the first one is slow
        recorder.gates[item].set()
        await recorder.ends[item].wait()
    recorder.gates[0].set()
    assert [await first, *[result async for result in results]] == [0, 10, 20, 30]
    assert recorder.most_at_once == 2


async def test_an_error_comes_at_its_turn() -> None:
    recorder = Recorder(6)
    for gate in recorder.gates:
        gate.set()
    results: list[int] = []
    with pytest.raises(ValueError, match="four"):
        async for result in ordered(recorder.work, range(6), concurrency=3):
            results.append(result)
    assert results == [0, 10, 20, 30]


async def test_work_has_ended_when_its_results_are_not_wanted_any_more() -> None:
    recorder = Recorder(10)
    recorder.gates[0].set()
    async with aclosing(ordered(recorder.work, range(10), concurrency=3)) as results:
        assert await anext(results) == 0
        assert recorder.running
    assert not recorder.running


async def test_work_has_ended_when_its_caller_is_cancelled() -> None:
    recorder = Recorder(10)

    async def consume() -> list[int]:
        return [result async for result in ordered(recorder.work, range(10), concurrency=3)]

    task = asyncio.create_task(consume())
    for item in range(3):
        await recorder.starts[item].wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not recorder.running
