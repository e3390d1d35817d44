"""Jobs on a real NATS server: one job, once, whatever dies."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from unittest.mock import AsyncMock

import pytest
from google.protobuf.wrappers_pb2 import StringValue
from nats.js.errors import NotFoundError

from prisma.common.v1.job_pb2 import Job, JobRecord
from services.chassis import job_transitions
from services.chassis.errors import Aborted, RequestIdReused, StorageFull, Unavailable, reason_of
from services.chassis.job_context import JobContext, LeaseLost
from services.chassis.job_index import IndexEntry, entry_of
from services.chassis.job_journal import JobJournal
from services.chassis.job_run import Run, StopReason
from services.chassis.job_service import parse_query
from services.chassis.job_store import TERMINAL, JobNotFound
from services.chassis.job_sweeper import Sweeper
from services.chassis.job_worker import JobKind, Worker
from services.chassis.jobs import Cursor, Jobs, WrongJobState
from services.chassis.nats import BUCKET, DEAD, JOBS, NatsLink, NatsUnavailable, connect
from services.chassis.threads import cancel_until_done
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
async def working(link: NatsLink, jobs: Jobs, *kinds: JobKind) -> AsyncGenerator[Worker]:
    worker = Worker(link, jobs, kinds)
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        await worker.stop()
        await cancel_until_done(task)


async def until(condition: Callable[[], bool | Awaitable[bool]], seconds: float = 40.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        outcome = condition()
        if outcome if isinstance(outcome, bool) else await outcome:
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
    values: list[str] = []

    async def note(request: StringValue, _context: JobContext) -> None:
        values.append(request.value)

    async with working(link, jobs, doing(note)), working(link, jobs, doing(note)):
        names = [(await jobs.submit("test", "count", StringValue(value=str(n)))).name for n in range(20)]
        for name in names:
            assert (await ended(jobs, name)).state == Job.STATE_SUCCEEDED
    assert sorted(values) == sorted(str(n) for n in range(20))


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
    await Sweeper(link, jobs, "test", grace=0.0).sweep()
    async with working(link, jobs, counting(tmp_path, "one", 2.0, total=2, pause=0.0)):
        assert (await ended(jobs, job.name)).state == Job.STATE_SUCCEEDED


async def test_the_sweeper_leaves_a_job_with_a_message_and_forgets_old_ones(
    link: NatsLink, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = await jobs.submit("test", "count", StringValue(value="a"))
    over = await jobs.submit("test", "count", StringValue(value="b"))
    await jobs.cancel(over.name)
    monkeypatch.setattr(Sweeper, "KEEP_SECONDS", 0.0)
    sweeper = Sweeper(link, jobs, "test", grace=0.0)
    await sweeper.sweep()
    await sweeper.tidy()
    assert (await jobs.store.get(waiting.name)).record.publish_count == 1
    with pytest.raises(JobNotFound):
        await jobs.get(over.name)


async def test_a_job_that_makes_no_progress_is_given_up_and_buried(
    link: NatsLink, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_transitions, "MAX_ATTEMPTS", 2)
    tries: list[int] = []

    async def fail(_request: StringValue, context: JobContext) -> None:
        tries.append(context.attempt)
        raise Aborted("something came between")

    async with working(link, jobs, doing(fail, ack_wait=0.5)):
        job = await jobs.submit("test", "count", StringValue())
        done = await ended(jobs, job.name)
    assert done.state == Job.STATE_FAILED
    assert tries == [1, 2]
    assert reason_of(done.error) == "JOB_ATTEMPTS_EXHAUSTED"
    assert "something came between" in done.error.message
    buried = await link.stream.get_last_msg(DEAD, "prisma.dead.test.count")
    assert JobRecord.FromString(buried.data or b"").job.name == job.name


async def test_an_error_that_no_retry_mends_fails_the_job_at_once(link: NatsLink, jobs: Jobs) -> None:
    async def fail(_request: StringValue, _context: JobContext) -> None:
        raise WrongJobState("not embedded")

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
    with pytest.raises(WrongJobState):
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
        job_transitions.end(record, Job.STATE_SUCCEEDED)
        return True

    await jobs.store.change(job.name, finished)
    async with working(link, jobs, counting(tmp_path, "one", 1.0)):
        await until(lambda: no_message(jobs, job))
    assert steps(tmp_path) == []


async def test_nothing_is_written_without_the_lease(link: NatsLink, jobs: Jobs) -> None:
    job = await jobs.submit("test", "count", StringValue())
    stored = await jobs.store.get(job.name)
    record = JobRecord()
    record.CopyFrom(stored.record)
    job_transitions.begin(record, 30.0)
    mine = await jobs.store.replace(stored, record)
    assert mine is not None
    context = JobContext(jobs.store, mine, 30.0)
    await context.prove()

    def steal(other: JobRecord) -> bool:
        job_transitions.begin(other, 30.0)
        return True

    await jobs.store.change(job.name, steal)
    with pytest.raises(LeaseLost):
        await context.prove()
    with pytest.raises(LeaseLost):
        await context.checkpoint()


async def test_work_that_is_stopped_without_its_lease_knows_it(link: NatsLink, jobs: Jobs) -> None:
    """A training writes no last checkpoint then."""
    stored = await jobs.store.get((await jobs.submit("test", "count", StringValue())).name)
    record = job_transitions.copy_of(stored.record)
    job_transitions.begin(record, 30.0)
    mine = await jobs.store.replace(stored, record)
    assert mine is not None
    begun, lost = asyncio.Event(), list[bool]()

    async def work(_request: StringValue, context: JobContext) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            lost.append(context.lost)

    run = Run(jobs.store, JobKind("test", "count", StringValue, work), stored=mine, message=AsyncMock())
    attempt = asyncio.create_task(run.execute())
    await begun.wait()
    run.stop(StopReason.LEASE_LOST)
    await attempt
    assert lost == [True]


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
        updates = [(update.state, update.progress.done) async for update in jobs.watch(job.name)]
    assert updates[-1] == (Job.STATE_SUCCEEDED, 12)
    assert [done for _state, done in updates] == sorted(done for _state, done in updates)


async def state_is(jobs: Jobs, name: str, state: Job.State) -> bool:
    return (await jobs.get(name)).state == state


@pytest.mark.parametrize(
    "outage",
    [
        Unavailable("the neighbour is away"),
        StorageFull("no space left"),
        OSError("384000 requested and 305120 written"),  # numpy on a full disk
    ],
)
async def test_an_outage_makes_the_job_wait_and_counts_no_attempt(
    link: NatsLink, jobs: Jobs, outage: Exception
) -> None:
    tries: list[int] = []
    over = asyncio.Event()

    async def work(_request: StringValue, context: JobContext) -> None:
        tries.append(context.attempt)
        if not over.is_set():
            raise outage

    async with working(link, jobs, doing(work)):
        job = await jobs.submit("test", "count", StringValue())
        await until(lambda: state_is(jobs, job.name, Job.STATE_WAITING))
        waiting = await jobs.get(job.name)
        assert waiting.attempt == 0
        assert reason_of(waiting.error) in {"SERVICE_UNAVAILABLE", "STORAGE_FULL"}
        assert waiting.retry_time.ToNanoseconds() > waiting.start_time.ToNanoseconds()
        await until(lambda: len(tries) >= 3)
        over.set()
        done = await ended(jobs, job.name)
    assert (done.state, done.attempt) == (Job.STATE_SUCCEEDED, 1)
    assert set(tries) == {1}
    assert not done.HasField("error") and not done.HasField("retry_time")
    assert sum(line.text.startswith("waits: ") for line in done.log) == 1


async def test_an_outage_longer_than_five_attempts_fails_nothing(
    link: NatsLink, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_transitions, "MIN_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(job_transitions, "MAX_WAIT_SECONDS", 0.02)
    tries: list[int] = []

    async def work(_request: StringValue, _context: JobContext) -> None:
        tries.append(1)
        if len(tries) <= 3 * job_transitions.MAX_ATTEMPTS:
            raise Unavailable("the neighbour is away")

    async with working(link, jobs, doing(work)):
        job = await jobs.submit("test", "count", StringValue())
        assert (await ended(jobs, job.name)).state == Job.STATE_SUCCEEDED


def test_a_waiting_job_is_retried_after_one_second_doubling_to_sixty_until_a_checkpoint() -> None:
    record = JobRecord()

    def next_wait() -> int:
        job_transitions.begin(record, 30.0)
        job_transitions.wait(record, Unavailable("away"))
        assert record.job.attempt == record.attempts_without_checkpoint == 0
        return round(job_transitions.seconds_until(record.job.retry_time))

    assert [next_wait() for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    job_transitions.note_checkpoint(record)
    assert next_wait() == 1


def test_a_job_that_waited_for_a_day_fails_and_says_for_what() -> None:
    record = JobRecord()
    job_transitions.wait(record, Unavailable("the provider is away"))
    assert record.job.state == Job.STATE_WAITING
    record.outage_start_time.FromSeconds(int(time.time()) - 24 * 3600 - 1)
    job_transitions.wait(record, Unavailable("the provider is away"))
    assert record.job.state == Job.STATE_FAILED
    assert reason_of(record.job.error) == "JOB_ATTEMPTS_EXHAUSTED"
    assert "24 hours" in record.job.error.message and "the provider is away" in record.job.error.message


async def test_a_waiting_job_is_cancelled_or_retried_at_once(
    link: NatsLink, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_transitions, "MIN_WAIT_SECONDS", 3600.0)
    monkeypatch.setattr(job_transitions, "MAX_WAIT_SECONDS", 3600.0)
    over = asyncio.Event()

    async def work(_request: StringValue, _context: JobContext) -> None:
        if not over.is_set():
            raise Unavailable("the neighbour is away")

    async with working(link, jobs, doing(work)):
        cancelled, retried = [await jobs.submit("test", "count", StringValue()) for _ in range(2)]
        for job in (cancelled, retried):
            await until(lambda job=job: state_is(jobs, job.name, Job.STATE_WAITING))
        listed = await jobs.list(parse_query("state = WAITING"))
        assert {job.name for job in listed} == {cancelled.name, retried.name}
        assert (await jobs.cancel(cancelled.name)).state == Job.STATE_CANCELLED
        over.set()
        await jobs.retry(retried.name)
        assert (await ended(jobs, retried.name)).state == Job.STATE_SUCCEEDED
        assert (await jobs.get(cancelled.name)).state == Job.STATE_CANCELLED


async def test_jobs_outlive_the_message_servers_data(
    link: NatsLink, jobs: Jobs, nats_server: NatsServer, tmp_path: Path
) -> None:
    """The running one goes on under its worker; the one in the queue is restored from its service's own copy."""
    kind = counting(tmp_path, "one", ack_wait=20.0, total=30)
    async with working(link, jobs, kind) as worker:
        journal = JobJournal(tmp_path / "journal")
        sweeper = Sweeper(
            link, jobs, "test", journal=journal, running=lambda: worker.running_jobs, every=0.5, grace=0.5
        )
        sweeping = asyncio.create_task(sweeper.run())
        try:
            running = await jobs.submit("test", "count", StringValue(value="running"), resources=["datasets/a"])
            queued = await jobs.submit("test", "count", StringValue(value="queued"), resources=["datasets/a"])
            await until(lambda: len(steps(tmp_path, "running")) >= 3)
            await until(lambda: journal.records.keys() == {running.name, queued.name})
            nats_server.lose_data()
            for name in (running.name, queued.name):
                job = await ended(jobs, name)
                assert job.state == Job.STATE_SUCCEEDED
                assert any("has lost its data" in line.text for line in job.log)
            assert steps(tmp_path, "running") == list(range(30))
            listed = await jobs.list(parse_query('resource = "datasets/a"'))
            assert {job.name for job in listed} == {running.name, queued.name}
        finally:
            await cancel_until_done(sweeping)


