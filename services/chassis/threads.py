"""Blocking work in threads, and other work that must not be left half done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

_Result = TypeVar("_Result")


async def to_the_end(work: Awaitable[_Result]) -> _Result:
    """Waits for work. Who is cancelled meanwhile still waits until it has ended, and is cancelled then."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


async def in_thread(function: Callable[..., _Result], *arguments: Any) -> _Result:
    """Runs blocking work in a thread, and does not leave it behind: who is cancelled waits until it has ended."""
    work = partial(copy_context().run, function, *arguments)
    return await to_the_end(asyncio.get_running_loop().run_in_executor(None, work))
