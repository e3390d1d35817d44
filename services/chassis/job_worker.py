"""Takes jobs from the queue and runs them. Taking a delivery writes a lease; a worker that lost it stops silently."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from nats.aio.msg import Msg
from nats.js import JetStreamContext, api

from prisma.common.v1.job_pb2 import Job, JobMessage
from services.chassis import context, job_counts, job_transitions, logs, tracing
from services.chassis.job_run import LOOK_SECONDS, OUTAGES, JobKind, Run, StopReason
from services.chassis.job_store import StoredJob
from services.chassis.job_transitions import TERMINAL, AttemptsExhausted, begin, copy_of, end, is_leased, seconds_until
from services.chassis.jobs import Jobs
from services.chassis.nats import JOBS, NatsLink

__all__ = ["JobKind", "Worker"]
STOP_SECONDS = 7.0
"""How long a process that is stopping waits until its jobs are handed back."""
_FETCH_SECONDS = 5.0
_LEASE_MARGIN_SECONDS = 0.1

_log = logs.get(__name__)


class Worker:
    """Runs jobs of some kinds until it is stopped."""

    def __init__(self, link: NatsLink, jobs: Jobs, kinds: Sequence[JobKind]) -> None:
        self._link = link
        self._store = jobs.store
        self._kinds = kinds
        self._running: dict[asyncio.Task[None], Run] = {}
        self._stopping = False
        for kind in kinds:
            job_counts.start_at_zero(kind.service, kind.name)

    @property
    def running_count(self) -> int:
        """Jobs that run at this moment."""
        return len(self._running)

    @property
    def running_jobs(self) -> set[str]:
        """Their names."""
        return {run.name for run in self._running.values()}

    async def run(self) -> None:
        """Takes and runs jobs until cancelled."""
        async with asyncio.TaskGroup() as group:
            for kind in self._kinds:
                for _ in range(kind.concurrency):
                    group.create_task(self._serve(kind))

    async def stop(self) -> None:
        """Hands running jobs back: another worker continues them at once, and it does not count as an attempt."""
        self._stopping = True
        for run in list(self._running.values()):
            run.stop(StopReason.DRAINING)
        if self._running:
            await asyncio.wait(list(self._running), timeout=STOP_SECONDS)

    async def _serve(self, kind: JobKind) -> None:
        """Runs jobs of one kind, one after the other, across outages of the message server."""
        while not self._stopping:
            try:
                await self._link.ready()
                generation = self._link.generation
                subscription = await self._subscribe(kind)
                while not self._stopping and self._link.connected and self._link.generation == generation:
                    await self._serve_next(kind, subscription)
            except OUTAGES as error:
                _log.warning("cannot take jobs", kind=kind.name, error=str(error) or type(error).__name__)
                await asyncio.sleep(LOOK_SECONDS)

    async def _subscribe(self, kind: JobKind) -> JetStreamContext.PullSubscription:
        return await self._link.stream.pull_subscribe(
            f"prisma.jobs.{kind.service}.{kind.name}.*",
            durable=f"{kind.service}-{kind.name}",
            stream=JOBS,
            config=api.ConsumerConfig(ack_wait=kind.ack_wait, max_deliver=-1),
        )

    async def _serve_next(self, kind: JobKind, subscription: JetStreamContext.PullSubscription) -> None:
        try:
            messages = await subscription.fetch(1, timeout=_FETCH_SECONDS)
        except TimeoutError:
            return
        for message in messages:
            await self._handle(kind, message)

    async def _handle(self, kind: JobKind, message: Msg) -> None:
        name = JobMessage.FromString(message.data).name
        stored = await self._take(kind, name, message)
        if stored is None:
            return
        context.request_id.set(stored.record.origin_request_id)
        context.user.set(stored.record.user)
        run = Run(self._store, kind, stored=stored, message=message)
        with tracing.span(
            f"run {kind.name}",
            "consumer",
            parent=stored.record.traceparent,
            job=stored.job.name,
            attempt=stored.job.attempt,
            request_id=stored.record.origin_request_id,
        ):
            task = asyncio.create_task(run.execute())
            self._running[task] = run
            try:
                await task
            finally:
                del self._running[task]

    async def _take(self, kind: JobKind, name: str, message: Msg) -> StoredJob | None:
        """Takes the lease; None if there is nothing to do, and the message is dealt with."""
        while True:
            stored = await self._store.find(name)
            if stored is None or stored.job.state in TERMINAL:
                await message.ack()
                return None
            if is_leased(stored.record):
                # Another worker has it; if that one dies, this delivery is the next.
                await message.nak(delay=seconds_until(stored.record.lease_expire_time) + _LEASE_MARGIN_SECONDS)
                return None
            written = await self._begin_or_end(kind, stored)
            if written is None:
                continue
            if written.job.state in TERMINAL:
                job_counts.count_end(written.job)
                await message.ack()
                return None
            job_counts.count_start(written.record)
            return written

    async def _begin_or_end(self, kind: JobKind, stored: StoredJob) -> StoredJob | None:
        """Writes that the job begins, or that it has ended; None if the record was changed meanwhile."""
        record = copy_of(stored.record)
        if record.job.cancel_requested or await self._store.is_abandoned(record):
            end(record, Job.STATE_CANCELLED)
        elif record.attempts_without_checkpoint >= job_transitions.MAX_ATTEMPTS:
            last_error = record.job.error.message or "its worker died without reporting an error"
            message = f"given up after {job_transitions.MAX_ATTEMPTS} attempts without progress; the last: {last_error}"
            end(record, Job.STATE_FAILED, AttemptsExhausted(message))
            await self._store.bury(record)
        else:
            begin(record, kind.ack_wait)
        return await self._store.replace(stored, record)