async def test_a_service_that_starts_later_restores_its_jobs(
    link: NatsLink, jobs: Jobs, nats_server: NatsServer, tmp_path: Path
) -> None:
    job = await jobs.submit("test", "count", StringValue(value="steps"))
    await Sweeper(link, jobs, "test", journal=JobJournal(tmp_path / "journal")).sweep()
    nats_server.lose_data()
    await until(lambda: link.connected)
    await until(lambda: link.has_lost_data)
    with pytest.raises(NatsUnavailable, match="restoring their jobs"):
        await jobs.get(job.name)
    await Sweeper(link, jobs, "test", journal=JobJournal(tmp_path / "journal")).sweep()
    async with working(link, jobs, counting(tmp_path, "one", 2.0, total=2, pause=0.0)):
        assert (await ended(jobs, job.name)).state == Job.STATE_SUCCEEDED


async def test_an_unknown_job_is_explained(jobs: Jobs) -> None:
    with pytest.raises(JobNotFound, match=r"30 days after their end, .* lost with the message server's data"):
        await jobs.get("jobs/test.0123")


@pytest.fixture
async def many(jobs: Jobs) -> Jobs:
    """3,000 ended jobs on 300 datasets, and three that have not ended."""

    async def submit(number: int) -> None:
        job = Job(name=f"jobs/test.{number:032x}", service="test", kind="count" if number % 2 else "other")
        job.state = Job.STATE_SUCCEEDED if number % 10 else Job.STATE_FAILED
        job.resources.append(f"datasets/{number % 300}")
        job.create_time.FromMilliseconds(int(time.time() * 1000) - number * 60_000)  # over two days
        await jobs.store.create(JobRecord(job=job))
        await jobs.store.index.deactivate(job)

    for start in range(0, 3000, 200):
        await asyncio.gather(*(submit(number) for number in range(start, start + 200)))
    for dataset in ("datasets/7", "datasets/7", "datasets/8"):
        await jobs.submit("test", "count", StringValue(), resources=[dataset])
    return jobs


