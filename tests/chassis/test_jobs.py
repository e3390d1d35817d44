"""Jobs on a real NATS server: one job, once, whatever dies."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from google.protobuf.wrappers_pb2 import StringValue

from prisma.common.v1.job_pb2 import Job, JobRecord
from services.chassis import job_worker
from services.chassis.errors import RequestIdReused, Unavailable, reason_of
from services.chassis.job_context import JobContext, LeaseLost
from services.chassis.job_store import TERMINAL, JobNotFound
from services.chassis.job_worker import JobKind, Sweeper, Worker
from services.chassis.jobs import Jobs, JobState
from services.chassis.nats import BUCKET, DEAD, JOBS, NatsLink, NatsUnavailable, connect
from tests.chassis.job_process import kind as counting
from tests.nats_server import NatsServer

ROOT = Path(__file__).parents[2]
Spawn = Callable[[str, float], subprocess.Popen[bytes]]


@pytest.fixture
async def link(nats_server: NatsServer) -> AsyncIterator[NatsLink]:
    link = await connect(nats_server.url)
    yield link
    await link.close()


@pytest.fixture
def jobs(link: NatsLink) -> Jobs:
    return Jobs(link)


@pytest.fixture
def spawn(nats_server: NatsServer, tmp_path: Path) -> Iterator[Spawn]:
    """Starts worker processes, and leaves none behind."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(who: str, ack_wait: float) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.chassis.job_process", nats_server.url, tmp_path, who, str(ack_wait)]
        processes.append(subprocess.Popen(command, cwd=ROOT))
        return processes[-1]

    yield start
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
        process.wait()


@asynccontextmanager
async def working(link: NatsLink, jobs: Jobs, *kinds: JobKind) -> AsyncIterator[Worker]:
    worker = Worker(link, jobs, kinds)
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        await worker.stop()
        task.cancel()
        await asyncio.wait([task])


