"""Jobs, as those see them who start, watch and cancel them.

A job's id is made of service, kind and request id, so that asking twice gives the same job. Its life stands in the KV
bucket; the queue carries only a reference.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence

from google.protobuf.message import Message

from prisma.common.v1.job_pb2 import Job, JobRecord
from services.chassis import context, names
from services.chassis.errors import FailedPrecondition, RequestIdReused
from services.chassis.job_store import TERMINAL, JobNotFound, JobStore, now
from services.chassis.nats import NatsLink

WATCH_SECONDS = 0.5
_NAMESPACE = uuid.UUID("6f0d2f4e-2c4b-5e0b-9a50-3c1f5a6f7b11")


class JobState(FailedPrecondition):
    """The job has ended, or has not."""

    reason = "JOB_STATE"


class Jobs:
    """The jobs of all services. All methods raise NatsUnavailable in an outage."""

    def __init__(self, link: NatsLink) -> None:
        self.store = JobStore(link)

    async def submit(
        self, service: str, kind: str, request: Message, *, request_id: str = "", resources: Sequence[str] = ()
    ) -> Job:
        """Starts a job, or returns the one that this request id has started. Raises RequestIdReused."""
        request_id = request_id or uuid.uuid4().hex
        digest = uuid.uuid5(_NAMESPACE, f"{service}/{kind}/{request_id}")
        job = Job(name=f"jobs/{service}.{digest.hex}", service=service, kind=kind, state=Job.STATE_SUBMITTED)
        job.resources.extend(resources)
        job.create_time.CopyFrom(now())
        job.update_time.CopyFrom(job.create_time)
        record = JobRecord(
            job=job,
            request_id=request_id,
            origin_request_id=context.request_id.get(),
            user=context.user.get(),
        )
        record.request.Pack(request, deterministic=True)
        if await self.store.create(record) is not None:
            return (await self.store.publish(job.name)).job
        known = await self.store.get(job.name)
        if known.record.request != record.request:
            raise RequestIdReused(
                f"request_id {request_id!r} was used for a different {kind} request; use a new one",
                metadata={"job": job.name},
            )
        return known.job

    async def get(self, name: str) -> Job:
        """One job. Raises InvalidArgument, JobNotFound."""
        names.parse("jobs/{job}", name, "name")
        if "." not in name:
            raise JobNotFound(f"no job is named {name!r}")
        return (await self.store.get(name)).job

    async def list(self) -> list[Job]:
        """All jobs, the newest first."""
        jobs = [held.job for held in await self.store.list()]
        return sorted(jobs, key=lambda job: (-job.create_time.ToNanoseconds(), job.name))

    async def watch(self, name: str) -> AsyncIterator[Job]:
        """The job now and after each change, until it ends. Raises JobNotFound."""
        job = await self.get(name)
        while True:
            yield job
            if job.state in TERMINAL:
                return
            last = job
            while job == last:
                await asyncio.sleep(WATCH_SECONDS)
                job = await self.get(name)

    async def cancel(self, name: str) -> Job:
        """Asks a job to stop; one that waits is cancelled at once. Raises JobNotFound."""
        await self.get(name)

        def change(record: JobRecord) -> bool:
            if record.job.state in TERMINAL or record.job.cancel_requested:
                return False
            record.job.cancel_requested = True
            if not record.lease:
                record.job.state = Job.STATE_CANCELLED
                record.job.end_time.CopyFrom(now())
            return True

        return (await self.store.change(name, change)).job

    async def cancel_for(self, resource: str) -> None:
        """Cancels all jobs that work on a resource."""
        for job in await self.list():
            if resource in job.resources and job.state not in TERMINAL:
                await self.cancel(job.name)

    async def active_for(self, resource: str, kind: str) -> Job | None:
        """The job of this kind that waits or runs on a resource, if there is one."""
        for job in await self.list():
            if job.kind == kind and resource in job.resources and job.state not in TERMINAL:
                return job
        return None

    async def retry(self, name: str) -> Job:
        """Starts a job that has failed or was cancelled again. Raises JobNotFound, JobState."""
        await self.get(name)

        def change(record: JobRecord) -> bool:
            state = record.job.state
            if state not in (Job.STATE_FAILED, Job.STATE_CANCELLED):
                shown = Job.State.Name(state).removeprefix("STATE_")
                raise JobState(
                    f"{name} is {shown}; only a job that has failed or was cancelled can be started again",
                    metadata={"state": shown},
                )
            record.job.state = Job.STATE_SUBMITTED
            record.job.cancel_requested = False
            record.job.ClearField("error")
            record.job.ClearField("end_time")
            record.attempts_without_checkpoint = 0
            record.lease = ""
            return True

        await self.store.change(name, change)
        return (await self.store.publish(name)).job
