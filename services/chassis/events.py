"""Events are hints that a resource has changed. They may be lost, doubled or late, and nothing stores them.

Whoever derives data stores the revision that it has reached, and reads everything since then: the resource of each
hint, and all resources at start, every minute, and after the message server was away.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from google.protobuf.message import DecodeError
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from prisma.common.v1.event_pb2 import ResourceChanged
from services.chassis import logs
from services.chassis.errors import PrismaError
from services.chassis.nats import NatsLink, NatsUnavailable

LISTEN_AGAIN_SECONDS = 1.0
RETRY_SECONDS = 2.0
"""After a pull that failed because something is unavailable."""
DEFECT_RETRY_SECONDS = 5.0
"""After a pull that failed for another reason."""
MAX_NAMES = 1000
"""With more hints than this at once, everything is pulled."""

Pull: TypeAlias = "Callable[[frozenset[str] | None], Awaitable[None]]"
"""Reads what has changed in the resources of these names; None for all resources."""

_log = logs.get(__name__)


class Events:
    """Publishes and receives hints."""

    def __init__(self, link: NatsLink) -> None:
        self.link = link

    async def publish(self, what: str, resource: str) -> None:
        """Hints that a resource has changed: `what` is `dataset.changed`, `run.deleted` … Call it after the commit.

        A hint that cannot be sent is dropped: followers pull by themselves within a minute.
        """
        event = ResourceChanged(resource=resource)
        try:
            await self.link.publish(f"prisma.events.{what}", event.SerializeToString())
        except (TimeoutError, NatsUnavailable, NatsError, OSError) as error:
            _log.info("hint dropped", what=what, resource=resource, error=str(error))


class Follower:
    """Calls `pull` with the names of changed resources, and with None for all of them; never twice at once."""

    def __init__(self, events: Events, what: Sequence[str], pull: Pull, *, every: float = 60.0) -> None:
        """what: the events to follow. every: seconds between two pulls of everything."""
        self._events = events
        self._what = what
        self._pull = pull
        self._every = every
        self._hints = _Hints()
        self._next_full_pull = 0.0

    async def run(self) -> None:
        """Follows until cancelled. After an error of `pull`, which is logged, the same is pulled again."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen())
            while True:
                names = self._hints.take()
                started = time.monotonic()
                delay = await self._try_to_pull(names)
                if delay is not None:
                    self._hints.add(names)
                    await asyncio.sleep(min(delay, self._every))
                elif names is None:
                    self._next_full_pull = started + self._every
                await self._hints.wait(self._next_full_pull - time.monotonic())

    async def _try_to_pull(self, names: frozenset[str] | None) -> float | None:
        """Seconds after which it is to be tried again; None if it succeeded."""
        try:
            await self._pull(names)
        except PrismaError as error:
            _log.info("catching up later", reason=error.reason, error=error.message)
            return RETRY_SECONDS
        except Exception:  # noqa: BLE001 - a follower survives any error of a pull; the trace is logged
            _log.exception("catching up failed")
            return DEFECT_RETRY_SECONDS
        return None

    async def _listen(self) -> None:
        """Subscribes to the events, and pulls everything when the message server is back: hints may be missing."""
        remaining = list(self._what)
        while remaining:
            try:
                await self._events.link.ready()
                await self._events.link.listen(f"prisma.events.{remaining[0]}", self._on_hint)
                remaining.pop(0)
            except (TimeoutError, NatsUnavailable, NatsError, OSError) as error:
                _log.info("listening for hints later", error=str(error))
                await asyncio.sleep(LISTEN_AGAIN_SECONDS)
        generation = self._events.link.generation
        while True:
            if await self._events.link.wait_for_new_generation(generation, seconds=self._every):
                generation = self._events.link.generation
                self._hints.add(None)

    async def _on_hint(self, message: Msg) -> None:
        try:
            resource = ResourceChanged.FromString(message.data).resource
        except DecodeError:
            resource = ""
        self._hints.add(frozenset({resource}) if resource else None)


class _Hints:
    """Names of changed resources that were not pulled yet, or everything."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._everything = True
        self._any = asyncio.Event()

    def add(self, names: frozenset[str] | None) -> None:
        """Adds names; None for everything."""
        self._names |= names or set()
        self._everything |= names is None or len(self._names) > MAX_NAMES
        self._any.set()

    def take(self) -> frozenset[str] | None:
        """All names since the last time; None for everything."""
        names = None if self._everything else frozenset(self._names)
        self._names, self._everything = set(), False
        self._any.clear()
        return names

    async def wait(self, seconds: float) -> None:
        """Returns once there is a hint; after `seconds` that is everything."""
        try:
            await asyncio.wait_for(self._any.wait(), max(0.0, seconds))
        except TimeoutError:
            self.add(None)
