"""Jobs, as those see them who submit, watch and cancel them.

A job's id is made of service, kind and request id, so that submitting twice gives the same job. Its record is in the KV
bucket; the queue carries only a reference.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from google.protobuf.message import Message

from prisma.common.v1.job_pb2 import Job, JobRecord
from prisma_common import names as resource_names
from services.chassis import context, job_bottleneck, names, tracing
from services.chassis.errors import FailedPrecondition, RequestIdReused
from services.chassis.job_index import IndexEntry, day_of
from services.chassis.job_store import JobNotFound, JobStore
from services.chassis.job_transitions import TERMINAL, end, now, resubmit
from services.chassis.nats import NatsLink, NatsUnavailable

WATCH_SECONDS = 0.5
OUTAGE_SECONDS = 30.0
"""How long a watch outlasts the absence of the message server: longer than a cluster takes to elect a leader."""
RETRIED_STATES = frozenset({Job.STATE_FAILED, Job.STATE_CANCELLED, Job.STATE_WAITING})
_NAMESPACE = uuid.UUID("6f0d2f4e-2c4b-5e0b-9a50-3c1f5a6f7b11")
_MIN_BATCH, _MAX_BATCH = 16, 64


class WrongJobState(FailedPrecondition):
    """The job has ended, or has not."""

    reason = "JOB_STATE"


@dataclass(frozen=True)
class JobQuery:
    """Which jobs to list."""

    resource: str | None = None
    """Only jobs on this resource."""
    active: bool = False
    """Only jobs that have not ended."""
    entry_matches: Callable[[IndexEntry], bool] = lambda _entry: True
    """A condition on service and kind, which needs no record."""
    job_matches: Callable[[Job], bool] = lambda _job: True
    """A condition on the record."""


@dataclass(frozen=True)
class Cursor:
    """Where a page of jobs ended."""

    created_milliseconds: int
    name: str

    @classmethod
    def of(cls, job: Job) -> Cursor:
        """The place of a job in the list."""
        return cls(job.create_time.ToMilliseconds(), job.name)

    def is_before(self, entry: IndexEntry) -> bool:
        """Whether an entry comes later in the list, which means that it is older."""
        return (-self.created_milliseconds, self.name) < entry.newest_first


class Jobs:
    """The jobs of all services. All methods raise NatsUnavailable in an outage."""

    def __init__(self, link: NatsLink) -> None:
        self.store = JobStore(link)

    async def submit(
        self, service: str, kind: str, request: Message, *, request_id: str = "", resources: Sequence[str] = ()
    ) -> Job:
        """Submits a job, or returns the one that this request id has submitted. Raises RequestIdReused."""
        with tracing.span(f"submit {kind}", "producer"):
            return await self._submit(service, kind, request, request_id=request_id, resources=resources)

    async def _submit(
        self, service: str, kind: str, request: Message, *, request_id: str, resources: Sequence[str]
    ) -> Job:
        record = _new_record(service, kind, request, request_id=request_id or uuid.uuid4().hex, resources=resources)
        name = record.job.name
        existing = await self.store.find(name) if request_id else None
        if existing is None:
            if await self.store.create(record) is not None:
                return (await self.store.publish(name)).job
            existing = await self.store.get(name)
        if existing.record.request != record.request:
            raise RequestIdReused(
                f"request_id {request_id!r} was used for a different {kind} request; use a new one",
                metadata={"job": name},
            )
        return existing.job

    async def get(self, name: str) -> Job:
        """One job. Raises InvalidArgument, JobNotFound."""
        names.parse("jobs/{job}", name, "name")
        if "." not in name or "-" in name:  # a part of a job is not seen by itself
            raise JobNotFound(f"there is no job {name}", metadata={"job": name})
        return (await self.store.get(name)).job

    async def explained(self, name: str) -> Job:
        """One job, with why it takes its time. Raises InvalidArgument, JobNotFound."""
        job = await self.get(name)
        await job_bottleneck.explain(self.store, [job])
        return job

    async def list(self, query: JobQuery | None = None, *, after: Cursor | None = None, limit: int = 1000) -> list[Job]:
        """Jobs, the newest first, behind `after`. Reads the records of the page, and those that the query rejects."""
        query = query or JobQuery()
        jobs: list[Job] = []
        async for entries in self._candidates(query, after):
            matching = [
                entry
                for entry in entries
                if not entry.is_partition and query.entry_matches(entry) and (after is None or after.is_before(entry))
            ]
            while matching and len(jobs) < limit:
                size = min(_MAX_BATCH, max(_MIN_BATCH, limit - len(jobs)))
                batch, matching = matching[:size], matching[size:]
                jobs += [stored.job for stored in await self.store.read(batch) if query.job_matches(stored.job)]
            if len(jobs) >= limit:
                break
        return jobs[:limit]

    async def watch(self, name: str) -> AsyncIterator[Job]:
        """The job now and after each change, until it ends. Raises JobNotFound."""
        job = await self.explained(name)
        while True:
            yield job
            if job.state in TERMINAL:
                return
            last = job
            while not job_bottleneck.differs(job, last):
                await asyncio.sleep(WATCH_SECONDS)
                job = await self._get_through_outage(name)

    async def _get_through_outage(self, name: str) -> Job:
        """The job, also where the message server is away for OUTAGE_SECONDS. Raises JobNotFound."""
        deadline = time.monotonic() + OUTAGE_SECONDS
        while True:
            try:
                return await self.explained(name)
            except NatsUnavailable:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(WATCH_SECONDS)

    async def cancel(self, name: str) -> Job:
        """Asks a job to stop; one that no worker has is cancelled at once. Raises JobNotFound."""
        await self.get(name)

        def change(record: JobRecord) -> bool:
            if record.job.state in TERMINAL or record.job.cancel_requested:
                return False
            record.job.cancel_requested = True
            if not record.lease:
                end(record, Job.STATE_CANCELLED)
            return True

        return (await self.store.change(name, change)).job

    async def cancel_for(self, resource: str) -> None:
        """Cancels all jobs that work on a resource."""
        for job in await self._active(resource):
            await self.cancel(job.name)

    async def active_for(self, resource: str, kind: str) -> Job | None:
        """The newest job of this kind on a resource that has not ended, if there is one."""
        return next(iter(await self._active(resource, kind)), None)

    async def training_of(self, run: str, latest: str | None) -> Job | None:
        """The job that trains a run now: its own, or a sweep's; None if none does. latest: its last training job."""
        job = await self.active_for(run, resource_names.TRAIN_RUN)
        if job is None and latest:
            with suppress(JobNotFound):
                job = await self.get(latest)
        return job if job is not None and job.state not in TERMINAL else None

    async def retry(self, name: str) -> Job:
        """Starts a failed, cancelled or waiting job again, at once. Raises JobNotFound, WrongJobState."""
        _check_retryable(await self.get(name))

        def change(record: JobRecord) -> bool:
            _check_retryable(record.job)
            resubmit(record)
            return True

        await self.store.index.activate((await self.store.get(name)).job)
        await self.store.change(name, change)
        return (await self.store.publish(name)).job

    async def _active(self, resource: str, kind: str = "*") -> Sequence[Job]:
        entries = await self.store.index.active(resource=resource, kind=kind)
        jobs = [stored.job for stored in await self.store.read(entries)]
        return [job for job in jobs if resource in job.resources and job.state not in TERMINAL]

    async def _candidates(self, query: JobQuery, after: Cursor | None) -> AsyncIterator[Sequence[IndexEntry]]:
        """Index entries in the order of the list, in parts: the newest days first, so that a page needs few of them."""
        if query.active:
            yield await self.store.index.active(resource=query.resource)
        elif query.resource is not None:
            yield await self.store.index.of_resource(query.resource)
        else:
            today = day_of(now().ToMilliseconds()) + 1  # clocks of other hosts may be ahead
            newest = today if after is None else day_of(after.created_milliseconds)
            days = range(newest, newest - 3, -1)
            for day in days:
                yield await self.store.index.of_day(day)
            yield [entry for entry in await self.store.index.all() if entry.day < days[-1]]


def _check_retryable(job: Job) -> None:
    if job.state not in RETRIED_STATES:
        state = Job.State.Name(job.state).removeprefix("STATE_")
        raise WrongJobState(
            f"{job.name} is {state}; only a job that has failed, was cancelled or waits can be started again",
            metadata={"state": state},
        )


def _new_record(service: str, kind: str, request: Message, *, request_id: str, resources: Sequence[str]) -> JobRecord:
    digest = uuid.uuid5(_NAMESPACE, f"{service}/{kind}/{request_id}")
    job = Job(name=f"jobs/{service}.{digest.hex}", service=service, kind=kind, state=Job.STATE_SUBMITTED)
    job.resources.extend(resources)
    job.origin_request_id = context.request_id.get()
    job.create_time.CopyFrom(now())
    job.update_time.CopyFrom(job.create_time)
    record = JobRecord(
        job=job,
        request_id=request_id,
        origin_request_id=context.request_id.get(),
        user=context.user.get(),
        traceparent=tracing.traceparent(),
    )
    record.request.Pack(request, deterministic=True)
    return record
