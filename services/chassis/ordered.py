"""Work on several items at a time, with the results in the items' order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import TypeVar

_AHEAD = 4
"""Results per place that may wait for an earlier one, so that one slow item does not leave the places empty."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


async def ordered(
    work: Callable[[_Item], Awaitable[_Result]], items: Iterable[_Item], *, concurrency: int
) -> AsyncGenerator[_Result]:
    """The results of `work` on items, in their order; at most `concurrency` are worked on at a time.

    An error is raised at its item's turn, after the results before it. When the generator is closed, the work that it
    started has ended.
    """
    places = asyncio.Semaphore(concurrency)
    tasks: deque[asyncio.Task[_Result]] = deque()

    async def run(item: _Item) -> _Result:
        async with places:
            return await work(item)

    async def next_result() -> _Result:
        result = await tasks[0]
        tasks.popleft()
        return result

    try:
        for item in items:
            tasks.append(asyncio.create_task(run(item)))
            if len(tasks) == _AHEAD * concurrency:
                yield await next_result()
        while tasks:
            yield await next_result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
