"""Runs the jobs of a service.

Taking a delivery writes a lease; whoever lost it stops without a word. A job's results go into its owner's SQL first,
then its end into KV, then the message is acknowledged: a crash between any two of these repeats idempotent work.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import api

from prisma.common.v1.job_pb2 import Job, JobMessage, JobRecord
from services.chassis import context, logs
from services.chassis.errors import Aborted, Code, Internal, PrismaError
from services.chassis.job_context import JobCancelled, JobContext, LeaseLost, expiry, new_lease
from services.chassis.job_store import TERMINAL, Held, JobNotFound, now
from services.chassis.jobs import Jobs
from services.chassis.nats import JOBS, NatsLink, NatsUnavailable

MAX_ATTEMPTS = 5
RETRIED = frozenset({Code.UNAVAILABLE, Code.ABORTED, Code.INTERNAL, Code.DEADLINE_EXCEEDED})
_LOOK_SECONDS = 1.0
_FETCH_SECONDS = 5.0
_OUTAGES = (NatsUnavailable, NatsError, OSError, asyncio.TimeoutError)

_log = logs.get(__name__)


class AttemptsExhausted(Aborted):
    """The job made no progress in five attempts."""

    reason = "JOB_ATTEMPTS_EXHAUSTED"


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


class Worker:
    """Runs jobs of some kinds until it is stopped."""

    def __init__(self, link: NatsLink, jobs: Jobs, kinds: Sequence[JobKind]) -> None:
        self._link = link
        self._jobs = jobs
        self._kinds = kinds
        self._running: dict[asyncio.Task[None], Run] = {}
        self._stopping = False

    @property
    def running_count(self) -> int:
        """Jobs that run at this moment."""
        return len(self._running)

    async def run(self) -> None:
        """Takes and runs jobs until cancelled."""
        async with asyncio.TaskGroup() as group:
            for kind in self._kinds:
                for _ in range(kind.concurrency):
                    group.create_task(self._serve(kind))

    async def stop(self) -> None:
        """Gives back what runs: another worker goes on at once, and it does not count as an attempt."""
        self._stopping = True
        for run in list(self._running.values()):
            run.stop("drain")
        if self._running:
            await asyncio.wait(list(self._running), timeout=7.0)

    async def _serve(self, kind: JobKind) -> None:
        while not self._stopping:
            try:
                await self._link.ready()
                subscription = await self._link.stream.pull_subscribe(
                    f"prisma.jobs.{kind.service}.{kind.name}.*",
                    durable=f"{kind.service}-{kind.name}",
                    stream=JOBS,
                    config=api.ConsumerConfig(ack_wait=kind.ack_wait, max_deliver=-1),
                )
                while not self._stopping:
                    try:
                        messages = await subscription.fetch(1, timeout=_FETCH_SECONDS)
                    except TimeoutError:
                        if not self._link.connected:
                            break
                        continue
                    for message in messages:
                        await self._handle(kind, message)
            except _OUTAGES as error:
                _log.warning("cannot take jobs", kind=kind.name, error=str(error) or type(error).__name__)
                await asyncio.sleep(_LOOK_SECONDS)

    async def _handle(self, kind: JobKind, message: Msg) -> None:
        name = JobMessage.FromString(message.data).name
        held = await self._take(kind, name, message)
        if held is None:
            return
        context.request_id.set(held.record.origin_request_id)
        context.user.set(held.record.user)
        run = Run(self._jobs, kind, held, message)
        task = asyncio.create_task(run.execute())
        self._running[task] = run
        try:
            await task
        finally:
            del self._running[task]

    async def _take(self, kind: JobKind, name: str, message: Msg) -> Held | None:
        """Takes the lease; None if there is nothing to do, and the message is dealt with."""
        store = self._jobs.store
        while True:
            try:
                held = await store.get(name)
            except JobNotFound:
                await message.ack()
                return None
            record = JobRecord()
            record.CopyFrom(held.record)
            if record.job.state in TERMINAL:
                await message.ack()
                return None
            wait = record.lease_expire_time.ToNanoseconds() / 1e9 - time.time()
            if record.lease and wait > 0:
                await message.nak(delay=wait + 0.1)  # another has it; if that one dies, this delivery is the next
                return None
            if record.job.cancel_requested:
                end(record, Job.STATE_CANCELLED)
            elif record.attempts_without_checkpoint >= MAX_ATTEMPTS:
                last = record.job.error.message or "its worker died without a word"
                error = AttemptsExhausted(f"given up after {MAX_ATTEMPTS} attempts without progress; the last: {last}")
                end(record, Job.STATE_FAILED, error)
            else:
                begin(record, kind.ack_wait)
            taken = await store.replace(held, record)
            if taken is None:
                continue
            if taken.job.state == Job.STATE_FAILED:
                await store.bury(record)
            if taken.job.state in TERMINAL:
                await message.ack()
                return None
            return taken


class Run:
    """One attempt at one job."""

    def __init__(self, jobs: Jobs, kind: JobKind, held: Held, message: Msg) -> None:
        self._jobs = jobs
        self._kind = kind
        self._held = held
        self._message = message
        self._context = JobContext(jobs.store, held, kind.ack_wait)
        self._work: asyncio.Task[None] | None = None
        self._why = ""

    def stop(self, why: str) -> None:
        """Stops the work: `cancel`, `lease` or `drain` says what becomes of the job."""
        if not self._why and self._work is not None and not self._work.done():
            self._why = why
            self._work.cancel()

    async def execute(self) -> None:
        """Runs the job to its end, or to where it is stopped."""
        request = self._kind.request_type()
        self._held.record.request.Unpack(request)
        name = self._held.job.name
        _log.info("job begins", job=name, kind=self._kind.name, attempt=self._held.job.attempt)
        self._work = asyncio.ensure_future(self._kind.run(request, self._context))
        heart = asyncio.create_task(self._beat())
        error: BaseException | None = None
        try:
            await self._work
        except asyncio.CancelledError as stopped:
            error = stopped
            if not self._why:
                self._why = "drain"
        except LeaseLost:
            self._why = "lease"
        except JobCancelled:
            self._why = "cancel"
        except Exception as failure:  # noqa: BLE001 - whatever a job raises is its end, told below
            error = failure
        finally:
            heart.cancel()
        try:
            await self._finish(error)
        except LeaseLost:
            _log.warning("job went on elsewhere", job=name)
        except _OUTAGES as outage:
            # What was committed stays; the message comes again, and the work is idempotent.
            _log.warning("job's end could not be written", job=name, error=str(outage))

    async def _beat(self) -> None:
        renewed = time.monotonic()
        assert self._work is not None
        while not self._work.done():  # Python 3.11 can lose a cancellation that meets an answer (gh-86296)
            await asyncio.sleep(min(_LOOK_SECONDS, self._kind.ack_wait / 6))
            try:
                moment = time.monotonic()
                if moment - renewed >= self._kind.ack_wait / 3:
                    await self._message.in_progress()
                    await self._context.write(lambda _record: None)
                    renewed = moment
                elif (await self._jobs.get(self._held.job.name)).cancel_requested:
                    self.stop("cancel")
            except LeaseLost:
                self.stop("lease")
            except (JobNotFound, *_OUTAGES):
                if time.monotonic() - renewed >= self._kind.ack_wait:
                    self.stop("lease")

    async def _finish(self, error: BaseException | None) -> None:
        if self._why == "lease":
            raise LeaseLost
        if self._why == "drain":
            await self._context.write(hand_back)
            await self._message.nak()
        elif self._why == "cancel":
            await self._context.write(lambda record: end(record, Job.STATE_CANCELLED))
            await self._message.ack_sync()
        elif error is None:
            await self._context.write(lambda record: end(record, Job.STATE_SUCCEEDED))
            await self._message.ack_sync()
        else:
            await self._fail(error)

    async def _fail(self, error: BaseException) -> None:
        name = self._held.job.name
        if isinstance(error, PrismaError):
            told = error
            _log.warning("job failed", job=name, reason=told.reason, error=told.message)
        else:
            told = Internal(f"{type(error).__name__}: {error}")
            _log.error("job failed", job=name, exc_info=error)
        if told.code not in RETRIED:
            await self._context.write(lambda record: end(record, Job.STATE_FAILED, told))
            await self._message.ack_sync()
            return
        attempt = self._held.record.attempts_without_checkpoint
        self._context.log(f"attempt {self._held.job.attempt} failed: {told.message}")
        await self._context.write(lambda record: put_back(record, told))
        await self._message.nak(delay=min(30.0, self._kind.ack_wait, 2.0**attempt))


def begin(record: JobRecord, ack_wait: float) -> None:
    """The record of a job that a worker has taken."""
    record.job.state = Job.STATE_RUNNING
    record.job.attempt += 1
    record.job.start_time.CopyFrom(now())
    record.attempts_without_checkpoint += 1
    record.lease = new_lease()
    record.lease_expire_time.CopyFrom(expiry(ack_wait))


def hand_back(record: JobRecord) -> None:
    """The record of a job whose worker is stopping: as if it had not been taken."""
    record.job.state = Job.STATE_SUBMITTED
    record.job.attempt -= 1
    record.attempts_without_checkpoint -= min(1, record.attempts_without_checkpoint)
    record.lease = ""


def put_back(record: JobRecord, error: PrismaError) -> None:
    """The record of a job that failed and is tried again."""
    record.job.state = Job.STATE_SUBMITTED
    record.job.error.CopyFrom(error.to_status())
    record.lease = ""


def end(record: JobRecord, state: Job.State, error: PrismaError | None = None) -> None:
    """The record of a job that has ended."""
    record.job.state = state
    record.job.end_time.CopyFrom(now())
    record.lease = ""
    record.job.ClearField("error")
    if error is not None:
        record.job.error.CopyFrom(error.to_status())
    if state == Job.STATE_SUCCEEDED and record.job.progress.total:
        record.job.progress.done = record.job.progress.total
    record.job.progress.seconds_left = 0


class Sweeper:
    """Mends what a crash between two writes leaves: a job without a message is sent again, old jobs are forgotten."""

    KEEP_SECONDS = 30 * 24 * 3600.0

    def __init__(self, jobs: Jobs, service: str, *, every: float = 10.0, grace: float = 5.0) -> None:
        self._jobs = jobs
        self._service = service
        self._every = every
        self._grace = grace

    async def run(self) -> None:
        """Sweeps until cancelled."""
        while True:
            try:
                await self.sweep()
            except _OUTAGES as error:
                _log.debug("sweep waits for the message server", error=str(error))
            await asyncio.sleep(self._every)

    async def sweep(self) -> None:
        """One pass over the service's jobs."""
        store = self._jobs.store
        for held in await store.list(self._service):
            record, age = held.record, _age(held.record)
            if record.job.state in TERMINAL:
                if time.time() - record.job.end_time.ToNanoseconds() / 1e9 > self.KEEP_SECONDS:
                    await store.delete(record.job.name)
            elif age > self._grace and not _leased(record) and not await store.has_message(record.job):
                with contextlib.suppress(JobNotFound):
                    _log.warning("job had no message; sent again", job=record.job.name)
                    await store.publish(record.job.name)


def _leased(record: JobRecord) -> bool:
    return bool(record.lease) and record.lease_expire_time.ToNanoseconds() / 1e9 > time.time()


def _age(record: JobRecord) -> float:
    last = max(record.publish_time.ToNanoseconds(), record.job.create_time.ToNanoseconds())
    return time.time() - last / 1e9
