"""One attempt at one job: its work, its heartbeat, and how it ends.

A job's results go into its owner's SQL first, then its end into KV, then the message is acknowledged: a crash between
any two of these repeats idempotent work.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from google.protobuf.message import Message
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from prisma.common.v1.job_pb2 import Job, JobRecord
from services.chassis import job_counts, logs
from services.chassis.errors import Code, Internal, PrismaError, StorageFull
from services.chassis.files import is_full_disk
from services.chassis.job_context import JobCancelled, JobContext, LeaseLost
from services.chassis.job_partitions import PartitionFailed, PartitionWaits
from services.chassis.job_store import JobStore, StoredJob
from services.chassis.job_transitions import end, hand_back, put_back, seconds_until, wait
from services.chassis.nats import NatsUnavailable

OUTAGES = (NatsUnavailable, NatsError, OSError, asyncio.TimeoutError)
"""What calls of the message server raise while it is away."""
RETRIED_CODES = frozenset({Code.ABORTED, Code.INTERNAL, Code.DEADLINE_EXCEEDED})
"""Errors that another attempt may not meet."""
MAX_RETRY_SECONDS = 30.0
LOOK_SECONDS = 1.0
"""How often a running job looks whether it was cancelled."""

_log = logs.get(__name__)


@dataclass(frozen=True)
class JobKind:
    """One kind of work: `run` takes the request and the context, and may be begun again at any moment."""

    service: str
    name: str
    request_type: type[Message]
    run: Callable[[Any, JobContext], Awaitable[None]]
    ack_wait: float = 30.0
    """Seconds of silence after which the job is given to another worker."""
    concurrency: int = 1
    """Jobs of this kind at one time in one process; the rest wait in the queue."""


class StopReason(Enum):
    """Why an attempt stops before its work is done."""

    CANCELLED = auto()
    """Someone asked the job to stop."""
    LEASE_LOST = auto()
    """Another worker has the job, or may have: nothing more may be written."""
    DRAINING = auto()
    """The process is stopping: the job is handed back."""


class Run:
    """One attempt at one job."""

    def __init__(self, store: JobStore, kind: JobKind, *, stored: StoredJob, message: Msg) -> None:
        self._store = store
        self._kind = kind
        self._stored = stored
        self._message = message
        self._context = JobContext(store, stored, kind.ack_wait)
        self._work: asyncio.Task[None] | None = None
        self._stopped: StopReason | None = None
        self._renewed = time.monotonic()

    @property
    def name(self) -> str:
        """The job's name."""
        return self._stored.job.name

    def stop(self, reason: StopReason) -> None:
        """Stops the work; the first reason counts."""
        if self._stopped is None and self._work is not None and not self._work.done():
            self._stopped = reason
            if reason is StopReason.LEASE_LOST:
                self._context.lost = True
            self._work.cancel()

    async def execute(self) -> None:
        """Runs the job to its end, or to where it is stopped."""
        request = self._kind.request_type()
        self._stored.record.request.Unpack(request)
        _log.info("job begins", job=self.name, kind=self._kind.name, attempt=self._stored.job.attempt)
        error = await self._do_work(request)
        try:
            await self._finish(error)
            job_counts.count_attempt(self._context.job, self._context.own_time())
        except LeaseLost:
            job_counts.count_lost_lease(self._context.job)
            _log.warning("job continues elsewhere", job=self.name)
        except OUTAGES as outage:
            # What was committed stays; the message is delivered again, and the work is idempotent.
            _log.warning("job's end could not be written", job=self.name, error=str(outage))

    async def _do_work(self, request: Message) -> Exception | None:
        """Runs the work beside its heartbeat; returns its error, or sets why it was stopped."""
        self._work = asyncio.ensure_future(self._kind.run(request, self._context))
        heart = asyncio.create_task(self._beat())
        try:
            await self._work
        except asyncio.CancelledError:
            self._stopped = self._stopped or StopReason.DRAINING
        except LeaseLost:
            self._stopped = StopReason.LEASE_LOST
        except JobCancelled:
            self._stopped = StopReason.CANCELLED
        except Exception as error:  # noqa: BLE001 - whatever a job raises becomes its error
            return error
        finally:
            heart.cancel()
        return None

    async def _beat(self) -> None:
        """Renews the lease and looks whether the job was cancelled, until the work ends."""
        assert self._work is not None
        while not self._work.done():  # Python 3.11 can lose a cancellation that meets an answer (gh-86296)
            await asyncio.sleep(min(LOOK_SECONDS, self._kind.ack_wait / 6))
            try:
                await self._look()
            except LeaseLost:
                self.stop(StopReason.LEASE_LOST)
            except OUTAGES:
                if time.monotonic() - self._renewed >= self._kind.ack_wait:
                    self.stop(StopReason.LEASE_LOST)

    async def _look(self) -> None:
        moment = time.monotonic()
        stored = await self._store.find(self.name)
        if stored is None or moment - self._renewed >= self._kind.ack_wait / 3:
            await self._message.in_progress()
            await self._context.write(lambda _record: None)  # stores the record again if it was lost
            self._renewed = moment
        elif stored.job.cancel_requested or await self._store.is_abandoned(stored.record):
            self.stop(StopReason.CANCELLED)

    async def _finish(self, error: Exception | None) -> None:
        if self._stopped is StopReason.LEASE_LOST:
            raise LeaseLost
        if self._stopped is StopReason.DRAINING:
            await self._context.write(hand_back)
            await self._message.nak()
        elif self._stopped is StopReason.CANCELLED:
            await self._end(Job.STATE_CANCELLED)
        elif error is None:
            await self._end(Job.STATE_SUCCEEDED)
        else:
            await self._fail(_explain(error))

    async def _fail(self, error: PrismaError) -> None:
        defect = error.__cause__ if isinstance(error, Internal) else None
        _log.warning("attempt failed", job=self.name, reason=error.reason, error=error.message, exc_info=defect)
        if error.code is Code.UNAVAILABLE or isinstance(error, StorageFull | PartitionWaits):
            await self._wait(error)
        elif error.code in RETRIED_CODES and not isinstance(error, PartitionFailed):
            attempts = self._stored.record.attempts_without_checkpoint
            self._context.log(f"attempt {self._stored.job.attempt} failed: {error.message}")
            await self._write_end(lambda record: put_back(record, error))
            await self._message.nak(delay=min(MAX_RETRY_SECONDS, self._kind.ack_wait, 2.0**attempts))
        else:
            await self._end(Job.STATE_FAILED, error)

    async def _wait(self, error: PrismaError) -> None:
        """Leaves the job WAITING for what is unavailable, or ends it after 24 hours of that."""
        self._context.log_once(f"waits: {error.message}")
        await self._write_end(lambda record: wait(record, error))
        job = self._context.job
        if job.state == Job.STATE_WAITING:
            await self._message.nak(delay=max(0.1, seconds_until(job.retry_time)))
        else:
            await self._store.bury(self._context.record)
            await self._acknowledge()

    async def _end(self, state: Job.State, error: PrismaError | None = None) -> None:
        await self._write_end(lambda record: end(record, state, error))
        await self._acknowledge()

    async def _write_end(self, change: Callable[[JobRecord], None]) -> None:
        """Writes how the attempt ended; retries through an outage for as long as the lease lasts."""
        while True:
            try:
                await self._context.write(change)
                return
            except OUTAGES:
                if time.monotonic() - self._renewed >= self._kind.ack_wait:
                    raise
                await asyncio.sleep(LOOK_SECONDS)

    async def _acknowledge(self) -> None:
        """Removes the message of a job that has ended. If that fails it is delivered again, and ignored."""
        with suppress(*OUTAGES):
            await self._message.ack_sync()


def _explain(error: Exception) -> PrismaError:
    """A job's error as callers see it."""
    if isinstance(error, PrismaError):
        return error
    if is_full_disk(error):
        return StorageFull("no space left where this service keeps its data: free some space, then it continues")
    explained = Internal(f"{type(error).__name__}: {error}")
    explained.__cause__ = error
    return explained
