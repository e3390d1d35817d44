"""Repairs what a crash between two writes leaves, restores jobs that the message server lost, forgets old jobs."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress

from google.protobuf.timestamp_pb2 import Timestamp

from prisma.common.v1.job_pb2 import Job, JobRecord
from services.chassis import logs
from services.chassis.errors import StorageFull
from services.chassis.job_index import IndexEntry
from services.chassis.job_journal import JobJournal
from services.chassis.job_run import OUTAGES
from services.chassis.job_store import JobNotFound, part_name
from services.chassis.job_transitions import TERMINAL, add_line, copy_of, from_now, is_leased, seconds_until
from services.chassis.jobs import Jobs
from services.chassis.nats import NatsLink

LOST_DATA = "the message server has lost its data; this job was restored by the service that owns it and continues"
_RESTORED_LEASE_SECONDS = 30.0

_log = logs.get(__name__)


class Sweeper:
    """Looks after the jobs of one service."""

    KEEP_SECONDS = 30 * 24 * 3600.0
    """How long ended jobs are kept."""
    TIDY_SECONDS = 3600.0
    """How often old jobs are deleted and the indexes compared with the records."""

    def __init__(
        self,
        link: NatsLink,
        jobs: Jobs,
        service: str,
        *,
        journal: JobJournal | None = None,
        running: Callable[[], Collection[str]] = tuple,
        every: float = 10.0,
        grace: float = 5.0,
    ) -> None:
        """journal: the service's own copy of its jobs. running: names of jobs that run here, which restore themselves.

        every: seconds between two passes. grace: seconds after its submission in which a job is left alone.
        """
        self._link = link
        self._store = jobs.store
        self._service = service
        self._journal = journal
        self._running = running
        self._every = every
        self._grace = grace
        self._tidied: tuple[int, float] | None = None

    async def run(self) -> None:
        """Sweeps until cancelled: every few seconds, and when the message server is back."""
        while True:
            generation = self._link.generation
            try:
                if self._tidied is None or time.monotonic() - self._tidied[1] > self.TIDY_SECONDS:
                    await self.tidy()
                    self._tidied = (generation, time.monotonic())
                await self.sweep()
            except OUTAGES as error:
                _log.debug("sweep waits for the message server", error=str(error))
            except StorageFull as error:
                _log.warning("the copy of this service's jobs cannot be written", error=error.message)
            await self._link.wait_for_new_generation(generation, seconds=self._every)

    async def sweep(self) -> None:
        """One pass: two requests, and one read for each job that is not in order."""
        entries = await self._store.index.active(service=self._service)
        queued = await self._store.queued(self._service)
        for entry in entries:
            if entry.name not in queued:
                await self._repair(entry)
        for name in queued - {entry.name for entry in entries}:
            stored = await self._store.find(name)
            if stored is not None and stored.job.state not in TERMINAL:
                await self._store.index.enter(stored.job)
        if self._journal is not None:
            await self._update_journal(self._journal, entries)

    async def tidy(self) -> None:
        """Deletes jobs that ended 30 days ago, and makes the indexes agree with the records."""
        names = await self._store.names(self._service)
        entries = await self._store.index.all(service=self._service)
        for name in names - {entry.name for entry in entries}:
            stored = await self._store.find(name)
            if stored is not None:
                await self._store.index.enter(stored.job)
        oldest = time.time() - self.KEEP_SECONDS
        old = [entry for entry in entries if entry.created_milliseconds / 1000 < oldest]
        for stored in await self._store.read(old):
            if stored.job.state in TERMINAL and stored.job.end_time.seconds < oldest:
                await self._store.delete(stored.job)

    async def _repair(self, entry: IndexEntry) -> None:
        """Deals with an active job that has no message in the queue."""
        stored = await self._store.find(entry.name)
        if stored is None or not entry.describes(stored.job):
            lost = self._journal is not None and entry.name in self._journal.records
            if not lost and time.time() - entry.created_milliseconds / 1000 > self._grace + self._every:
                await self._store.index.remove_entry(entry)
        elif stored.job.state in TERMINAL:
            await self._store.index.deactivate(stored.job)
        elif self._is_overdue(stored.record):
            _log.warning("job had no message; sent again", job=entry.name)
            with suppress(JobNotFound):
                await self._store.publish(entry.name)

    def _is_overdue(self, record: JobRecord) -> bool:
        if is_leased(record) or seconds_until(record.job.retry_time) > 0:
            return False
        return -seconds_until(_last_sent(record)) > self._grace

    async def _update_journal(self, journal: JobJournal, entries: list[IndexEntry]) -> None:
        """Restores jobs of the journal that the message server lost, and brings the journal up to date."""
        names = {entry.name for entry in entries}
        records = {name: record for name, record in journal.records.items() if name in names}
        for name in journal.records.keys() - names:
            stored = await self._store.find(name)
            if stored is None:
                lost = journal.records[name]
                records[name] = lost if name in self._running() else await self._restore(lost)
        divided = _newly_divided(records, entries)
        new = [entry for entry in entries if entry.name not in records or entry.name in divided]
        records.update({stored.job.name: stored.record for stored in await self._store.read(new)})
        journal.replace(record for record in records.values() if record.job.state not in TERMINAL)

    async def _restore(self, lost: JobRecord) -> JobRecord:
        """Stores a lost record again. A worker that still has the job keeps it; otherwise it is sent again."""
        record = copy_of(lost)
        add_line(record, LOST_DATA)
        if record.lease:
            record.lease_expire_time.CopyFrom(from_now(_RESTORED_LEASE_SECONDS))
        else:
            record.job.state = Job.STATE_SUBMITTED
        if await self._store.create(record) is not None:
            _log.warning("the message server has lost its data; job restored", job=record.job.name)
            if not record.lease:
                await self._store.publish(record.job.name)
        return record


def _newly_divided(records: Mapping[str, JobRecord], entries: Iterable[IndexEntry]) -> set[str]:
    """The names of jobs that have parts of which their records do not know."""
    parts = {part_name(name, part) for name, record in records.items() for part in record.partitions}
    return {entry.name.rpartition("-")[0] for entry in entries if entry.is_partition and entry.name not in parts}


def _last_sent(record: JobRecord) -> Timestamp:
    return max(record.publish_time, record.job.create_time, key=lambda stamp: stamp.ToNanoseconds())
