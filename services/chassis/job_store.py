"""What is known of jobs: the KV bucket, written by compare-and-set only."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from google.protobuf.timestamp_pb2 import Timestamp
from nats.errors import Error as NatsError
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError, NotFoundError

from prisma.common.v1.job_pb2 import Job, JobMessage, JobRecord
from services.chassis.errors import NotFound
from services.chassis.nats import BUCKET, DEAD, JOBS, NatsLink, NatsUnavailable

TERMINAL = frozenset({Job.STATE_SUCCEEDED, Job.STATE_FAILED, Job.STATE_CANCELLED})
_GETS_AT_ONCE = 64
_T = TypeVar("_T")


class JobNotFound(NotFound):
    """No job has this name, or it ended long ago."""

    reason = "JOB_NOT_FOUND"


@dataclass(frozen=True)
class Held:
    """A record and the KV revision it was read at: what compare-and-set compares."""

    record: JobRecord
    revision: int

    @property
    def job(self) -> Job:
        return self.record.job


def now() -> Timestamp:
    """This moment."""
    stamp = Timestamp()
    stamp.GetCurrentTime()
    return stamp


def subject_of(job: Job) -> str:
    """Where the job's message travels: each job has a subject of its own, so that one can ask whether it is there."""
    return f"prisma.jobs.{job.service}.{job.kind}.{job.name.rpartition('.')[2]}"


class JobStore:
    """Records of jobs, and their messages on the work queue. All methods raise NatsUnavailable in an outage."""

    def __init__(self, link: NatsLink) -> None:
        self._link = link

    async def create(self, record: JobRecord) -> Held | None:
        """Keeps a new record; None if there is one of this name."""
        key = _key(record.job.name)
        try:
            revision = await self._call(lambda: self._link.bucket.create(key, record.SerializeToString()))
        except KeyWrongLastSequenceError:
            return None
        return Held(record, revision)

    async def get(self, name: str) -> Held:
        """The record of a job. Raises JobNotFound."""
        try:
            entry = await self._call(lambda: self._link.bucket.get(_key(name)))
        except (KeyNotFoundError, NotFoundError):
            raise JobNotFound(f"no job is named {name!r}; jobs are kept for 30 days after their end") from None
        assert entry.revision is not None
        return Held(JobRecord.FromString(entry.value or b""), entry.revision)

    async def list(self, service: str = "*") -> list[Held]:
        """All records of a service, or of all. A record that changes meanwhile is there all the same, old or new.

        A watcher of the bucket would not do: it can end before a record that changes, and leaves a consumer behind.
        """
        prefix = f"$KV.{BUCKET}."
        subjects = await self._call(lambda: self._link.subjects(f"KV_{BUCKET}", f"{prefix}{service}.*"))
        at_once = asyncio.Semaphore(_GETS_AT_ONCE)

        async def read(subject: str) -> Held | None:
            async with at_once:
                with contextlib.suppress(JobNotFound):
                    return await self.get(f"jobs/{subject.removeprefix(prefix)}")

        found = await asyncio.gather(*(read(subject) for subject in subjects))
        return [held for held in found if held is not None]

    async def replace(self, held: Held, record: JobRecord) -> Held | None:
        """Writes `record` over `held`; None if somebody has written meanwhile."""
        record.job.update_time.CopyFrom(now())
        data = record.SerializeToString()
        try:
            revision = await self._call(
                lambda: self._link.bucket.update(_key(record.job.name), data, last=held.revision)
            )
        except KeyWrongLastSequenceError:
            return None
        return Held(record, revision)

    async def change(self, name: str, change: Callable[[JobRecord], bool]) -> Held:
        """Applies `change` to the latest record until nobody comes between. If it returns False nothing is written."""
        while True:
            held = await self.get(name)
            record = JobRecord()
            record.CopyFrom(held.record)
            if not change(record):
                return held
            written = await self.replace(held, record)
            if written is not None:
                return written

    async def delete(self, name: str) -> None:
        """Forgets a job."""
        await self._call(lambda: self._link.bucket.purge(_key(name)))

    async def publish(self, name: str) -> Held:
        """Sends the job's message to the queue, under a message id of its own."""

        def count(record: JobRecord) -> bool:
            record.publish_count += 1
            record.publish_time.CopyFrom(now())
            return True

        held = await self.change(name, count)
        message = JobMessage(name=name, publish_count=held.record.publish_count)
        headers = {"Nats-Msg-Id": f"{_key(name)}/{held.record.publish_count}"}
        await self._call(
            lambda: self._link.stream.publish(subject_of(held.job), message.SerializeToString(), headers=headers)
        )
        return held

    async def has_message(self, job: Job) -> bool:
        """Whether the queue holds a message of this job."""
        try:
            await self._call(lambda: self._link.stream.get_last_msg(JOBS, subject_of(job)))
        except NotFoundError:
            return False
        return True

    async def bury(self, record: JobRecord) -> None:
        """Puts a copy of a job that was given up among the dead letters (stream PRISMA_DEAD)."""
        subject = f"prisma.dead.{record.job.service}.{record.job.kind}"
        await self._call(lambda: self._link.stream.publish(subject, record.SerializeToString(), stream=DEAD))

    async def _call(self, call: Callable[[], Awaitable[_T]]) -> _T:
        try:
            return await call()
        except NotFoundError:
            raise
        except KeyWrongLastSequenceError:
            raise
        except (TimeoutError, NatsError, OSError) as error:
            raise NatsUnavailable(
                f"the message server at {self._link.address} does not answer: {str(error) or type(error).__name__}"
            ) from error


def _key(name: str) -> str:
    return name.removeprefix("jobs/")
