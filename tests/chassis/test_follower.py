"""Followers pull what hints name, and everything where hints may be missing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.chassis import events
from services.chassis.errors import Unavailable
from services.chassis.events import Events, Follower
from services.chassis.nats import connect
from services.chassis.threads import cancel_until_done
from tests.nats_server import NatsServer


class Pulls:
    """Records what is pulled; fails as often as it is told to."""

    def __init__(self) -> None:
        self.names = asyncio.Queue[frozenset[str] | None]()
        self.errors: list[Exception] = []

    async def pull(self, names: frozenset[str] | None) -> None:
        await self.names.put(names)
        if self.errors:
            raise self.errors.pop()

    async def next(self) -> frozenset[str] | None:
        async with asyncio.timeout(20):
            return await self.names.get()


@asynccontextmanager
async def following(follower: Follower) -> AsyncIterator[None]:
    task = asyncio.create_task(follower.run())
    try:
        yield
    finally:
        await cancel_until_done(task)


async def hear(publisher: Events, pulls: Pulls, what: str, resource: str) -> frozenset[str] | None:
    """Publishes until the follower, which may still be subscribing, has heard it."""
    while True:
        await publisher.publish(what, resource)
        try:
            async with asyncio.timeout(0.5):
                return await pulls.names.get()
        except TimeoutError:
            continue


async def test_hints_name_what_is_pulled(nats_server: NatsServer) -> None:
    link = await connect(nats_server.url)
    publisher, pulls = Events(link), Pulls()
    follower = Follower(publisher, ["dataset.changed", "run.deleted"], pulls.pull, every=3600)
    async with following(follower):
        assert await pulls.next() is None  # everything, at start
        assert await hear(publisher, pulls, "dataset.changed", "datasets/a") == {"datasets/a"}
        assert await hear(publisher, pulls, "run.deleted", "runs/r") == {"runs/r"}
    await link.close()


async def test_a_failed_pull_is_repeated_with_the_same_names(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(events, "DEFECT_RETRY_SECONDS", 0.01)
    link = await connect(nats_server.url)
    publisher, pulls = Events(link), Pulls()
    pulls.errors = [Unavailable("the owner is away"), ValueError("a defect")]
    async with following(Follower(publisher, ["dataset.changed"], pulls.pull, every=3600)):
        assert [await pulls.next() for _ in range(3)] == [None, None, None]
        pulls.errors = [Unavailable("the owner is away")]
        assert await hear(publisher, pulls, "dataset.changed", "datasets/a") == {"datasets/a"}
        assert await pulls.next() == {"datasets/a"}
    await link.close()


async def test_everything_is_pulled_regularly_and_when_the_server_is_back(nats_server: NatsServer) -> None:
    link = await connect(nats_server.url)
    regular, rare = Pulls(), Pulls()
    async with (
        following(Follower(Events(link), ["dataset.changed"], regular.pull, every=0.05)),
        following(Follower(Events(link), ["dataset.changed"], rare.pull, every=3600)),
    ):
        assert [await regular.next() for _ in range(4)] == [None] * 4
        assert await rare.next() is None
        await hear(Events(link), rare, "dataset.changed", "datasets/a")  # it listens
        while not rare.names.empty():
            rare.names.get_nowait()
        nats_server.kill()
        nats_server.start()
        while await rare.next() is not None:  # a hint of above may still come
            pass
        assert await hear(Events(link), rare, "dataset.changed", "datasets/b") == {"datasets/b"}
    await link.close()


async def test_many_hints_at_once_become_everything() -> None:
    hints = events._Hints()
    assert hints.take() is None
    hints.add(frozenset({"datasets/a"}))
    hints.add(frozenset({"datasets/b"}))
    assert hints.take() == {"datasets/a", "datasets/b"}
    for number in range(events.MAX_NAMES + 1):
        hints.add(frozenset({f"datasets/{number}"}))
    assert hints.take() is None


async def test_a_hint_without_a_server_is_dropped(nats_server: NatsServer) -> None:
    link = await connect(nats_server.url)
    await link.close()
    await Events(link).publish("dataset.changed", "datasets/a")
