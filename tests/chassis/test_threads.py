"""Tasks end when they are cancelled, and leave nothing half done."""

from __future__ import annotations

import asyncio
import threading

import pytest

from services.chassis.threads import cancel_until_done, in_thread


async def test_a_cancellation_that_a_task_swallows_is_repeated() -> None:
    """As `asyncio.wait_for` of Python 3.11 does when what it waits for arrives at the same moment."""
    swallowed = 0

    async def work() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if swallowed == 2:
                    raise
                swallowed += 1

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await cancel_until_done(task)
    assert task.cancelled()
    assert swallowed == 2


async def test_a_task_that_is_cancelled_again_and_again_still_waits_for_its_thread() -> None:
    running, finish, finished = threading.Event(), threading.Event(), threading.Event()

    def block() -> None:
        running.set()
        finish.wait(30)
        finished.set()

    task = asyncio.create_task(in_thread(block))
    while not running.is_set():  # noqa: ASYNC110 - set by a thread
        await asyncio.sleep(0)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0.01)
    assert not task.done()
    finish.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert finished.is_set()
