"""A process that shares a job dies before or after each single write of it, and another one does what is left."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from google.protobuf.wrappers_pb2 import StringValue

from prisma.common.v1.job_pb2 import Job
from services.chassis.job_sweeper import Sweeper
from services.chassis.job_worker import Worker
from services.chassis.jobs import Jobs
from services.chassis.nats import NatsLink, connect
from services.chassis.threads import cancel_until_done
from tests.chassis.fan import JOB, Ledger, MortalStore, kinds
from tests.chassis.test_jobs import ended, until, working
from tests.nats_server import NatsServer

LIMIT = 1000
"""More writes than the job has."""


async def _run(link: NatsLink, service: str, *, writes: int, after: bool) -> int:
    """Runs a job in a process that dies, then to its end in another one; returns the writes of the first."""
    ledger, jobs, mortal = Ledger(), Jobs(link), Jobs(link)
    store = MortalStore(jobs.store, writes=writes, after=after)
    mortal.store = store
    job = await jobs.submit(service, JOB, StringValue(value="request"))
    task = asyncio.create_task(Worker(link, mortal, kinds(service, ledger, who="mortal")).run())

    async def over() -> bool:
        return store.dead.is_set() or (await jobs.get(job.name)).state == Job.STATE_SUCCEEDED

    await until(over)
    await cancel_until_done(task)
    with suppress(BaseExceptionGroup, asyncio.CancelledError):
        await task
    sweeper = asyncio.create_task(Sweeper(link, jobs, service, every=0.5, grace=0.5).run())
    async with working(link, jobs, *kinds(service, ledger, who="other")):
        done = await ended(jobs, job.name)
    await cancel_until_done(sweeper)
    assert done.state == Job.STATE_SUCCEEDED, (writes, after, done)
    assert sorted(ledger.rows) == list(range(12)), (writes, after)
    assert set(ledger.counts) == {12}, (writes, after)
    assert (done.progress.done, done.progress.total) == (12, 12)
    return store.write_count


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_crash_at_any_write_loses_and_repeats_nothing(nats_server: NatsServer, after: bool) -> None:
    link = await connect(nats_server.url)
    count = await _run(link, "whole", writes=LIMIT, after=after)
    assert count > 20
    limit = asyncio.Semaphore(12)

    async def crash_at(writes: int) -> None:
        async with limit:
            await _run(link, f"crash{writes}", writes=writes, after=after)

    async with asyncio.TaskGroup() as group:
        for writes in range(count):
            group.create_task(crash_at(writes))
    await link.close()
