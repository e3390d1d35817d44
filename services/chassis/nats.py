"""The link to the message server: connects, reconnects for ever, declares the streams that jobs are built on.

A process starts without its message server too: whatever needs it raises NatsUnavailable until it is there.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError
from nats.js import JetStreamContext, api
from nats.js.errors import (
    APIError,
    BucketNotFoundError,
    KeyWrongLastSequenceError,
    NotFoundError,
    ServiceUnavailableError,
)
from nats.js.kv import KeyValue

from services.chassis import logs, metrics
from services.chassis.certificates import CertificateFiles
from services.chassis.errors import Unavailable
from services.chassis.nats_access import NatsAccess, SecuredClient
from services.chassis.threads import cancel_until_done

JOBS, DEAD, BUCKET = "PRISMA_JOBS", "PRISMA_DEAD", "prisma_jobs"
FORMER_STREAMS = ("PRISMA_EVENTS",)
"""Streams of earlier versions, deleted where they still exist."""
RESTORE_SECONDS = 15.0
"""How long after the server came back without its data the services may take to restore their jobs."""
_DAY = 24 * 3600.0
_RECONNECT_SECONDS = 1
_CALL_SECONDS = 5.0
_MAX_PROBLEMS = 3
_VIOLATION_SECONDS = 300.0
_T = TypeVar("_T")

_log = logs.get(__name__)


class NatsUnavailable(Unavailable):
    """The message server does not answer: jobs can neither be started nor looked up."""

    reason = "NATS_UNAVAILABLE"


@dataclass(frozen=True)
class _Stream:
    """A stream that PRISMA owns: the settings that it depends on. All others are the operator's."""

    name: str
    subject: str
    retention: api.RetentionPolicy
    max_age_seconds: float | None = None


_STREAMS = (
    _Stream(JOBS, "prisma.jobs.>", api.RetentionPolicy.WORK_QUEUE),
    _Stream(DEAD, "prisma.dead.>", api.RetentionPolicy.LIMITS, max_age_seconds=30 * _DAY),
)


