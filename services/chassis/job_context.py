"""What a running job holds: its lease, its progress, and the wish of others that it stops."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from datetime import timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from prisma.common.v1.job_pb2 import Job, JobRecord
from services.chassis.errors import Cancelled
from services.chassis.job_store import Held, JobStore, now

PROGRESS_SECONDS = 0.5
LOG_LINES = 50
_RATE_WEIGHT = 0.3


class LeaseLost(Exception):
    """Another worker has the job now: stop, and neither write nor acknowledge. Not for callers."""


class JobCancelled(Cancelled):
    """Somebody asked the job to stop."""

    reason = "JOB_CANCELLED"


def expiry(seconds: float) -> Timestamp:
    """The moment `seconds` from now."""
    stamp = Timestamp()
    stamp.FromNanoseconds(now().ToNanoseconds() + int(timedelta(seconds=seconds).total_seconds() * 1e9))
    return stamp


class JobContext:
    """One attempt at a job. Each write to KV goes through the lease, by compare-and-set."""

    def __init__(self, store: JobStore, held: Held, ack_wait: float) -> None:
        self._store = store
        self._held = held
        self._ack_wait = ack_wait
        self._lock = asyncio.Lock()
        self._lease = held.record.lease
        self._progress = Job.Progress()
        self._lines: list[Job.LogLine] = list(held.job.log)
        self._written = 0.0
        self._rate_from: tuple[float, float] | None = None
        self.lost = False

    @property
    def job(self) -> Job:
        """The job as last written or seen."""
        return self._held.job

    @property
    def attempt(self) -> int:
        """1 for the first attempt."""
        return self._held.job.attempt

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked the job to stop."""
        return self._held.job.cancel_requested

    async def prove(self) -> None:
        """Proves the lease and renews it. Await this before anything durable is written.

        Raises LeaseLost, JobCancelled, NatsUnavailable.
        """
        await self.write(lambda _record: None)
        if self.cancelled:
            raise JobCancelled(f"{self.job.name} was cancelled")

    async def checkpoint(self) -> None:
        """Says that progress was made that outlives a crash: attempts are counted from here. Raises as `prove`."""

        def reset(record: JobRecord) -> None:
            record.attempts_without_checkpoint = 0

        await self.write(reset)
        if self.cancelled:
            raise JobCancelled(f"{self.job.name} was cancelled")

    async def progress(self, done: int, total: int, unit: str, message: str = "") -> None:
        """Tells how far the job is; written at most twice a second. Raises LeaseLost, JobCancelled."""
        moment = time.monotonic()
        if unit != self._progress.unit or done < self._progress.done:  # another part of the work begins
            self._rate_from, self._progress = None, Job.Progress()
        rate = self._rate(done, moment)
        left = (total - done) / rate if rate > 0 and total > done else 0.0
        self._progress = Job.Progress(done=done, total=total, unit=unit, rate=rate, seconds_left=left, message=message)
        if self.lost:
            raise LeaseLost
        if moment - self._written >= PROGRESS_SECONDS:
            await self.prove()

    def log(self, line: str) -> None:
        """Adds a line to the job's log, written with the next change."""
        self._lines.append(Job.LogLine(time=now(), text=line.replace("\n", " ")[:1000]))
        del self._lines[:-LOG_LINES]

    async def write(self, change: Callable[[JobRecord], None]) -> None:
        """Applies `change` under the lease and renews it. Raises LeaseLost, NatsUnavailable."""
        async with self._lock:
            while True:
                if self.lost or self._held.record.lease != self._lease:
                    self.lost = True
                    raise LeaseLost
                record = JobRecord()
                record.CopyFrom(self._held.record)
                record.lease_expire_time.CopyFrom(expiry(self._ack_wait))
                record.job.progress.CopyFrom(self._progress)
                del record.job.log[:]
                record.job.log.extend(self._lines)
                change(record)
                written = await self._store.replace(self._held, record)
                if written is not None:
                    self._written = time.monotonic()
                    self._held = written
                    if record.lease != self._lease:
                        self.lost = True  # given back or ended by ourselves: nothing more may be written
                    return
                self._held = await self._store.get(self.job.name)

    def _rate(self, done: int, moment: float) -> float:
        if self._rate_from is None:
            self._rate_from = (moment, done)
            return 0.0
        last_moment, last_done = self._rate_from
        if moment - last_moment < PROGRESS_SECONDS:
            return self._progress.rate
        self._rate_from = (moment, done)
        current = (done - last_done) / (moment - last_moment)
        return (
            current if not self._progress.rate else self._progress.rate + _RATE_WEIGHT * (current - self._progress.rate)
        )


def new_lease() -> str:
    """A lease that nobody else has."""
    return uuid.uuid4().hex
