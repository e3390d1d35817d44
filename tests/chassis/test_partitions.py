"""Partitions of jobs on a real NATS server: workers share one job, and whatever ends, each row is done once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from google.protobuf.struct_pb2 import Struct
from google.protobuf.wrappers_pb2 import StringValue
from prometheus_client import REGISTRY

from prisma.common.v1.job_pb2 import Job
from services.chassis import job_transitions
from services.chassis.errors import Aborted, Unavailable, reason_of
from services.chassis.job_context import JobContext
from services.chassis.job_journal import JobJournal
from services.chassis.job_partitions import MAX_PARTITIONS, Partitions, Range, divided
from services.chassis.job_store import JobNotFound
from services.chassis.job_sweeper import Sweeper
from services.chassis.jobs import Jobs
from services.chassis.nats import NatsLink, NatsUnavailable, connect
from services.chassis.threads import cancel_until_done
from tests.chassis.fan import JOB, PART, Ledger, kinds
from tests.chassis.test_jobs import ended, until, working
from tests.nats_server import NatsServer

ROWS = list(range(12))


@pytest.fixture
async def link(nats_server: NatsServer) -> AsyncIterator[NatsLink]:
    link = await connect(nats_server.url)
    yield link
    await link.close()


@pytest.fixture
def jobs(link: NatsLink) -> Jobs:
    return Jobs(link)


async def submitted(jobs: Jobs) -> Job:
    return await jobs.submit("test", JOB, StringValue(value="request"), resources=["datasets/a"])


async def parts(jobs: Jobs, job: Job) -> list[Job]:
    record = (await jobs.store.get(job.name)).record
    stored = [await jobs.store.find(f"{job.name}-{part.id}") for part in record.partitions]
    return [part.job for part in stored if part is not None]


async def test_two_workers_share_a_job_and_its_end_comes_once_after_all_parts(link: NatsLink, jobs: Jobs) -> None:
    ledger, both = Ledger(), asyncio.Event()

    async def two_parts_are_done() -> bool:
        return (await jobs.get(job.name)).progress.done >= 8

    async def meet(context: JobContext) -> None:
        """Each worker holds one part until the other one has one too, and the last part waits for the other two."""
        if context.partition.start == 8:
            await until(two_parts_are_done, seconds=15)
        busy_tasks.add(asyncio.current_task())
        if len(busy_tasks) > 1:
            both.set()
        await both.wait()

    busy_tasks: set[object] = set()
    job = await submitted(jobs)
    one = kinds("test", ledger, who="one", before_batch=meet)
    two = kinds("test", ledger, who="two", before_batch=meet)
    async with working(link, jobs, *one), working(link, jobs, *two):
        done = await ended(jobs, job.name)
    assert (done.state, done.attempt) == (Job.STATE_SUCCEEDED, 1)
    assert (done.progress.done, done.progress.total, done.progress.unit) == (12, 12, "rows")
    assert sorted(ledger.rows) == ROWS
    assert ledger.workers == {"one", "two"}
    assert ledger.counts == [12]
    units = {"service": "test", "kind": JOB, "unit": "rows"}
    assert not REGISTRY.get_sample_value("prisma_job_units_total", units), "its parts have counted them"


async def test_parts_are_not_seen_by_themselves(link: NatsLink, jobs: Jobs) -> None:
    job = await submitted(jobs)
    async with working(link, jobs, *kinds("test", Ledger())):
        await ended(jobs, job.name)
    part, second, third = await parts(jobs, job)
    assert len({part.name, second.name, third.name}) == 3
    assert [listed.name for listed in await jobs.list()] == [job.name]
    for call in (jobs.get, jobs.cancel, jobs.retry):
        with pytest.raises(JobNotFound):
            await call(part.name)


async def test_a_part_that_fails_fails_its_job_by_name_and_a_retry_does_only_what_is_left(
    link: NatsLink, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_transitions, "MAX_ATTEMPTS", 1)
    ledger, is_broken = Ledger(), True

    async def before_batch(context: JobContext) -> None:
        if is_broken and context.partition.start == 4:
            await until(lambda: len(ledger.rows) == 8)
            raise Aborted("out of luck")

    job = await submitted(jobs)
    async with (
        working(link, jobs, *kinds("test", ledger, before_batch=before_batch)),
        working(link, jobs, *kinds("test", ledger, before_batch=before_batch)),
    ):
        failed = await ended(jobs, job.name)
        assert failed.state == Job.STATE_FAILED
        assert "part 2 of 3 (4 to 7): given up after 1 attempts" in failed.error.message
        assert "out of luck" in failed.error.message
        assert reason_of(failed.error) == "JOB_ATTEMPTS_EXHAUSTED"
        assert any("part 2: attempt 1 failed: out of luck" in line.text for line in failed.log)
        assert sorted(ledger.rows) == [0, 1, 2, 3, 8, 9, 10, 11]
        is_broken = False
        await jobs.retry(job.name)
        done = await ended(jobs, job.name)
    assert done.state == Job.STATE_SUCCEEDED
    assert sorted(ledger.rows) == ROWS
    assert ledger.counts == [12]


async def test_cancelling_a_job_stops_its_parts_queued_and_running_and_a_retry_does_the_rest(
    link: NatsLink, jobs: Jobs
) -> None:
    ledger, is_blocked = Ledger(), True

    async def before_batch(_context: JobContext) -> None:
        if len(ledger.rows) >= 6 and is_blocked:
            await asyncio.Event().wait()

    job = await submitted(jobs)
    async with working(link, jobs, *kinds("test", ledger, before_batch=before_batch)):
        await until(lambda: len(ledger.rows) == 6)
        await jobs.cancel(job.name)
        assert (await ended(jobs, job.name)).state == Job.STATE_CANCELLED

        async def parts_have_ended() -> bool:
            states = [part.state for part in await parts(jobs, job)]
            return states == [Job.STATE_SUCCEEDED, Job.STATE_CANCELLED, Job.STATE_CANCELLED]

        await until(parts_have_ended)
        assert len(ledger.rows) == 6
        is_blocked = False
        await jobs.retry(job.name)
        assert (await ended(jobs, job.name)).state == Job.STATE_SUCCEEDED
    assert sorted(ledger.rows) == ROWS


async def test_a_job_whose_parts_wait_for_something_waits_and_says_for_what(link: NatsLink, jobs: Jobs) -> None:
    ledger, is_away = Ledger(), True

    async def before_batch(_context: JobContext) -> None:
        if is_away:
            raise Unavailable("the provider is away")

    job = await submitted(jobs)

    async def waits() -> bool:
        return (await jobs.get(job.name)).state == Job.STATE_WAITING

    async with working(link, jobs, *kinds("test", ledger, before_batch=before_batch)):
        await until(waits)
        waiting = await jobs.get(job.name)
        assert "(0 to 3): the provider is away" in waiting.error.message
        assert waiting.attempt == 0
        is_away = False
        await jobs.retry(job.name)
        assert (await ended(jobs, job.name)).state == Job.STATE_SUCCEEDED
    assert sorted(ledger.rows) == ROWS


async def test_a_job_in_parts_outlives_the_message_servers_data(
    link: NatsLink, jobs: Jobs, nats_server: NatsServer, tmp_path: Path
) -> None:
    ledger, is_back = Ledger(), asyncio.Event()

    async def before_batch(_context: JobContext) -> None:
        if len(ledger.rows) >= 6:
            await is_back.wait()

    job = await submitted(jobs)
    async with working(link, jobs, *kinds("test", ledger, before_batch=before_batch, ack_wait=5.0)) as worker:
        journal = JobJournal(tmp_path / "journal")
        sweeper = Sweeper(
            link, jobs, "test", journal=journal, running=lambda: worker.running_jobs, every=0.5, grace=0.5
        )
        sweeping = asyncio.create_task(sweeper.run())
        await until(lambda: len(ledger.rows) == 6 and len(journal.records) > 2)
        generation = link.generation
        nats_server.lose_data()
        await link.wait_for_new_generation(generation, seconds=30)
        is_back.set()
        assert (await ended(jobs, job.name)).state == Job.STATE_SUCCEEDED
        await cancel_until_done(sweeping)
    assert sorted(ledger.rows) == ROWS


async def test_a_job_waits_with_its_parts_also_while_one_of_them_tries_again(link: NatsLink, jobs: Jobs) -> None:
    """Its own outages are counted, though it looks afresh in each attempt how far its parts are."""
    ledger, is_back, tried = Ledger(), asyncio.Event(), set[int]()

    async def before_batch(context: JobContext) -> None:
        start = context.partition.start
        if start == 8 or is_back.is_set():
            return
        if start in tried and start == 0:
            await is_back.wait()  # a slow attempt
        tried.add(start)
        raise Unavailable("the provider is away")

    job = await submitted(jobs)

    async def has_waited_twice() -> bool:
        return (await jobs.store.get(job.name)).record.outage_count > 1

    async with working(link, jobs, *kinds("test", ledger, before_batch=before_batch)):
        await until(has_waited_twice)
        waiting = await jobs.get(job.name)
        assert "1 of 3 parts done" in waiting.progress.message
        assert "waiting: the provider is away" in waiting.progress.message
        is_back.set()
        assert (await ended(jobs, job.name)).state == Job.STATE_SUCCEEDED
    assert sorted(ledger.rows) == ROWS


async def test_a_job_whose_parts_are_queued_says_so(link: NatsLink, jobs: Jobs) -> None:
    job = await submitted(jobs)
    divides, counts = kinds("test", Ledger())

    async def is_queued() -> bool:
        bottleneck = (await jobs.get(job.name)).bottleneck
        return bottleneck.explanation == "Waits for 3 parts, which are queued: each test does something else."

    async with working(link, jobs, divides):
        await until(is_queued)
        async with working(link, jobs, counts):
            done = await ended(jobs, job.name)
    assert done.bottleneck.kind != Job.Bottleneck.KIND_QUEUE


async def test_a_retry_of_a_job_whose_parts_all_succeeded_divides_it_again(link: NatsLink, jobs: Jobs) -> None:
    divisions: list[list[str]] = []

    async def after_parts(context: JobContext) -> None:
        divisions.append([part.id for part in context.record.partitions])
        if len(divisions) == 1:
            raise JobNotFound("any error that is no outage")

    job = await submitted(jobs)
    async with working(link, jobs, *kinds("test", Ledger(), after_parts=after_parts)):
        assert (await ended(jobs, job.name)).state == Job.STATE_FAILED
        await jobs.retry(job.name)
        assert (await ended(jobs, job.name)).state == Job.STATE_SUCCEEDED
    first, second = divisions
    assert not set(first) & set(second)


async def test_what_former_parts_did_is_stored_with_the_next_division_or_not_at_all(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await submitted(jobs)
    context = JobContext(jobs.store, await jobs.store.get(job.name), ack_wait=5.0)
    partitions = Partitions(context, kind=PART, request=StringValue(), unit="rows")
    result = Struct()
    result["embedded"] = 7

    async def fail(*_arguments: object) -> None:
        raise NatsUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(jobs.store, "replace", fail)
        with pytest.raises(NatsUnavailable):
            await partitions.divide([Range(0, 4, 4)], result=result)
    await context.prove()
    assert not len((await jobs.store.get(job.name)).record.result)
    await partitions.divide([Range(0, 4, 4)], result=result)
    stored = await jobs.store.get(job.name)
    assert (stored.record.result["embedded"], len(stored.record.partitions)) == (7, 1)

    outdated = job_transitions.copy_of(stored.record)  # restored by another process, from before the division
    del outdated.partitions[:]
    await jobs.store.replace(stored, outdated)
    await context.prove()
    assert (await jobs.store.get(job.name)).record.partitions == stored.record.partitions


async def test_a_job_restored_without_its_division_stops_the_parts_of_that(
    link: NatsLink, jobs: Jobs, nats_server: NatsServer, tmp_path: Path
) -> None:
    ledger = Ledger()

    async def before_batch(context: JobContext) -> None:
        if context.partition.id in first_parts:
            await asyncio.Event().wait()

    first_parts: set[str] = set()
    outdated, current = (
        Sweeper(link, jobs, "test", journal=JobJournal(tmp_path / name), every=0.5, grace=0.5)
        for name in ("outdated", "current")
    )
    journal = current._journal  # pyright: ignore[reportPrivateUsage]
    assert journal is not None
    job = await submitted(jobs)
    for sweeper in (outdated, current):
        await sweeper.sweep()
    divides, counts = kinds("test", ledger, before_batch=before_batch, ack_wait=5.0)

    async def is_divided() -> bool:
        first_parts.update(part.id for part in (await jobs.store.get(job.name)).record.partitions)
        return len(await parts(jobs, job)) == 3

    async with working(link, jobs, divides):
        await until(is_divided)
        old = await parts(jobs, job)
    await current.sweep()
    assert {part.id for part in journal.records[job.name].partitions} == first_parts, "the copy knows the division"
    async with working(link, jobs, counts):

        async def runs() -> bool:
            return any(part.state == Job.STATE_RUNNING for part in await parts(jobs, job))

        await until(runs)
        generation = link.generation
        nats_server.lose_data()
        await link.wait_for_new_generation(generation, seconds=30)
        await outdated.sweep()
        async with working(link, jobs, divides):
            assert (await ended(jobs, job.name)).state == Job.STATE_SUCCEEDED
    assert sorted(ledger.rows) == ROWS
    left = [await jobs.store.find(part.name) for part in old]
    assert Job.STATE_CANCELLED in {stored.job.state for stored in left if stored is not None}


def test_parts_of_latents_are_no_smaller_than_asked_for_and_keep_their_order() -> None:
    ranges = divided(list(range(64, -1, -1)), 32)
    assert [list(part.indices) for part in ranges] == [list(range(64, 32, -1)), list(range(32, -1, -1))]
    assert [(part.start, part.stop, part.size) for part in ranges] == [(33, 65, 32), (0, 33, 33)]
    assert [part.size for part in divided(range(6400), 1)] == [100] * MAX_PARTITIONS
    assert divided([], 32) == []