class NatsLink:
    """One process's connection to NATS."""

    def __init__(self, access: NatsAccess, *, replicas: int = 1, duplicate_window_seconds: float = 120.0) -> None:
        """replicas: servers that store each message of streams that are created."""
        self._access = access
        self._replicas = replicas
        self._window = duplicate_window_seconds
        self._client = SecuredClient(access)
        self._problems: dict[str, None] = {}
        self._violation: tuple[str, float] | None = None
        self._declared = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None
        self._attempted = asyncio.Event()
        self._bucket: KeyValue | None = None
        self._closing = False
        self._bucket_created: str | None = None
        self._data_lost_at: float | None = None
        self.generation = 0
        """How often the streams were declared: it grows with each connection, and is 0 before the first."""

    @property
    def address(self) -> str:
        """Where the server is, without credentials."""
        return self._access.addresses

    @property
    def certificate_files(self) -> Sequence[CertificateFiles]:
        """The files of TLS with the server."""
        return [self._access.files] if self._access.files else []

    @property
    def problem(self) -> str:
        """Why calls cannot be made, for people: what the last attempts to connect met."""
        return "; ".join(list(self._problems)[-_MAX_PROBLEMS:]) or f"NATS at {self.address} does not respond"

    @property
    def violation(self) -> str | None:
        """What the server has refused within the last minutes, as its user may not do it."""
        if self._violation is None or time.monotonic() - self._violation[1] > _VIOLATION_SECONDS:
            return None
        return self._violation[0]

    def start(self) -> None:
        """Begins to connect, and returns at once."""
        self._task = asyncio.create_task(self._connect())

    async def close(self) -> None:
        """Ends the connection, and attempts at one."""
        self._closing = True
        if self._task is not None:
            await cancel_until_done(self._task)
        if not self._client.is_closed:
            with suppress(NatsError, OSError, asyncio.TimeoutError):
                await self._client.close()

    async def attempted(self, *, seconds: float) -> None:
        """Waits until all is declared or an attempt to connect has failed, at most `seconds`."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._attempted.wait(), seconds)

    async def ready(self) -> None:
        """Waits until the server is there and all is declared."""
        async with self._declared:
            await self._declared.wait_for(lambda: self.generation > 0)

    async def wait_for_new_generation(self, generation: int, *, seconds: float) -> bool:
        """Waits until the connection is another than that of `generation`; false if it is not within `seconds`."""
        async with self._declared:
            try:
                await asyncio.wait_for(self._declared.wait_for(lambda: self.generation != generation), seconds)
            except TimeoutError:
                return False
        return True

    @property
    def connected(self) -> bool:
        """Whether calls can be made at this moment."""
        return self.generation > 0 and self._client.is_connected and not self._problems

    @property
    def has_lost_data(self) -> bool:
        """Whether the server came back without its data just now, and jobs are being restored."""
        return self._data_lost_at is not None and time.monotonic() - self._data_lost_at < RESTORE_SECONDS

    @property
    def stream(self) -> JetStreamContext:
        """JetStream. Raises NatsUnavailable while there is no connection."""
        self._need()
        return self._client.jetstream(timeout=_CALL_SECONDS)

    @property
    def bucket(self) -> KeyValue:
        """The key-value bucket of jobs. Raises NatsUnavailable while there is no connection."""
        self._need()
        assert self._bucket is not None
        return self._bucket

    async def call(self, request: Callable[[], Awaitable[_T]]) -> _T:
        """What a request returns; NotFoundError and KeyWrongLastSequenceError are answers. Raises NatsUnavailable."""
        try:
            with metrics.nats_seconds.time():
                return await request()
        except (NotFoundError, KeyWrongLastSequenceError):
            raise
        except (TimeoutError, NatsError, OSError) as error:
            raise NatsUnavailable(
                f"the message server at {self.address} does not answer: {str(error) or type(error).__name__}"
            ) from error

    async def publish(self, subject: str, data: bytes) -> None:
        """Publishes a message that nothing stores. Raises NatsUnavailable, nats.errors.Error."""
        self._need()
        await self._client.publish(subject, data)

    async def listen(self, subject: str, callback: Callable[[Msg], Awaitable[None]]) -> None:
        """Calls `callback` for each message on `subject`, across reconnections."""
        self._need()
        await self._client.subscribe(subject, cb=callback)

    async def subjects(self, stream: str, pattern: str) -> list[str]:
        """The subjects that a stream holds messages of, sorted. Raises NatsUnavailable, nats.errors.Error."""
        self._need()
        subjects: list[str] = []
        while True:
            request = json.dumps({"subjects_filter": pattern, "offset": len(subjects)}).encode()
            reply = await self._client.request(f"$JS.API.STREAM.INFO.{stream}", request, timeout=_CALL_SECONDS)
            answer = json.loads(reply.data)
            if "error" in answer:
                raise APIError.from_error(answer["error"])
            page = answer["state"].get("subjects") or {}
            subjects += page
            if not page or len(subjects) >= answer["total"]:
                return sorted(subjects)

    @property
    def requests_sent(self) -> int:
        """Messages that were sent to the server, all requests among them."""
        return self._client.stats["out_msgs"]

    @property
    def version(self) -> str:
        """The server's version; empty while there is no connection."""
        return str(self._client.connected_server_version) if self.connected else ""

    def _need(self) -> None:
        if not self.connected:
            raise NatsUnavailable(f"{self.problem}; trying again")

    async def _connect(self) -> None:
        while True:
            try:
                await self._connect_client()
                break
            except Exception as error:  # noqa: BLE001 - without this task there would never be a connection
                self._report_defect(error)
                with suppress(Exception):
                    await self._client.close()
                await asyncio.sleep(_RECONNECT_SECONDS)
                self._client = SecuredClient(self._access)
        await self._declare()

    async def _connect_client(self) -> None:
        signs = self._access.credentials is not None or self._access.nkey is not None
        await self._client.connect(
            list(self._access.servers),
            user=self._access.user if self._access.password is not None else None,
            password=self._access.password,
            token=self._access.user if self._access.password is None else None,
            signature_cb=self._access.sign if signs else None,  # pyright: ignore[reportArgumentType] - of a str
            user_jwt_cb=self._access.jwt if self._access.credentials is not None else None,
            max_reconnect_attempts=-1,
            reconnect_time_wait=_RECONNECT_SECONDS,
            connect_timeout=2,
            ping_interval=5,
            max_outstanding_pings=2,
            error_cb=self._on_error,
            disconnected_cb=self._on_disconnect,
            reconnected_cb=self._declare,
        )

    async def _declare(self) -> None:
        """Declares streams and bucket; existing ones stay. A server that has lost its data gets new ones."""
        self._problems.clear()
        while True:
            try:
                stream = self._client.jetstream(timeout=_CALL_SECONDS)
                for declared in _STREAMS:
                    await self._declare_stream(stream, declared)
                for name in FORMER_STREAMS:
                    with suppress(NotFoundError):
                        await stream.delete_stream(name)
                self._bucket = await self._declare_bucket(stream)
                break
            except (TimeoutError, NatsError, OSError) as error:
                self._report(self._declaration_problem(error))
            except Exception as error:  # noqa: BLE001 - as in _connect
                self._report_defect(error)
            await asyncio.sleep(_RECONNECT_SECONDS)
        async with self._declared:
            metrics.nats_connected.set(1)
            if self.generation:
                metrics.nats_reconnects.inc()
            self._problems.clear()
            self.generation += 1
            self._attempted.set()
            self._declared.notify_all()

    def _declaration_problem(self, error: Exception) -> str:
        if isinstance(error, APIError) and error.err_code is not None:
            return f"NATS at {self.address} cannot store jobs: {error.description}"
        if isinstance(error, (NoRespondersError, ServiceUnavailableError)):
            return f"JetStream of NATS at {self.address} is not available: not enabled, or without a leader just now"
        return self.violation or f"JetStream of NATS at {self.address} does not answer"

    def _report_defect(self, error: Exception) -> None:
        """Writes what nobody expected to the log, with its traceback once until it is over."""
        problem = f"NATS at {self.address} cannot be used ({type(error).__name__}); the log has the details"
        if problem not in self._problems:
            _log.error("a defect in the connection to NATS; trying again", address=self.address, exc_info=error)
        self._report(problem)

    def _report(self, problem: str) -> None:
        """Writes a problem to the log, once until it is over."""
        self._attempted.set()
        if problem not in self._problems and not self._closing:
            _log.warning(problem, address=self.address)
        self._problems.pop(problem, None)
        self._problems[problem] = None  # the latest is the last
        if len(self._problems) > 2 * _MAX_PROBLEMS:
            del self._problems[next(iter(self._problems))]

    async def _declare_bucket(self, stream: JetStreamContext) -> KeyValue:
        try:
            bucket = await stream.key_value(BUCKET)
        except BucketNotFoundError:
            config = api.KeyValueConfig(bucket=BUCKET, history=1, storage=api.StorageType.FILE, replicas=self._replicas)
            bucket = await stream.create_key_value(config)
        created = str((await stream.stream_info(f"KV_{BUCKET}")).created)
        if self._bucket_created not in (None, created):
            self._data_lost_at = time.monotonic()
            _log.error("NATS has lost its data; the services restore their jobs", address=self.address)
        self._bucket_created = created
        return bucket

    async def _declare_stream(self, stream: JetStreamContext, declared: _Stream) -> None:
        """Creates a stream, or changes of an existing one only what PRISMA depends on: never its replicas or limits."""
        config = api.StreamConfig(
            name=declared.name,
            subjects=[declared.subject],
            retention=declared.retention,
            max_age=declared.max_age_seconds,
            storage=api.StorageType.FILE,
            duplicate_window=self._window,
            num_replicas=self._replicas,
        )
        try:
            existing = (await stream.stream_info(declared.name)).config
        except NotFoundError:
            await stream.add_stream(config)
            return
        if existing.subjects != config.subjects or existing.duplicate_window != config.duplicate_window:
            await stream.update_stream(
                existing.evolve(subjects=config.subjects, duplicate_window=config.duplicate_window)
            )

    async def _on_error(self, error: Exception) -> None:
        if "permissions violation" in str(error).lower():
            violation = f"the user that PRISMA shows to NATS at {self.address} lacks a permission ({error})"
            if self.violation != violation:
                _log.error(violation, address=self.address)
            self._violation = (violation, time.monotonic())
        elif not self._client.is_connected:
            self._report(_connection_problem(error, self.address))
        else:
            _log.debug("nats", error=str(error) or type(error).__name__)

    async def _on_disconnect(self) -> None:
        metrics.nats_connected.set(0)
        if not self._closing:
            _log.warning("NATS is unreachable; reconnecting", address=self.address)


def _connection_problem(error: Exception, address: str) -> str:
    """Why an attempt to connect failed, for people."""
    text = str(error) or type(error).__name__
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the certificate of NATS at {address} cannot be trusted: {error.verify_message}. "
            "PRISMA_NATS_TLS_AUTHORITY names the file with the authority that signs it"
        )
    if isinstance(error, ssl.SSLError):
        return f"TLS with NATS at {address} fails: {error.reason or text}. It may demand PRISMA_NATS_TLS_CERTIFICATE"
    if "authorization" in text.lower() or "authentication" in text.lower():
        return (
            f"NATS at {address} refuses the user that PRISMA shows ({text.removeprefix('nats: ')}): check the user and "
            "password in PRISMA_NATS_URL, or PRISMA_NATS_CREDENTIALS or PRISMA_NATS_NKEY"
        )
    if isinstance(error, NatsError):
        return f"NATS at {address}: {text.removeprefix('nats: ')}"
    return f"NATS at {address} is unreachable"


async def connect(url: str) -> NatsLink:
    """A link that is connected, for tools and tests."""
    link = NatsLink(NatsAccess.to(url))
    link.start()
    await link.ready()
    return link
