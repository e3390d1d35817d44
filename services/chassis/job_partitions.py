"""Partitions: parts of a job that all processes of its service share.

A job with much to do divides it into ranges of rows or latents, and stores the division in its record. Each part is a
record of its own, with a message, a lease, attempts and checkpoints like a job's, so any process takes it from the
queue, and another one if that dies. It is listed nowhere and lives only as long as its job: its worker stops once the
job has ended or is to stop. The job's own worker runs until all parts have ended, and then does what is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from google.rpc.status_pb2 import Status

from prisma.common.v1.job_pb2 import Job, JobRecord
from services.chassis import job_bottleneck, job_time, tracing
from services.chassis.errors import Code, PrismaError, reason_of
from services.chassis.job_context import JobContext
from services.chassis.job_store import StoredJob, part_name
from services.chassis.job_transitions import now, resubmit
from services.chassis.names import new_uid
from services.chassis.nats import NatsUnavailable

MAX_PARTITIONS = 64
"""Parts that work is divided into at most."""
LOOK_SECONDS = 0.5
"""How often a job looks how far its parts are."""
_ID_CHARACTERS = 8


class _PartitionError(PrismaError, abstract=True):
    """An error of a part, passed on with its code and reason."""

    def __init__(self, status: Status, place: str) -> None:
        super().__init__(f"{place}: {status.message}")
        self.code = Code(status.code) if status.code in set(Code) else Code.UNKNOWN
        self.reason = reason_of(status) or "INTERNAL"


class PartitionFailed(_PartitionError, dynamic=True):
    """A part has failed for good, after its own attempts: so has the job."""


class PartitionWaits(_PartitionError, dynamic=True):
    """All parts that have not ended have waited for something unavailable since they advanced: so does the job."""


@dataclass(frozen=True)
class Range:
    """A range [start, stop) of rows or latents. size: how much there is to do in it."""

    start: int
    stop: int
    size: int
    indices: Sequence[int] = ()
    """Of latents: those that the part has, in the order of the work; empty for all of the range."""


def divided(numbers: Sequence[int], part_size: int) -> list[Range]:
    """Parts of these latents, in their order: `part_size` or more each, one more in some than in others."""
    count = max(1, min(MAX_PARTITIONS, len(numbers) // part_size))
    bounds = [len(numbers) * number // count for number in range(count + 1)]
    parts = [numbers[start:stop] for start, stop in pairwise(bounds) if stop > start]
    return [Range(min(part), max(part) + 1, len(part), part) for part in parts]


class Partitions:
    """The parts of one job, as its worker sees them."""

    def __init__(self, context: JobContext, *, kind: str, request: Message, unit: str) -> None:
        """kind: of jobs that do a part of `request`, which is what they get. unit: what the sizes of ranges count."""
        self._context = context
        self._kind = kind
        self._request = request
        self._unit = unit
        self._checkpoint: int | None = None
        """What was done at the last checkpoint; None before the first look."""
        self._time_of_former: Sequence[Job.TimeUse] = ()
        """Of the parts of former divisions."""

    async def divide(self, ranges: Sequence[Range], *, result: Struct | None = None) -> None:
        """Divides work into these parts, in place of former ones that have ended. Raises LeaseLost, NatsUnavailable.

        result: what the former ones have done, stored in the job's record by the same write.
        """
        parts = [
            JobRecord.Partition(
                id=new_uid()[:_ID_CHARACTERS], start=part.start, stop=part.stop, size=part.size, indices=part.indices
            )
            for part in ranges
        ]

        def change(record: JobRecord) -> None:
            del record.partitions[:]
            record.partitions.extend(parts)
            record.divided_resubmit_count = record.resubmit_count
            if result is not None:
                record.result.CopyFrom(result)

        await self._context.write(change)

    async def forget_tried(self) -> bool:
        """Forgets a division of before a person started the job again, if all of its parts have succeeded.

        There is nothing left to try in it: what failed is tried again in a division of its own.
        """
        record = self._context.record
        if not record.partitions or record.divided_resubmit_count == record.resubmit_count:
            return False
        parts = [await self._context.store.find(self._name(part)) for part in record.partitions]
        if not all(stored is not None and _has_succeeded(stored) for stored in parts):
            return False

        def change(record: JobRecord) -> None:
            del record.partitions[:]
            record.ClearField("result")

        await self._context.write(change)
        self._checkpoint = 0
        return True

    async def run(
        self, message: str, *, done_before: int = 0, check: Callable[[Sequence[Struct]], None] | None = None
    ) -> list[Struct]:
        """Waits until all parts have ended, also those of an earlier attempt; returns their results, in order.

        done_before: how much was done before the work was divided, which counts as progress too. check: looks at the
        results until now, in order, and may raise. Raises PartitionFailed, PartitionWaits, LeaseLost, JobCancelled.
        """
        try:
            with job_time.during(job_time.Part.JOB):
                return await self._wait(message, done_before, check)
        finally:
            self._context.bottleneck = None
            self._time_of_former = self._context.time_of_parts

    async def _wait(
        self, message: str, done_before: int, check: Callable[[Sequence[Struct]], None] | None
    ) -> list[Struct]:
        parts = list(self._context.record.partitions)
        latest: dict[str, StoredJob] = {}
        done: dict[str, int] = {}
        total = done_before + sum(part.size for part in parts)
        while True:
            try:
                unfinished = [part for part in parts if part.id not in latest or not _has_succeeded(latest[part.id])]
                if latest:
                    looks = await asyncio.gather(*(self._look(part) for part in unfinished))
                else:
                    looks = [await self._look(part) for part in unfinished]  # queued in their order
                for part, stored in zip(unfinished, looks, strict=True):
                    latest[part.id] = stored
                    done[part.id] = max(done.get(part.id, 0), _done(part, stored.job))
                states = [latest[part.id] for part in parts]
                self._explain_time(states)
                await self._report(done_before + sum(done.values()), total, f"{message}; {_summary(states)}")
            except NatsUnavailable:  # the heartbeat stops a job whose lease has run out meanwhile
                await asyncio.sleep(LOOK_SECONDS)
                continue
            results = [stored.record.result for stored in states]
            if check is not None:
                check(results)
            if all(map(_has_succeeded, states)):
                return results
            self._raise_errors(states)
            await asyncio.sleep(LOOK_SECONDS)

    def _explain_time(self, parts: Sequence[StoredJob]) -> None:
        self._context.time_of_parts = [*self._time_of_former, *(stored.job.time_use for stored in parts)]
        queued = sum(stored.job.state == Job.STATE_SUBMITTED for stored in parts)
        is_queued = queued and not any(stored.job.state == Job.STATE_RUNNING for stored in parts)
        job = self._context.job
        self._context.bottleneck = job_bottleneck.of_queued_parts(job.service, queued) if is_queued else None

    async def _report(self, done: int, total: int, message: str) -> None:
        if self._checkpoint is None:
            self._checkpoint = max(done, self._context.done_before)
        if done > self._checkpoint:
            await self._context.checkpoint()
            self._checkpoint = done
        await self._context.progress(done, total, self._unit, message, of_parts=True)

    def _name(self, part: JobRecord.Partition) -> str:
        return part_name(self._context.job.name, part)

    async def _look(self, part: JobRecord.Partition) -> StoredJob:
        """The part's record, which is created where there is none, and started again after the job was."""
        store = self._context.store
        name = self._name(part)
        stored = await store.find(name)
        if stored is None:
            await store.create(self._new_record(name, part))
            return await store.publish(name)
        resubmit_count = self._context.record.resubmit_count

        def start_again(record: JobRecord) -> bool:
            if not _is_to_start_again(record, resubmit_count):
                return False
            resubmit(record)
            record.resubmit_count = resubmit_count
            return True

        if not _is_to_start_again(stored.record, resubmit_count):
            return stored
        await store.index.activate(stored.job)
        await store.change(name, start_again)
        return await store.publish(name)

    def _new_record(self, name: str, part: JobRecord.Partition) -> JobRecord:
        parent = self._context.record
        job = Job(name=name, service=parent.job.service, kind=self._kind, state=Job.STATE_SUBMITTED)
        job.create_time.CopyFrom(now())
        job.update_time.CopyFrom(job.create_time)
        record = JobRecord(
            job=job,
            partition=part,
            partition_of=parent.job.name,
            resubmit_count=parent.resubmit_count,
            origin_request_id=parent.origin_request_id,
            user=parent.user,
            traceparent=tracing.traceparent(),
        )
        record.request.Pack(self._request, deterministic=True)
        return record

    def _raise_errors(self, parts: Sequence[StoredJob]) -> None:
        for number, stored in enumerate(parts, start=1):
            if stored.job.state == Job.STATE_FAILED:
                for line in stored.job.log:
                    self._context.log(f"part {number}: {line.text}")
                raise PartitionFailed(stored.job.error, self._place(number, len(parts), stored))
        unfinished = [(number, stored) for number, stored in enumerate(parts, start=1) if not _has_succeeded(stored)]
        waiting = [(number, stored) for number, stored in unfinished if stored.job.state == Job.STATE_WAITING]
        if waiting and all(stored.record.outage_count for _number, stored in unfinished):
            number, stored = waiting[0]
            raise PartitionWaits(stored.job.error, self._place(number, len(parts), stored))

    def _place(self, number: int, count: int, stored: StoredJob) -> str:
        part = stored.record.partition
        what = f"{part.size:,} {self._unit}" if part.indices else f"{part.start} to {part.stop - 1}"
        return f"part {number} of {count} ({what})"


