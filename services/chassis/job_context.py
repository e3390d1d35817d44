"""What a running job can do: prove its lease, report progress, write to its log."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from google.protobuf.struct_pb2 import Struct

from prisma.common.v1.job_pb2 import Job, JobRecord
from services.chassis import job_counts, job_time
from services.chassis.errors import Cancelled
from services.chassis.job_store import JobStore, StoredJob
from services.chassis.job_transitions import MAX_LOG_LINES, add_line, copy_of, from_now, log_line, note_checkpoint

PROGRESS_SECONDS = 0.5
LOST_DATA = "the message server has lost its data; this job was restored by its worker and continues"
_RATE_WEIGHT = 0.3


class LeaseLost(Exception):
    """Another worker has the job now: stop, and neither write nor acknowledge. Not for callers."""


class JobCancelled(Cancelled):
    """Someone asked the job to stop."""

    reason = "JOB_CANCELLED"


class JobContext:
    """One attempt at a job. Each write to KV goes through the lease, by compare-and-set."""

    def __init__(self, store: JobStore, stored: StoredJob, ack_wait: float) -> None:
        """ack_wait: seconds that each write renews the lease for."""
        self.store = store
        self._stored = stored
        self._ack_wait = ack_wait
        self._lock = asyncio.Lock()
        self._lease = stored.record.lease
        self._progress = Job.Progress()
        self._progress.CopyFrom(stored.job.progress)
        self.done_before = stored.job.progress.done
        """How far the job was when this attempt began."""
        self._lines: list[Job.LogLine] = list(stored.job.log)
        self.result = Struct()
        """Of a part: what its job learns of it, written with the next change. Outlives the attempt."""
        self.result.CopyFrom(stored.record.result)
        self._written = 0.0
        self._rate_from: tuple[float, float] | None = None
        self._time_use = job_time.begin()
        self.time_of_parts: Sequence[Job.TimeUse] = ()
        """Of a job that is divided into parts."""
        self.bottleneck: Job.Bottleneck | None = None
        """Of a job that is divided into parts: what they wait for, where their time does not say it."""
        self.lost = False

    @property
    def job(self) -> Job:
        """The job as last written or read."""
        return self._stored.job

    @property
    def record(self) -> JobRecord:
        """The job's record as last written or read."""
        return self._stored.record

    @property
    def partition(self) -> JobRecord.Partition:
        """What a part of a job covers; all zeros for a job."""
        return self._stored.record.partition

    def own_time(self) -> Job.TimeUse:
        """The time of this attempt, without that of the job's parts."""
        return self._time_use.message()

    @property
    def attempt(self) -> int:
        """1 for the first attempt."""
        return self._stored.job.attempt

    @property
    def cancelled(self) -> bool:
        """Whether someone asked the job to stop."""
        return self._stored.job.cancel_requested

    async def prove(self) -> None:
        """Proves the lease and renews it. Await this before anything durable is written.

        Raises LeaseLost, JobCancelled, NatsUnavailable.
        """
        await self.write(lambda _record: None)
        self._stop_if_cancelled()

    async def checkpoint(self) -> None:
        """Says that progress was made that outlives a crash: attempts are counted from here. Raises as `prove`."""
        await self.write(note_checkpoint)
        self._stop_if_cancelled()

    async def progress(self, done: int, total: int, unit: str, message: str = "", *, of_parts: bool = False) -> None:
        """Reports how far the job is; written at most twice a second. Raises LeaseLost, JobCancelled.

        of_parts: whether it was done by parts of the job, which have counted it.
        """
        moment = time.monotonic()
        if unit != self._progress.unit or done < self._progress.done:  # another part of the work begins
            self._rate_from, self._progress = None, Job.Progress(done=done, unit=unit)
        if done > self._progress.done and not of_parts:
            job_counts.units(self.job.service, self.job.kind, unit).inc(done - self._progress.done)
        rate = self._rate(done, moment)
        left = (total - done) / rate if rate > 0 and total > done else 0.0
        self._progress = Job.Progress(done=done, total=total, unit=unit, rate=rate, seconds_left=left, message=message)
        if self.lost:
            raise LeaseLost
        if moment - self._written >= PROGRESS_SECONDS:
            await self.prove()

    def log(self, line: str) -> None:
        """Adds a line to the job's log, written with the next change."""
        self._lines.append(log_line(line))
        del self._lines[:-MAX_LOG_LINES]

    def log_once(self, line: str) -> None:
        """Adds a line to the job's log, unless it is the last one already."""
        if not self._lines or self._lines[-1].text != log_line(line).text:
            self.log(line)

    async def write(self, change: Callable[[JobRecord], None]) -> None:
        """Applies `change` under the lease and renews it. Raises LeaseLost, NatsUnavailable."""
        async with self._lock:
            while True:
                if self.lost or self._stored.record.lease != self._lease:
                    self.lost = True
                    raise LeaseLost
                record = self._renewed_record()
                change(record)
                written = await self.store.replace(self._stored, record)
                if written is not None:
                    self._written = time.monotonic()
                    self._stored = written
                    if record.lease != self._lease:
                        self.lost = True  # given back or ended by ourselves: nothing more may be written
                    return
                self._stored = await self._read_again()

    def _renewed_record(self) -> JobRecord:
        record = copy_of(self._stored.record)
        record.lease_expire_time.CopyFrom(from_now(self._ack_wait))
        record.job.progress.CopyFrom(self._progress)
        record.job.time_use.CopyFrom(job_time.with_parts(self.own_time(), self.time_of_parts))
        record.job.ClearField("bottleneck")
        if self.bottleneck is not None:
            record.job.bottleneck.CopyFrom(self.bottleneck)
        del record.job.log[:]
        record.job.log.extend(self._lines)
        if record.partition_of and len(self.result):
            record.result.CopyFrom(self.result)
        return record

    async def _read_again(self) -> StoredJob:
        """The record that was changed meanwhile. If the message server has lost it, ours is stored again."""
        while (stored := await self.store.find(self.job.name)) is None:
            record = self._renewed_record()
            add_line(record, LOST_DATA)
            if (restored := await self.store.create(record)) is not None:
                self.log(LOST_DATA)
                return restored
        if stored.record.lease == self._lease:  # it may have been restored from a copy of before it was divided
            _copy_division(self._stored.record, stored.record)
        return stored

    def _stop_if_cancelled(self) -> None:
        if self.cancelled:
            raise JobCancelled(f"{self.job.name} was cancelled")

    def _rate(self, done: int, moment: float) -> float:
        """Units per second, smoothed; measured at most twice a second."""
        if self._rate_from is None:
            self._rate_from = (moment, done)
            return 0.0
        last_moment, last_done = self._rate_from
        if moment - last_moment < PROGRESS_SECONDS:
            return self._progress.rate
        self._rate_from = (moment, done)
        current = (done - last_done) / (moment - last_moment)
        if not self._progress.rate:
            return current
        return self._progress.rate + _RATE_WEIGHT * (current - self._progress.rate)


def _copy_division(source: JobRecord, target: JobRecord) -> None:
    """Copies what only the worker that has the lease writes of a job's parts."""
    del target.partitions[:]
    target.partitions.extend(source.partitions)
    target.divided_resubmit_count = source.divided_resubmit_count
    target.result.CopyFrom(source.result)
