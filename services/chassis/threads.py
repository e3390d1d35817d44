"""Blocking work in threads, and other work that must not be left half done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

_Result = TypeVar("_Result")
_AGAIN_SECONDS = 1.0


async def to_the_end(work: Awaitable[_Result]) -> _Result:
    """Waits for work. Who is cancelled meanwhile, even again, still waits until it has ended, and is cancelled then."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        raise


async def cancel_until_done(*tasks: asyncio.Task[Any]) -> None:
    """Cancels tasks, and waits until they have ended. Their results and errors are not looked at.

    A task that waits in `asyncio.wait_for` of Python 3.11 does not notice that it is cancelled when what it waits for
    arrives at the same moment (python/cpython#86296); so it is cancelled again.
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_AGAIN_SECONDS)


async def in_thread(function: Callable[..., _Result], *arguments: Any) -> _Result:
    """Runs blocking work in a thread, and does not leave it behind: who is cancelled waits until it has ended."""
    work = partial(copy_context().run, function, *arguments)
    return await to_the_end(asyncio.get_running_loop().run_in_executor(None, work))
