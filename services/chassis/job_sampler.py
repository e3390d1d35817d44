"""Metrics of a service's jobs that have not ended: how many wait and run, the age of the oldest, what they wait for."""

from __future__ import annotations

import asyncio
from collections import Counter as Count
from collections.abc import Sequence

from prometheus_client import Gauge

from prisma.common.v1.job_pb2 import Job
from services.chassis import logs
from services.chassis.errors import reason_of
from services.chassis.job_counts import KIND, age
from services.chassis.job_run import OUTAGES, JobKind
from services.chassis.job_store import JobStore, StoredJob

SAMPLE_SECONDS = 5.0
MAX_RECORDS = 1000
"""Records that one sample reads; more jobs that have not ended count as queued."""
_STATES = {Job.STATE_SUBMITTED: "submitted", Job.STATE_RUNNING: "running", Job.STATE_WAITING: "waiting"}

_log = logs.get(__name__)

_QUEUED = Gauge("prisma_jobs_queued", "Jobs that wait for a worker", KIND)
_OLDEST = Gauge("prisma_jobs_oldest_queued_seconds", "Age of the oldest job that waits for a worker, in seconds", KIND)
_JOBS = Gauge("prisma_jobs", "Jobs that have not ended, by state: submitted, running, waiting", [*KIND, "state"])
_WAITING = Gauge("prisma_jobs_waiting", "Jobs that wait for something unavailable, by its reason", [*KIND, "reason"])


class JobSampler:
    """Shows the jobs of a service that have not ended. Replicas of a service show the same jobs: use `max`."""

    def __init__(self, store: JobStore, kinds: Sequence[JobKind]) -> None:
        self._store = store
        self._kinds = [(kind.service, kind.name) for kind in kinds]
        self._service = kinds[0].service

    async def run(self) -> None:
        """Samples until cancelled."""
        while True:
            try:
                await self.sample()
            except OUTAGES as error:
                _log.debug("the metrics of jobs wait for the message server", error=str(error))
            await asyncio.sleep(SAMPLE_SECONDS)

    async def sample(self) -> None:
        """One sample: one request, and one more for each job. Raises NatsUnavailable."""
        entries = await self._store.index.active(service=self._service)
        stored = await self._store.read(entries[-MAX_RECORDS:])  # the oldest: those that run are among them
        show(self._kinds, stored, unread=Count((entry.service, entry.kind) for entry in entries[:-MAX_RECORDS]))


def show(kinds: Sequence[tuple[str, str]], jobs: Sequence[StoredJob], *, unread: Count[tuple[str, str]]) -> None:
    """Shows jobs that have not ended. unread: how many more there are of (service, kind), queued as far as is known."""
    states = Count((stored.job.service, stored.job.kind, stored.job.state) for stored in jobs)
    oldest: dict[tuple[str, str], float] = {}
    _WAITING.clear()
    for stored in jobs:
        job = stored.job
        if job.state == Job.STATE_SUBMITTED:
            oldest[job.service, job.kind] = max(age(job), oldest.get((job.service, job.kind), 0))
        elif job.state == Job.STATE_WAITING:
            _WAITING.labels(job.service, job.kind, reason_of(job.error) or "UNKNOWN").inc()
    for service, kind in kinds:
        states[service, kind, Job.STATE_SUBMITTED] += unread[service, kind]
        for state, name in _STATES.items():
            _JOBS.labels(service, kind, name).set(states[service, kind, state])
        _QUEUED.labels(service, kind).set(states[service, kind, Job.STATE_SUBMITTED])
        _OLDEST.labels(service, kind).set(oldest.get((service, kind), 0))
