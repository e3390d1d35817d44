"""Why a job takes its time, in one sentence: from its state, its place in the queue and the use of its time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prisma.common.v1.job_pb2 import Job
from services.chassis.job_counts import age
from services.chassis.job_index import IndexEntry
from services.chassis.job_store import JobStore
from services.chassis.job_transitions import TERMINAL, seconds_until

MIN_SECONDS = 1.0
"""Of an attempt, before anything is said of its time."""
UNTAKEN_SECONDS = 30.0
"""After which a job that is next in the queue should have been taken."""
_LOOKED_AT = 8
"""Records of jobs ahead in the queue, the oldest, that are looked at for one that runs."""


@dataclass(frozen=True)
class Queue:
    """Jobs of one kind that have not ended, the oldest first, and the oldest one that runs."""

    entries: Sequence[IndexEntry]
    running: Job | None

    def ahead_of(self, job: Job) -> int:
        """Jobs that were submitted before this one, those that run included."""
        created = job.create_time.ToMilliseconds()
        return sum(entry.created_milliseconds < created and entry.name != job.name for entry in self.entries)


async def explain(store: JobStore, jobs: Sequence[Job]) -> None:
    """Sets the bottleneck of jobs: one request for each kind that has queued ones. Raises NatsUnavailable."""
    queued = [job for job in jobs if job.state == Job.STATE_SUBMITTED]
    queues = {
        (service, kind): await _queue(store, service, kind)
        for service, kind in sorted({(job.service, job.kind) for job in queued})
    }
    for job in jobs:
        bottleneck = bottleneck_of(job, queues.get((job.service, job.kind)))
        if bottleneck is None:
            job.ClearField("bottleneck")
        else:
            job.bottleneck.CopyFrom(bottleneck)


def differs(job: Job, other: Job) -> bool:
    """Whether two states of a job differ, other than in the wording of its bottleneck, which counts seconds."""
    first, second = Job(), Job()
    first.CopyFrom(job)
    second.CopyFrom(other)
    for copy in (first, second):
        copy.bottleneck.ClearField("explanation")
    return first != second


async def _queue(store: JobStore, service: str, kind: str) -> Queue:
    entries = [entry for entry in await store.index.active(service=service, kind=kind) if not entry.is_partition]
    oldest_first = entries[::-1]
    oldest = await store.read(oldest_first[:_LOOKED_AT])
    return Queue(oldest_first, next((stored.job for stored in oldest if stored.job.state == Job.STATE_RUNNING), None))


def bottleneck_of(job: Job, queue: Queue | None = None) -> Job.Bottleneck | None:
    """What a job waits for or what bounds it; None where nothing can be said yet. queue: for a queued job."""
    if job.state == Job.STATE_SUBMITTED:
        return None if queue is None else _of_queued(job, queue)
    if job.state == Job.STATE_WAITING:
        return _of_waiting(job)
    if job.state == Job.STATE_RUNNING and job.HasField("bottleneck"):
        return job.bottleneck  # its worker knows its parts
    use = job.time_use
    if use.total_seconds < MIN_SECONDS:
        return None
    return _of_time(use, has_ended=job.state in TERMINAL)


def of_queued_parts(service: str, count: int) -> Job.Bottleneck:
    """Of a job of which no part runs. count: its parts that are queued."""
    parts = "one part, which is" if count == 1 else f"{count:,} parts, which are"
    text = f"Waits for {parts} queued: each {service} does something else."
    return Job.Bottleneck(kind=Job.Bottleneck.KIND_QUEUE, share=1, explanation=text)


def _of_queued(job: Job, queue: Queue) -> Job.Bottleneck:
    ahead = queue.ahead_of(job)
    if ahead:
        jobs = "1 job" if ahead == 1 else f"{ahead:,} jobs"
        text = f"Queued behind {jobs} of its kind{_progress_of(queue.running)}."
    elif age(job) > UNTAKEN_SECONDS:
        text = (
            f"Next in the queue for {_duration(age(job))}, and no {job.service} has taken it: "
            "is one running (`prisma status`)?"
        )
    else:
        text = f"Next in the queue: the {job.service} takes it as soon as it can."
    return Job.Bottleneck(kind=Job.Bottleneck.KIND_QUEUE, queued_ahead=ahead, share=1, explanation=text)


def _progress_of(running: Job | None) -> str:
    if running is None:
        return ", of which none runs"
    progress = running.progress
    if not progress.total:
        return f"; {running.name} runs"
    left = f", about {_duration(progress.seconds_left)} left" if progress.seconds_left >= 1 else ""
    return f"; {running.name} runs ({progress.done / progress.total:.0%}{left})"


def _of_waiting(job: Job) -> Job.Bottleneck:
    seconds = max(0.0, seconds_until(job.retry_time))
    text = f"Waits for something unavailable, and tries again in {_duration(seconds)}: {job.error.message}"
    return Job.Bottleneck(kind=Job.Bottleneck.KIND_OUTAGE, share=1, explanation=text)


def _of_time(use: Job.TimeUse, *, has_ended: bool) -> Job.Bottleneck:
    """By the part of the time that is largest."""
    waits, waited = ("waited", "") if has_ended else ("waits", "so far ")
    computes = "computed" if has_ended else "computes"
    stores = "read and wrote data" if has_ended else "reads and writes data"
    kinds = {
        Job.Bottleneck.KIND_JOB: (use.job_seconds, f"{waits} for another job of this service to end"),
        Job.Bottleneck.KIND_PROVIDER: (use.provider_seconds, f"{waits} for the model server {use.provider}"),
        Job.Bottleneck.KIND_SERVICE: (use.service_seconds, f"{waits} for other services of PRISMA"),
        Job.Bottleneck.KIND_STORAGE: (use.storage_seconds, f"{stores} (database and files)"),
        Job.Bottleneck.KIND_CPU: (use.compute_seconds, computes),
    }
    kind, (seconds, does) = max(kinds.items(), key=lambda item: item[1][0])
    share = seconds / use.total_seconds
    text = f"Mostly {does}: {share:.0%} of the {_duration(use.total_seconds)} {waited}".rstrip()
    if kind == Job.Bottleneck.KIND_PROVIDER and use.provider_requests:
        requests = "1 request" if use.provider_requests == 1 else f"{use.provider_requests:,} requests"
        text += f"; {requests}, median {use.provider_median_seconds:.2g} s"
    elif kind == Job.Bottleneck.KIND_CPU:
        cores = use.cpu_seconds / use.total_seconds
        text += f"; the process used {cores:.1f} of {use.cpu_cores} CPU cores"
    return Job.Bottleneck(kind=kind, share=share, explanation=f"{text}.")


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