async def until(condition: Callable[[], bool | Awaitable[bool]], seconds: float = 40.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found if isinstance(found, bool) else await found:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("waited in vain")


async def ended(jobs: Jobs, name: str) -> Job:
    async def over() -> bool:
        try:
            return (await jobs.get(name)).state in TERMINAL
        except NatsUnavailable:
            return False

    await until(over)
    return await jobs.get(name)


def doing(run: Callable[[StringValue, JobContext], Awaitable[None]], ack_wait: float = 2.0) -> JobKind:
    return JobKind("test", "count", StringValue, run, ack_wait=ack_wait)


def steps(folder: Path, name: str = "steps") -> list[int]:
    file = folder / name
    return [int(line.split()[0]) for line in file.read_text().splitlines()] if file.exists() else []


def workers_of(folder: Path, name: str = "steps") -> set[str]:
    return {line.split()[1] for line in (folder / name).read_text().splitlines()}


async def test_a_job_runs_once_and_its_message_goes(link: NatsLink, jobs: Jobs, tmp_path: Path) -> None:
    job = await jobs.submit("test", "count", StringValue(value="steps"), resources=["datasets/a"])
    async with working(link, jobs, counting(tmp_path, "one", 2.0, total=5, pause=0.01)):
        done = await ended(jobs, job.name)
        await until(lambda: no_message(jobs, done))
    assert done.state == Job.STATE_SUCCEEDED
    assert (done.attempt, done.progress.done, done.progress.total) == (1, 5, 5)
    assert steps(tmp_path) == [0, 1, 2, 3, 4]


async def no_message(jobs: Jobs, job: Job) -> bool:
    return not await jobs.store.has_message(job)


async def test_the_same_request_id_gives_the_same_job_and_another_request_is_refused(jobs: Jobs) -> None:
    first = await jobs.submit("test", "count", StringValue(value="a"), request_id="r1")
    again = await jobs.submit("test", "count", StringValue(value="a"), request_id="r1")
    assert again.name == first.name
    with pytest.raises(RequestIdReused):
        await jobs.submit("test", "count", StringValue(value="b"), request_id="r1")
    assert len(await jobs.list()) == 1


async def test_two_workers_share_the_jobs_and_run_none_twice(link: NatsLink, jobs: Jobs, tmp_path: Path) -> None:
    seen: list[str] = []

    async def note(request: StringValue, _context: JobContext) -> None:
        seen.append(request.value)

    async with working(link, jobs, doing(note)), working(link, jobs, doing(note)):
        names = [(await jobs.submit("test", "count", StringValue(value=str(n)))).name for n in range(20)]
        for name in names:
            assert (await ended(jobs, name)).state == Job.STATE_SUCCEEDED
    assert sorted(seen) == sorted(str(n) for n in range(20))


async def test_a_killed_workers_job_goes_on_with_another_from_its_last_checkpoint(
    jobs: Jobs, spawn: Spawn, tmp_path: Path
) -> None:
    first = spawn("first", 1.0)
    job = await jobs.submit("test", "count", StringValue(value="steps"))
    await until(lambda: len(steps(tmp_path)) >= 3)
    first.kill()
    spawn("second", 1.0)
    done = await ended(jobs, job.name)
    assert done.state == Job.STATE_SUCCEEDED
    assert done.attempt == 2
    assert steps(tmp_path) == list(range(20))
    assert workers_of(tmp_path) == {"first", "second"}


async def test_a_worker_stopped_beyond_its_lease_writes_nothing_when_it_wakes(
    jobs: Jobs, spawn: Spawn, tmp_path: Path
) -> None:
    first = spawn("first", 1.0)
    job = await jobs.submit("test", "count", StringValue(value="steps"))
    await until(lambda: len(steps(tmp_path)) >= 3)
    first.send_signal(signal.SIGSTOP)
    spawn("second", 1.0)
    await until(lambda: "second" in workers_of(tmp_path))
    os.kill(first.pid, signal.SIGCONT)
    done = await ended(jobs, job.name)
    assert done.state == Job.STATE_SUCCEEDED
    assert steps(tmp_path) == list(range(20))
    lines = (tmp_path / "steps").read_text().splitlines()
    turn = next(i for i, line in enumerate(lines) if line.endswith("second"))
    assert all(line.endswith("second") for line in lines[turn:])


async def test_a_killed_message_server_loses_no_job(
    jobs: Jobs, spawn: Spawn, nats_server: NatsServer, tmp_path: Path
) -> None:
    spawn("one", 1.5)
    job = await jobs.submit("test", "count", StringValue(value="steps"))
    await until(lambda: len(steps(tmp_path)) >= 3)
    nats_server.kill()
    nats_server.start()
    done = await ended(jobs, job.name)
    assert done.state == Job.STATE_SUCCEEDED
    assert steps(tmp_path) == list(range(20))


async def test_without_a_message_server_calls_say_so(jobs: Jobs, link: NatsLink, nats_server: NatsServer) -> None:
    nats_server.kill()
    await until(lambda: not link.connected)
    with pytest.raises(NatsUnavailable):
        await jobs.submit("test", "count", StringValue())
    nats_server.start()


async def test_a_lost_message_is_sent_again(link: NatsLink, jobs: Jobs, tmp_path: Path) -> None:
    job = await jobs.submit("test", "count", StringValue(value="steps"))
    await link.stream.purge_stream(JOBS)
    await Sweeper(jobs, "test", grace=0.0).sweep()
    async with working(link, jobs, counting(tmp_path, "one", 2.0, total=2, pause=0.0)):
        assert (await ended(jobs, job.name)).state == Job.STATE_SUCCEEDED


async def test_the_sweeper_leaves_a_job_with_a_message_and_forgets_old_ones(
    link: NatsLink, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = await jobs.submit("test", "count", StringValue(value="a"))
    over = await jobs.submit("test", "count", StringValue(value="b"))
    await jobs.cancel(over.name)
    monkeypatch.setattr(Sweeper, "KEEP_SECONDS", 0.0)
    await Sweeper(jobs, "test", grace=0.0).sweep()
    assert (await jobs.store.get(waiting.name)).record.publish_count == 1
    with pytest.raises(JobNotFound):
        await jobs.get(over.name)


async def test_a_job_that_makes_no_progress_is_given_up_and_buried(
    link: NatsLink, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_worker, "MAX_ATTEMPTS", 2)
    tries: list[int] = []

    async def fail(_request: StringValue, context: JobContext) -> None:
        tries.append(context.attempt)
        raise Unavailable("the provider sleeps")

    async with working(link, jobs, doing(fail, ack_wait=0.5)):
        job = await jobs.submit("test", "count", StringValue())
        done = await ended(jobs, job.name)
    assert done.state == Job.STATE_FAILED
    assert tries == [1, 2]
    assert reason_of(done.error) == "JOB_ATTEMPTS_EXHAUSTED"
    assert "the provider sleeps" in done.error.message
    buried = await link.stream.get_last_msg(DEAD, "prisma.dead.test.count")
    assert JobRecord.FromString(buried.data or b"").job.name == job.name


async def test_an_error_that_no_retry_mends_fails_the_job_at_once(link: NatsLink, jobs: Jobs) -> None:
    async def fail(_request: StringValue, _context: JobContext) -> None:
        raise JobState("not embedded")

    async with working(link, jobs, doing(fail)):
        job = await jobs.submit("test", "count", StringValue())
        done = await ended(jobs, job.name)
    assert (done.state, done.attempt, done.error.message) == (Job.STATE_FAILED, 1, "not embedded")


async def test_a_waiting_job_is_cancelled_at_once_and_a_running_one_soon(
    link: NatsLink, jobs: Jobs, tmp_path: Path
) -> None:
    waiting = await jobs.submit("test", "count", StringValue(value="waiting"))
    assert (await jobs.cancel(waiting.name)).state == Job.STATE_CANCELLED
    async with working(link, jobs, counting(tmp_path, "one", 2.0, total=10_000, pause=0.01)):
        running = await jobs.submit("test", "count", StringValue(value="running"), resources=["runs/r"])
        await until(lambda: len(steps(tmp_path, "running")) >= 2)
        await jobs.cancel_for("runs/r")
        assert (await ended(jobs, running.name)).state == Job.STATE_CANCELLED
    assert steps(tmp_path, "waiting") == []


async def test_a_cancelled_job_can_be_retried_and_one_that_succeeded_cannot(
    link: NatsLink, jobs: Jobs, tmp_path: Path
) -> None:
    job = await jobs.submit("test", "count", StringValue(value="steps"))
    await jobs.cancel(job.name)
    await jobs.retry(job.name)
    async with working(link, jobs, counting(tmp_path, "one", 2.0, total=2, pause=0.0)):
        assert (await ended(jobs, job.name)).state == Job.STATE_SUCCEEDED
    with pytest.raises(JobState):
        await jobs.retry(job.name)


async def test_a_worker_that_is_stopped_hands_its_job_back(link: NatsLink, jobs: Jobs, tmp_path: Path) -> None:
    job = await jobs.submit("test", "count", StringValue(value="steps"))
    async with working(link, jobs, counting(tmp_path, "first", 20.0)):
        await until(lambda: len(steps(tmp_path)) >= 2)
    back = await jobs.get(job.name)
    assert (back.state, back.attempt) == (Job.STATE_SUBMITTED, 0)
    async with working(link, jobs, counting(tmp_path, "second", 20.0)):
        done = await ended(jobs, job.name)
    assert (done.state, done.attempt) == (Job.STATE_SUCCEEDED, 1)
    assert steps(tmp_path) == list(range(20))


async def test_a_crash_between_the_jobs_end_and_its_acknowledgement_repeats_nothing(
    link: NatsLink, jobs: Jobs, tmp_path: Path
) -> None:
    job = await jobs.submit("test", "count", StringValue(value="steps"))

    def finished(record: JobRecord) -> bool:
        job_worker.end(record, Job.STATE_SUCCEEDED)
        return True

    await jobs.store.change(job.name, finished)
    async with working(link, jobs, counting(tmp_path, "one", 1.0)):
        await until(lambda: no_message(jobs, job))
    assert steps(tmp_path) == []


async def test_nothing_is_written_without_the_lease(link: NatsLink, jobs: Jobs) -> None:
    job = await jobs.submit("test", "count", StringValue())
    held = await jobs.store.get(job.name)
    record = JobRecord()
    record.CopyFrom(held.record)
    job_worker.begin(record, 30.0)
    mine = await jobs.store.replace(held, record)
    assert mine is not None
    context = JobContext(jobs.store, mine, 30.0)
    await context.prove()

    def steal(other: JobRecord) -> bool:
        job_worker.begin(other, 30.0)
        return True

    await jobs.store.change(job.name, steal)
    with pytest.raises(LeaseLost):
        await context.prove()
    with pytest.raises(LeaseLost):
        await context.checkpoint()


async def test_a_list_holds_every_job_though_one_changes_all_the_time_and_leaves_nothing_on_the_server(
    link: NatsLink, jobs: Jobs
) -> None:
    names = {(await jobs.submit("test", "count", StringValue(value=value))).name for value in ("still", "busy")}
    listed = asyncio.Event()

    async def change() -> None:
        while not listed.is_set():
            await jobs.store.change(max(names), lambda _record: True)  # each write has its time

    changing = asyncio.create_task(change())
    try:
        for _ in range(500):
            assert {job.name for job in await jobs.list()} == names
    finally:
        listed.set()
        await changing
    assert (await link.stream.stream_info(f"KV_{BUCKET}")).state.consumer_count == 0


async def test_watching_sends_each_state_until_the_end(link: NatsLink, jobs: Jobs, tmp_path: Path) -> None:
    job = await jobs.submit("test", "count", StringValue(value="steps"))
    async with working(link, jobs, counting(tmp_path, "one", 2.0, total=12, pause=0.1)):
        seen = [(each.state, each.progress.done) async for each in jobs.watch(job.name)]
    assert seen[-1] == (Job.STATE_SUCCEEDED, 12)
    assert [done for _state, done in seen] == sorted(done for _state, done in seen)
