"""Where jobs are stored: records in a KV bucket, written by compare-and-set only, and messages on the work queue."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError, NotFoundError

from prisma.common.v1.job_pb2 import Job, JobMessage, JobRecord
from services.chassis.errors import NotFound
from services.chassis.job_index import IndexEntry, JobIndex
from services.chassis.job_transitions import TERMINAL, copy_of, now
from services.chassis.nats import BUCKET, DEAD, JOBS, NatsLink, NatsUnavailable

__all__ = ["TERMINAL", "JobNotFound", "JobStore", "StoredJob"]
_READS_AT_ONCE = 64


class JobNotFound(NotFound):
    """No job has this name, or it ended more than 30 days ago."""

    reason = "JOB_NOT_FOUND"


@dataclass(frozen=True)
class StoredJob:
    """A record and the KV revision it was read at, which compare-and-set compares."""

    record: JobRecord
    revision: int

    @property
    def job(self) -> Job:
        """The public part."""
        return self.record.job


class JobStore:
    """Records of jobs, and their messages. All methods raise NatsUnavailable in an outage."""

    def __init__(self, link: NatsLink) -> None:
        self._link = link
        self.index = JobIndex(link)

    # Records

    async def create(self, record: JobRecord) -> StoredJob | None:
        """Stores a new record; None if there is one of this name."""
        await self.index.add(record.job)
        key = _key(record.job.name)
        try:
            revision = await self._link.call(lambda: self._link.bucket.create(key, record.SerializeToString()))
        except KeyWrongLastSequenceError:
            await self._remove_if_stale(record.job)
            return None
        return StoredJob(record, revision)

    async def get(self, name: str) -> StoredJob:
        """The record of a job. Raises JobNotFound."""
        stored = await self.find(name)
        if stored is None and self._link.has_lost_data:
            raise NatsUnavailable(
                f"NATS at {self._link.address} came back without its data; the services are restoring their jobs"
            )
        if stored is None:
            raise JobNotFound(
                f"there is no job {name}: jobs are kept for 30 days after their end, and jobs that have ended are "
                "lost with the message server's data",
                metadata={"job": name},
            )
        return stored

    async def find(self, name: str) -> StoredJob | None:
        """The record of a job, if there is one."""
        try:
            entry = await self._link.call(lambda: self._link.bucket.get(_key(name)))
        except (KeyNotFoundError, NotFoundError):
            return None
        assert entry.revision is not None
        return StoredJob(JobRecord.FromString(entry.value or b""), entry.revision)

    async def read(self, entries: Sequence[IndexEntry]) -> list[StoredJob]:
        """The records of index entries, in their order; without entries that have no record."""
        limit = asyncio.Semaphore(_READS_AT_ONCE)

        async def read(entry: IndexEntry) -> StoredJob | None:
            async with limit:
                stored = await self.find(entry.name)
                return stored if stored is not None and entry.describes(stored.job) else None

        jobs = await asyncio.gather(*(read(entry) for entry in entries))
        return [stored for stored in jobs if stored is not None]

    async def replace(self, stored: StoredJob, record: JobRecord) -> StoredJob | None:
        """Writes `record` over `stored`; None if it was changed meanwhile."""
        record.job.update_time.CopyFrom(now())
        data = record.SerializeToString()
        try:
            revision = await self._link.call(
                lambda: self._link.bucket.update(_key(record.job.name), data, last=stored.revision)
            )
        except KeyWrongLastSequenceError:
            return None
        if record.job.state in TERMINAL:
            with contextlib.suppress(NatsUnavailable):  # the sweeper does it later
                await self.index.deactivate(record.job)
        return StoredJob(record, revision)

    async def change(self, name: str, change: Callable[[JobRecord], bool]) -> StoredJob:
        """Applies `change` to the latest record, and again if it was changed meanwhile. False writes nothing.

        Raises JobNotFound.
        """
        while True:
            stored = await self.get(name)
            record = copy_of(stored.record)
            if not change(record):
                return stored
            if (written := await self.replace(stored, record)) is not None:
                return written

    async def is_abandoned(self, record: JobRecord) -> bool:
        """Whether this is a part of a job that has ended or is to stop, or that is divided otherwise now.

        A job that the server has lost is restored.
        """
        job = await self.find(record.partition_of) if record.partition_of else None
        if job is None:
            return False
        is_part = any(part.id == record.partition.id for part in job.record.partitions)
        return not is_part or job.job.state in TERMINAL or job.job.cancel_requested

    async def delete(self, job: Job) -> None:
        """Deletes a job's record, then its index entries."""
        subject = f"$KV.{BUCKET}.{_key(job.name)}"
        await self._link.call(lambda: self._link.stream.purge_stream(f"KV_{BUCKET}", subject=subject))
        await self.index.remove(job)

    async def names(self, service: str) -> set[str]:
        """The names of all records of a service."""
        prefix = f"$KV.{BUCKET}."
        subjects = await self._link.call(lambda: self._link.subjects(f"KV_{BUCKET}", f"{prefix}{service}.*"))
        return {f"jobs/{subject.removeprefix(prefix)}" for subject in subjects}

    # Messages

    async def publish(self, name: str) -> StoredJob:
        """Sends the job's message to the queue, under a message id of its own. Raises JobNotFound."""

        def count(record: JobRecord) -> bool:
            record.publish_count += 1
            record.publish_time.CopyFrom(now())
            return True

        stored = await self.change(name, count)
        message = JobMessage(name=name, publish_count=stored.record.publish_count)
        headers = {"Nats-Msg-Id": f"{_key(name)}/{stored.record.publish_count}"}
        await self._link.call(
            lambda: self._link.stream.publish(subject_of(stored.job), message.SerializeToString(), headers=headers)
        )
        return stored

    async def has_message(self, job: Job) -> bool:
        """Whether the queue holds a message of this job."""
        try:
            await self._link.call(lambda: self._link.stream.get_last_msg(JOBS, subject_of(job)))
        except NotFoundError:
            return False
        return True

    async def queued(self, service: str) -> set[str]:
        """The names of a service's jobs that have a message in the queue."""
        subjects = await self._link.call(lambda: self._link.subjects(JOBS, f"prisma.jobs.{service}.>"))
        return {f"jobs/{service}.{subject.rpartition('.')[2]}" for subject in subjects}

    async def bury(self, record: JobRecord) -> None:
        """Copies a job that is given up to the dead letters (stream PRISMA_DEAD), once per attempt."""
        subject = f"prisma.dead.{record.job.service}.{record.job.kind}"
        headers = {"Nats-Msg-Id": f"{_key(record.job.name)}/{record.job.attempt}/{record.publish_count}"}
        await self._link.call(
            lambda: self._link.stream.publish(subject, record.SerializeToString(), stream=DEAD, headers=headers)
        )

    async def _remove_if_stale(self, job: Job) -> None:
        """Removes the index entries of a submission that lost a race, unless they are those of the winner."""
        winner = await self.find(job.name)
        if winner is not None and winner.job.create_time.ToMilliseconds() != job.create_time.ToMilliseconds():
            await self.index.remove(job)


def part_name(job: str, part: JobRecord.Partition) -> str:
    """The name of a part of a job's record. job: the job's name."""
    return f"{job}-{part.id}"


def subject_of(job: Job) -> str:
    """The subject of the job's message: each job has its own, so that one can look whether its message is queued."""
    return f"prisma.jobs.{job.service}.{job.kind}.{job.name.rpartition('.')[2]}"


def _key(name: str) -> str:
    return name.removeprefix("jobs/")
