"""Metrics of jobs that this process runs: how long they wait and take, how they end, how much they do."""

from __future__ import annotations

import time
from functools import cache

from prometheus_client import Counter, Histogram

from prisma.common.v1.job_pb2 import Job, JobRecord

KIND = ("service", "kind")
_BUCKETS = (0.1, 0.5, 2, 10, 60, 300, 1800, 7200, 86_400)
_ENDS = {Job.STATE_SUCCEEDED: "succeeded", Job.STATE_FAILED: "failed", Job.STATE_CANCELLED: "cancelled"}
_OUTCOMES = {**_ENDS, Job.STATE_WAITING: "waiting", Job.STATE_SUBMITTED: "put_back"}

_QUEUE_SECONDS = Histogram(
    "prisma_job_queue_seconds",
    "Time from a job's submission until a worker took it, in seconds",
    KIND,
    buckets=_BUCKETS,
)
_SECONDS = Histogram(
    "prisma_job_seconds",
    "Time from a job's submission to its end, in seconds, by state: succeeded, failed, cancelled",
    [*KIND, "state"],
    buckets=_BUCKETS,
)
_ATTEMPTS = Counter("prisma_job_attempts_total", "Attempts at jobs, by how they ended", [*KIND, "outcome"])
_LEASE_LOSSES = Counter("prisma_job_lease_losses_total", "Attempts that ended because the lease was lost", KIND)
_UNITS = Counter("prisma_job_units_total", "Work done by jobs, as their progress counts it", [*KIND, "unit"])
_TIME = Counter(
    "prisma_job_time_seconds_total",
    "Time of attempts that have ended, by what took it: job, provider, service, storage, compute",
    [*KIND, "part"],
)
_PARTS = ("job", "provider", "service", "storage", "compute")
units = cache(_UNITS.labels)
"""The counter of service, kind and unit."""


def start_at_zero(service: str, kind: str) -> None:
    """Shows the outcomes of a kind before the first job: a counter that appears at 1 has not increased."""
    for outcome in (*_OUTCOMES.values(), "lease_lost"):
        _ATTEMPTS.labels(service, kind, outcome)
    _LEASE_LOSSES.labels(service, kind)


def count_start(record: JobRecord) -> None:
    """Counts the time in the queue of a job that a worker has taken for the first time."""
    job = record.job
    if job.attempt == 1 and record.publish_count == 1 and not record.outage_count:
        _QUEUE_SECONDS.labels(job.service, job.kind).observe(age(job))


def count_attempt(job: Job, time_use: Job.TimeUse) -> None:
    """Counts an attempt that has left a job in the state that it has now.

    time_use: of the attempt alone; the parts of a job count their own.
    """
    _ATTEMPTS.labels(job.service, job.kind, _OUTCOMES[job.state]).inc()
    for part in _PARTS:
        _TIME.labels(job.service, job.kind, part).inc(getattr(time_use, f"{part}_seconds"))
    count_end(job)


def count_end(job: Job) -> None:
    """Counts a job if it has ended."""
    if job.state in _ENDS:
        _SECONDS.labels(job.service, job.kind, _ENDS[job.state]).observe(age(job))


def count_lost_lease(job: Job) -> None:
    """Counts an attempt that has lost its lease."""
    _ATTEMPTS.labels(job.service, job.kind, "lease_lost").inc()
    _LEASE_LOSSES.labels(job.service, job.kind).inc()


def age(job: Job) -> float:
    """Seconds since a job was submitted; clocks of other hosts may be ahead."""
    return max(0.0, time.time() - job.create_time.ToNanoseconds() / 1e9)