async def test_finding_jobs_costs_the_same_however_many_there_are_and_pages_hold_each_once(
    many: Jobs, link: NatsLink
) -> None:
    async def cost(call: Awaitable[object]) -> int:
        before = link.requests_sent
        await call
        return link.requests_sent - before

    assert await cost(many.active_for("datasets/7", "count")) <= 3
    assert await cost(many.active_for("datasets/9", "count")) <= 1
    assert await cost(many.list(limit=51)) <= 55
    assert await cost(many.list(parse_query('resource = "datasets/9"'))) <= 12
    assert await cost(many.list(parse_query("state = SUBMITTED"))) <= 5
    assert await cost(Sweeper(link, many, "test").sweep()) <= 3
    assert await cost(many.cancel_for("datasets/7")) <= 15
    assert await many.active_for("datasets/7", "count") is None
    assert await many.active_for("datasets/8", "count") is not None
    await check_pages(many)


async def check_pages(many: Jobs) -> None:
    """Pages hold every job once, the newest first."""
    pages: list[list[Job]] = []
    after: Cursor | None = None
    while page := await many.list(parse_query("kind = other AND state = FAILED"), after=after, limit=100):
        pages.append(page)
        after = Cursor.of(page[-1])
    names = [job.name for page in pages for job in page]
    assert [len(page) for page in pages] == [100, 100, 100]
    assert names == [f"jobs/test.{number:032x}" for number in range(0, 3000, 10)]


