"""Followers hear hints again after the message server went away at the worst moment."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from services.chassis import events
from services.chassis.events import Events, Follower
from services.chassis.nats import NatsUnavailable


class Link:
    """A link whose server goes away between being ready and taking a subscription, twice."""

    def __init__(self) -> None:
        self.failures = 2
        self.heard: dict[str, Any] = {}
        self.complete = asyncio.Event()

    async def ready(self) -> None:
        return

    async def listen(self, subject: str, heard: Any) -> None:
        if self.failures:
            self.failures -= 1
            raise NatsUnavailable("it went away")
        self.heard[subject] = heard
        if len(self.heard) == 2:
            self.complete.set()


async def test_a_subscription_that_fails_is_tried_again(monkeypatch: Any) -> None:
    monkeypatch.setattr(events, "LISTEN_AGAIN_SECONDS", 0.01)
    link, pulls = Link(), asyncio.Queue[int]()

    async def pull() -> None:
        pulls.put_nowait(1)

    follower = Follower(cast(Events, type("E", (), {"link": link})()), ["a.changed", "b.deleted"], pull, every=3600)
    running = asyncio.create_task(follower.run())
    await pulls.get()
    async with asyncio.timeout(10):
        await link.complete.wait()
        assert set(link.heard) == {"prisma.events.a.changed", "prisma.events.b.deleted"}
        await link.heard["prisma.events.a.changed"](None)
        await pulls.get()
    running.cancel()