def _has_succeeded(stored: StoredJob) -> bool:
    return stored.job.state == Job.STATE_SUCCEEDED


def _is_to_start_again(record: JobRecord, resubmit_count: int) -> bool:
    """Whether a part has ended or waits from before its job was started again. Parts are only cancelled with it."""
    if record.job.state in (Job.STATE_FAILED, Job.STATE_WAITING):
        return record.resubmit_count < resubmit_count
    return record.job.state == Job.STATE_CANCELLED


def _done(part: JobRecord.Partition, job: Job) -> int:
    """How much of a part is done: its progress counts from the beginning of its attempt."""
    if job.state == Job.STATE_SUCCEEDED:
        return part.size
    remaining = job.progress.total - job.progress.done
    return max(0, part.size - remaining) if job.progress.total else 0


def _summary(parts: Sequence[StoredJob]) -> str:
    succeeded = sum(_has_succeeded(stored) for stored in parts)
    running = sum(stored.job.state == Job.STATE_RUNNING for stored in parts)
    waiting = [stored.job.error.message for stored in parts if stored.job.state == Job.STATE_WAITING]
    waits = f", {len(waiting)} waiting: {waiting[0]}" if waiting else ""
    return f"{succeeded} of {len(parts)} parts done, {running} in progress{waits}"
