"""The link to the message server: connects, reconnects for ever, declares what jobs and events stand on.

A process starts without its message server, too: what needs it raises NatsUnavailable until it is there.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from urllib.parse import urlsplit

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext, api
from nats.js.errors import APIError
from nats.js.kv import KeyValue

from services.chassis import logs
from services.chassis.errors import Unavailable

JOBS, EVENTS, DEAD, BUCKET = "PRISMA_JOBS", "PRISMA_EVENTS", "PRISMA_DEAD", "prisma_jobs"
_NAME_IN_USE = 10058
_DAY = 24 * 3600.0
_RECONNECT_SECONDS = 1

_log = logs.get(__name__)


class NatsUnavailable(Unavailable):
    """The message server does not answer: jobs can neither be started nor looked up."""

    reason = "NATS_UNAVAILABLE"


class NatsLink:
    """One process's connection to NATS."""

    def __init__(self, url: str, *, duplicate_window_seconds: float = 120.0) -> None:
        self._url = url
        self._window = duplicate_window_seconds
        self._client = Client()
        self._declared = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._bucket: KeyValue | None = None
        self._closing = False

    @property
    def address(self) -> str:
        """Where the server is, without credentials."""
        parts = urlsplit(self._url)
        return f"{parts.hostname}:{parts.port or 4222}"

    def start(self) -> None:
        """Begins to connect, and returns at once."""
        self._task = asyncio.create_task(self._connect())

    async def close(self) -> None:
        """Ends the connection, and attempts at one."""
        self._closing = True
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        if not self._client.is_closed:
            with suppress(NatsError, OSError, asyncio.TimeoutError):
                await self._client.close()

    async def ready(self) -> None:
        """Waits until the server is there and all is declared."""
        await self._declared.wait()

    @property
    def connected(self) -> bool:
        """Whether calls can be made at this moment."""
        return self._declared.is_set() and self._client.is_connected

    @property
    def stream(self) -> JetStreamContext:
        """JetStream. Raises NatsUnavailable while there is no connection."""
        self._need()
        return self._client.jetstream(timeout=5.0)

    @property
    def bucket(self) -> KeyValue:
        """The key-value bucket of jobs. Raises NatsUnavailable while there is no connection."""
        self._need()
        assert self._bucket is not None
        return self._bucket

    async def listen(self, subject: str, callback: Callable[[Msg], Awaitable[None]]) -> None:
        """Calls `callback` for each message on `subject`, across reconnections."""
        self._need()
        await self._client.subscribe(subject, cb=callback)

    async def subjects(self, stream: str, pattern: str) -> list[str]:
        """The subjects that a stream holds messages of, sorted. Raises NatsUnavailable, nats.errors.Error."""
        self._need()
        found: list[str] = []
        while True:
            asked = json.dumps({"subjects_filter": pattern, "offset": len(found)}).encode()
            reply = await self._client.request(f"$JS.API.STREAM.INFO.{stream}", asked, timeout=5.0)
            answer = json.loads(reply.data)
            if "error" in answer:
                raise APIError.from_error(answer["error"])
            page = answer["state"].get("subjects") or {}
            found += page
            if not page or len(found) >= answer["total"]:
                return sorted(found)

    @property
    def version(self) -> str:
        """The server's version; empty while there is no connection."""
        return str(self._client.connected_server_version) if self.connected else ""

    def _need(self) -> None:
        if not self.connected:
            raise NatsUnavailable(
                f"the message server at {self.address} does not answer; it is asked again all the time"
            )

    async def _connect(self) -> None:
        await self._client.connect(
            self._url,
            max_reconnect_attempts=-1,
            reconnect_time_wait=_RECONNECT_SECONDS,
            connect_timeout=2,
            ping_interval=5,
            max_outstanding_pings=2,
            error_cb=self._on_error,
            disconnected_cb=self._on_disconnect,
            reconnected_cb=self._declare,
        )
        await self._declare()

    async def _declare(self) -> None:
        """Declares streams and bucket; what is there already stays. A server that lost its data gets them anew."""
        while True:
            try:
                stream = self._client.jetstream(timeout=5.0)
                await self._declare_stream(
                    stream, JOBS, ["prisma.jobs.>"], api.RetentionPolicy.WORK_QUEUE, None, self._window
                )
                await self._declare_stream(
                    stream, EVENTS, ["prisma.events.>"], api.RetentionPolicy.LIMITS, _DAY, self._window
                )
                await self._declare_stream(
                    stream, DEAD, ["prisma.dead.>"], api.RetentionPolicy.LIMITS, 30 * _DAY, self._window
                )
                self._bucket = await stream.create_key_value(
                    api.KeyValueConfig(bucket=BUCKET, history=1, storage=api.StorageType.FILE)
                )
                self._declared.set()
                return
            except (TimeoutError, NatsError, OSError) as error:
                _log.warning("message server not ready", error=str(error), address=self.address)
                await asyncio.sleep(_RECONNECT_SECONDS)

    @staticmethod
    async def _declare_stream(
        stream: JetStreamContext,
        name: str,
        subjects: list[str],
        retention: api.RetentionPolicy,
        age: float | None,
        window: float,
    ) -> None:
        config = api.StreamConfig(
            name=name,
            subjects=subjects,
            retention=retention,
            max_age=age,
            storage=api.StorageType.FILE,
            duplicate_window=window,
        )
        try:
            await stream.add_stream(config)
        except APIError as error:
            if error.err_code != _NAME_IN_USE:
                raise
            await stream.update_stream(config)

    async def _on_error(self, error: Exception) -> None:
        _log.debug("nats", error=str(error) or type(error).__name__)

    async def _on_disconnect(self) -> None:
        if not self._closing:
            _log.warning("message server lost; trying to reach it again", address=self.address)


async def connect(url: str) -> NatsLink:
    """A link that is connected, for tools and tests."""
    link = NatsLink(url)
    link.start()
    await link.ready()
    return link
