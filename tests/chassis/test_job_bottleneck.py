"""Why a job takes its time, in one sentence: for queued, waiting, provider-bound and CPU-bound jobs."""

from __future__ import annotations

import asyncio

import pytest

from prisma.common.v1.job_pb2 import Job
from services.chassis import job_time
from services.chassis.job_bottleneck import Queue, bottleneck_of, differs
from services.chassis.job_index import entry_of
from services.chassis.job_time import Part, TimeUse
from services.chassis.job_transitions import from_now

Kind = Job.Bottleneck


def submitted(number: int, **fields: object) -> Job:
    """The job that was submitted `number` seconds ago."""
    job = Job(name=f"jobs/trainer.{number}", service="trainer", kind="train-run", state=Job.STATE_SUBMITTED, **fields)
    job.create_time.CopyFrom(from_now(-number))
    return job


def test_a_queued_job_says_what_is_ahead_of_it() -> None:
    running = submitted(9)
    running.state = Job.STATE_RUNNING
    running.progress.CopyFrom(Job.Progress(done=45, total=100, seconds_left=300))
    jobs = [running, submitted(8), submitted(7)]
    bottleneck = bottleneck_of(jobs[2], Queue([entry_of(job) for job in jobs], running))
    assert bottleneck is not None
    assert (bottleneck.kind, bottleneck.queued_ahead) == (Kind.KIND_QUEUE, 2)
    assert bottleneck.explanation == "Queued behind 2 jobs of its kind; jobs/trainer.9 runs (45%, about 5 min left)."
    alone = bottleneck_of(submitted(100), Queue([], None))
    assert alone is not None
    assert "no trainer has taken it: is one running" in alone.explanation


def test_a_watch_does_not_repeat_a_job_whose_sentence_counts_seconds() -> None:
    job, later, moved_up = submitted(9), submitted(9), submitted(9)
    later.CopyFrom(job)
    moved_up.CopyFrom(job)
    for state, ahead, text in ((job, 2, "40 s left"), (later, 2, "39 s left"), (moved_up, 1, "39 s left")):
        state.bottleneck.queued_ahead = ahead
        state.bottleneck.explanation = text
    assert not differs(job, later)
    assert differs(job, moved_up)


def test_a_waiting_job_says_what_is_unavailable() -> None:
    job = submitted(9)
    job.state = Job.STATE_WAITING
    job.error.message = "ollama at http://host does not work"
    job.retry_time.CopyFrom(from_now(20.4))
    bottleneck = bottleneck_of(job)
    assert bottleneck is not None
    assert bottleneck.kind == Kind.KIND_OUTAGE
    assert bottleneck.explanation.endswith("tries again in 20 s: ollama at http://host does not work")


@pytest.mark.parametrize(
    ("use", "kind", "explanation"),
    [
        (
            {"provider_seconds": 90, "provider": "ollama", "provider_requests": 34, "provider_median_seconds": 1.234},
            Kind.KIND_PROVIDER,
            "Mostly waits for the model server ollama: 90% of the 100 s so far; 34 requests, median 1.2 s.",
        ),
        (
            {"compute_seconds": 97, "cpu_seconds": 190, "cpu_cores": 2},
            Kind.KIND_CPU,
            "Mostly computes: 97% of the 100 s so far; the process used 1.9 of 2 CPU cores.",
        ),
        ({"job_seconds": 60}, Kind.KIND_JOB, "Mostly waits for another job of this service to end: 60% of "),
        ({"service_seconds": 60}, Kind.KIND_SERVICE, "Mostly waits for other services of PRISMA: 60% of "),
        ({"storage_seconds": 60}, Kind.KIND_STORAGE, "Mostly reads and writes data (database and files): 60% of "),
    ],
)  # fmt: skip
def test_a_running_job_says_what_takes_most_of_its_time(use: dict[str, object], kind: int, explanation: str) -> None:
    job = Job(state=Job.STATE_RUNNING, time_use=Job.TimeUse(total_seconds=100, **use))
    bottleneck = bottleneck_of(job)
    assert bottleneck is not None
    assert bottleneck.kind == kind
    assert bottleneck.explanation.startswith(explanation)
    job.state = Job.STATE_SUCCEEDED
    bottleneck = bottleneck_of(job)
    assert bottleneck is not None
    assert "so far" not in bottleneck.explanation
    job.time_use.total_seconds = 0.5
    assert bottleneck_of(job) is None


def test_each_moment_counts_once() -> None:
    now = 0.0
    use = TimeUse(lambda: now)
    now = 1.0  # computing
    with use.during(Part.STORAGE):
        now = 3.0
        with use.during(Part.PROVIDER), use.during(Part.PROVIDER):
            now = 10.0  # waiting for two requests and the database
        now = 11.0
    for seconds in (0.5, 1.5, 3.0):
        use.note_request("ollama", seconds)
    message = use.message()
    assert (message.compute_seconds, message.storage_seconds, message.provider_seconds) == (1, 3, 7)
    assert (message.total_seconds, message.provider_requests, message.provider_median_seconds) == (11, 3, 1.5)


def test_the_time_of_a_divided_job_is_that_of_its_parts() -> None:
    own = Job.TimeUse(total_seconds=10, job_seconds=9, compute_seconds=1, cpu_cores=2)
    part = Job.TimeUse(total_seconds=8, provider_seconds=7, compute_seconds=1, provider="ollama", provider_requests=4)
    total = job_time.with_parts(own, [part, part])
    assert (total.total_seconds, total.provider_seconds, total.compute_seconds, total.job_seconds) == (17, 14, 3, 0)
    assert (total.provider, total.provider_requests) == ("ollama", 8)
    assert job_time.with_parts(own, []) == own


async def test_work_in_threads_and_tasks_counts_for_the_job_that_started_it() -> None:
    use = job_time.begin()

    def store() -> None:
        with job_time.during(Part.STORAGE):
            job_time.note_request("ollama", 2.0)

    await asyncio.create_task(asyncio.to_thread(store))
    assert use.message().provider_requests == 1
    assert use.message().storage_seconds > 0
