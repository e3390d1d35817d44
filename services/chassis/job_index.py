"""Indexes of jobs: empty keys in the job bucket whose names say all, so that one request lists them without values.

`index.time.<day>.<ms>.<service>.<kind>.<id>`       all jobs, by day of creation
`index.resource.<hash>.<ms>.<service>.<kind>.<id>`  the jobs on a resource
`index.active.<hash>.<ms>.<service>.<kind>.<id>`    the jobs on a resource that have not ended

Entries are written before the job's record and removed after it has ended or was deleted, so a record is never missing
from its indexes; an entry whose record does not exist or has ended is ignored by readers and removed by the sweeper.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from nats.js.errors import NotFoundError

from prisma.common.v1.job_pb2 import Job
from services.chassis.job_transitions import TERMINAL
from services.chassis.nats import BUCKET, NatsLink

_PREFIX = f"$KV.{BUCKET}.index"
_NO_RESOURCE = "none"
_DAY_MILLISECONDS = 24 * 3600 * 1000


@dataclass(frozen=True, order=True)
class IndexEntry:
    """What an index says of a job."""

    created_milliseconds: int
    """When it was submitted, Unix time."""
    service: str
    kind: str
    id: str
    """The part of the job's name behind the service."""

    @property
    def name(self) -> str:
        """`jobs/{job}`."""
        return f"jobs/{self.service}.{self.id}"

    @property
    def is_partition(self) -> bool:
        """Whether this is a part of a job, whose id is that of the job with another one behind."""
        return "-" in self.id

    @property
    def newest_first(self) -> tuple[int, str]:
        """The order of lists."""
        return -self.created_milliseconds, self.name

    @property
    def day(self) -> int:
        """Days since 1970."""
        return day_of(self.created_milliseconds)

    def describes(self, job: Job) -> bool:
        """Whether this is the entry of that very job: a submission that lost a race leaves one of another time."""
        return self == entry_of(job)

    @classmethod
    def of_subject(cls, subject: str) -> IndexEntry:
        """The entry that a key of any of the indexes names."""
        milliseconds, service, kind, job_id = subject.split(".")[-4:]
        return cls(int(milliseconds), service, kind, job_id)

    def __str__(self) -> str:
        return f"{self.created_milliseconds:013d}.{self.service}.{self.kind}.{self.id}"


def entry_of(job: Job) -> IndexEntry:
    """What the indexes say of a job."""
    return IndexEntry(
        created_milliseconds=job.create_time.ToMilliseconds(),
        service=job.service,
        kind=job.kind,
        id=job.name.rpartition(".")[2],
    )


def day_of(milliseconds: int) -> int:
    """Days since 1970 of a Unix time."""
    return milliseconds // _DAY_MILLISECONDS


class JobIndex:
    """The indexes. All methods raise NatsUnavailable in an outage."""

    def __init__(self, link: NatsLink) -> None:
        self._link = link

    async def add(self, job: Job) -> None:
        """Enters a job that has not ended in all indexes. Repeating it changes nothing."""
        await self._put([_time_subject(entry_of(job)), *_resource_subjects(job), *_active_subjects(job)])

    async def enter(self, job: Job) -> None:
        """Enters a job that an index lacks, as one of an older version."""
        if job.state not in TERMINAL:
            await self.add(job)
        else:
            await self._put([_time_subject(entry_of(job)), *_resource_subjects(job)])

    async def activate(self, job: Job) -> None:
        """Enters a job that is started again among the active ones, before its record says so."""
        await self._put(_active_subjects(job))

    async def deactivate(self, job: Job) -> None:
        """Removes a job that has ended from the active ones."""
        await self._remove(_active_subjects(job))

    async def remove(self, job: Job) -> None:
        """Removes a job that is deleted from all indexes."""
        await self._remove([*_active_subjects(job), *_resource_subjects(job), _time_subject(entry_of(job))])

    async def remove_entry(self, entry: IndexEntry) -> None:
        """Removes an entry that has no record from all indexes."""
        await self._remove([f"{_PREFIX}.{index}.*.{entry}" for index in ("active", "resource", "time")])

    async def all(self, *, service: str = "*") -> list[IndexEntry]:
        """All jobs, the newest first."""
        return await self._entries(f"time.*.*.{service}.*.*")

    async def of_day(self, day: int) -> list[IndexEntry]:
        """The jobs submitted on a day (days since 1970, UTC), the newest first."""
        return await self._entries(f"time.{day}.*.*.*.*")

    async def of_resource(self, resource: str) -> list[IndexEntry]:
        """The jobs on a resource, the newest first."""
        return await self._entries(f"resource.{_hash(resource)}.*.*.*.*")

    async def active(self, *, resource: str | None = None, service: str = "*", kind: str = "*") -> list[IndexEntry]:
        """The jobs that have not ended, the newest first; a job that ended just now may be among them."""
        return await self._entries(f"active.{'*' if resource is None else _hash(resource)}.*.{service}.{kind}.*")

    async def _entries(self, pattern: str) -> list[IndexEntry]:
        subjects = await self._link.call(lambda: self._link.subjects(f"KV_{BUCKET}", f"{_PREFIX}.{pattern}"))
        entries = {IndexEntry.of_subject(subject) for subject in subjects}
        return sorted(entries, key=lambda entry: entry.newest_first)

    async def _put(self, subjects: Iterable[str]) -> None:
        await self._link.call(
            lambda: asyncio.gather(*(self._link.stream.publish(subject, b"") for subject in subjects))
        )

    async def _remove(self, subjects: Iterable[str]) -> None:
        """Removes the keys and leaves no markers: those of a KV deletion would be listed as keys."""
        with suppress(NotFoundError):
            await self._link.call(
                lambda: asyncio.gather(
                    *(self._link.stream.purge_stream(f"KV_{BUCKET}", subject=subject) for subject in subjects)
                )
            )


def _time_subject(entry: IndexEntry) -> str:
    return f"{_PREFIX}.time.{entry.day}.{entry}"


def _resource_subjects(job: Job) -> list[str]:
    return [f"{_PREFIX}.resource.{_hash(resource)}.{entry_of(job)}" for resource in job.resources]


def _active_subjects(job: Job) -> list[str]:
    hashes = [_hash(resource) for resource in job.resources] or [_NO_RESOURCE]
    return [f"{_PREFIX}.active.{key}.{entry_of(job)}" for key in hashes]


def _hash(resource: str) -> str:
    """A resource's name as one token of a subject."""
    return hashlib.sha256(resource.encode()).hexdigest()[:20]
