"""Events are hints: "X is at revision N". Who derives data pulls on each hint, at start, and every minute."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from prisma.common.v1.event_pb2 import ResourceChanged
from services.chassis import logs
from services.chassis.errors import PrismaError
from services.chassis.nats import NatsLink, NatsUnavailable

LISTEN_AGAIN_SECONDS = 1.0

_log = logs.get(__name__)


class Events:
    """Publishes and hears hints."""

    def __init__(self, link: NatsLink) -> None:
        self.link = link

    async def publish(self, what: str, resource: str, revision: int) -> None:
        """Tells that a resource has changed: `what` is `dataset.changed`, `run.deleted` … Call it after the commit.

        A hint that can't be sent is dropped: those who derive data ask by themselves within a minute.
        """
        event = ResourceChanged(resource=resource)
        try:
            await self.link.stream.publish(f"prisma.events.{what}", event.SerializeToString())
        except (TimeoutError, NatsUnavailable, NatsError, OSError) as error:
            _log.info("hint dropped", what=what, resource=resource, error=str(error))


class Follower:
    """Calls `pull` at start, soon after each hint, and every `every` seconds; never twice at once."""

    def __init__(
        self, events: Events, what: Sequence[str], pull: Callable[[], Awaitable[None]], *, every: float = 60.0
    ) -> None:
        self._events = events
        self._what = what
        self._pull = pull
        self._every = every
        self._hint = asyncio.Event()

    async def run(self) -> None:
        """Follows until cancelled. An error of `pull` is logged, and `pull` is called again."""
        listening = asyncio.create_task(self._listen())
        try:
            while True:
                self._hint.clear()
                delay = self._every
                try:
                    await self._pull()
                except PrismaError as error:
                    _log.info("catching up later", reason=error.reason, error=error.message)
                    delay = min(2.0, self._every)
                except Exception:  # noqa: BLE001 - a follower must outlive what it meets; the trace is logged
                    _log.exception("catching up failed")
                    delay = min(5.0, self._every)
                try:
                    await asyncio.wait_for(self._hint.wait(), delay)
                except TimeoutError:
                    continue
        finally:
            listening.cancel()

    async def _listen(self) -> None:
        """Plain subscriptions: a hint that is missed while away costs nothing, the pull at return makes up for it."""
        waiting = list(self._what)
        while waiting:
            try:
                await self._events.link.ready()
                await self._events.link.listen(f"prisma.events.{waiting[0]}", self._on_hint)
                waiting.pop(0)
            except (TimeoutError, NatsUnavailable, NatsError, OSError) as error:
                _log.info("hearing hints later", error=str(error))  # it went away between the two
                await asyncio.sleep(LISTEN_AGAIN_SECONDS)

    async def _on_hint(self, _message: Msg) -> None:
        self._hint.set()