async def test_jobs_of_an_older_version_are_entered_in_the_indexes(link: NatsLink, jobs: Jobs) -> None:
    job = await jobs.submit("test", "count", StringValue(), resources=["datasets/a"])
    await jobs.store.index.remove_entry(IndexEntry.of_subject(str(entry_of(job))))
    assert await jobs.list() == []
    await Sweeper(link, jobs, "test").tidy()
    active = await jobs.active_for("datasets/a", "count")
    assert active is not None and active.name == job.name
    assert [listed.name for listed in await jobs.list()] == [job.name]


async def test_what_a_crash_leaves_in_the_indexes_is_ignored_and_swept(link: NatsLink, jobs: Jobs) -> None:
    job = await jobs.submit("test", "count", StringValue(), resources=["datasets/a"])
    await jobs.cancel(job.name)
    await jobs.store.index.activate(job)  # as if the worker died before it removed it
    orphan = Job(name="jobs/test.0abc", service="test", kind="count", resources=["datasets/a"])
    orphan.create_time.FromSeconds(1)
    await jobs.store.index.enter(orphan)  # as if its submitter died before the record was written
    assert await jobs.active_for("datasets/a", "count") is None
    assert [listed.name for listed in await jobs.list()] == [job.name]
    await link.stream.purge_stream(JOBS)
    await Sweeper(link, jobs, "test").sweep()
    assert await jobs.store.index.active() == []
    assert [entry.name for entry in await jobs.store.index.all()] == [job.name]


async def test_settings_of_an_operator_survive_a_restart(link: NatsLink, nats_server: NatsServer) -> None:
    config = (await link.stream.stream_info(JOBS)).config
    await link.stream.update_stream(config.evolve(max_msgs=12345, description="ours"))
    again = await connect(nats_server.url)
    updated = (await again.stream.stream_info(JOBS)).config
    assert (updated.max_msgs, updated.description) == (12345, "ours")
    await again.close()


async def test_the_stream_of_former_events_is_deleted(link: NatsLink, nats_server: NatsServer) -> None:
    await link.stream.add_stream(name="PRISMA_EVENTS", subjects=["prisma.events.>"])
    again = await connect(nats_server.url)
    with pytest.raises(NotFoundError):
        await again.stream.stream_info("PRISMA_EVENTS")
    await again.close()
