"""How many calls a process takes on: as many as it answers soon, however fast it is. Time is simulated."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import grpc.aio
import pytest

from prisma.common.v1 import job_pb2, job_pb2_grpc
from services.chassis.auth import Keys
from services.chassis.errors import TooManyRequests
from services.chassis.interceptors import CallInterceptor
from services.chassis.limits import QUEUE_SECONDS, RATE_SECONDS, SHORT_SECONDS, CallLimit, Waiting
from services.chassis.settings import ChassisSettings
from tests.calls import reason


@dataclass
class Clock:
    """The simulated time, in seconds."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Outcome:
    """Of a simulated load. waits: of the calls that were answered, by when they came, in seconds."""

    waits: dict[float, float] = field(default_factory=dict)
    refused: int = 0


def simulate(*, capacity: float, rate: float, seconds: float, floor: int = 32) -> Outcome:
    """Calls that come at a rate to a process that answers them one after the other, `capacity` a second."""
    clock, outcome = Clock(), Outcome()
    waiting = Waiting(floor=floor, clock=clock)
    limit = CallLimit(total=256, per_caller=256, waiting=waiting)
    queue: deque[tuple[float, ExitStack]] = deque()
    is_idle = True
    events = [(number / rate, "call") for number in range(int(rate * seconds))]
    while events:
        clock.now, kind = heapq.heappop(events)
        if kind == "answer":
            start, answered_call = queue.popleft()
            answered_call.close()
            outcome.waits[start] = clock.now - start
        else:
            call = ExitStack()
            try:
                call.enter_context(limit.call(None))
                queue.append((clock.now, call))
            except TooManyRequests:
                outcome.refused += 1
        if queue and (kind == "answer" or is_idle):
            heapq.heappush(events, (clock.now + 1 / capacity, "answer"))
        is_idle = not queue
    return outcome


@pytest.mark.parametrize("capacity", [40, 150, 1000])
@pytest.mark.parametrize("overload", [2, 10])
def test_an_overload_leaves_no_capacity_unused_and_no_call_waits_long(capacity: int, overload: int) -> None:
    outcome = simulate(capacity=capacity, rate=overload * capacity, seconds=20)
    assert len(outcome.waits) >= 0.95 * 20 * capacity
    settled = [wait for start, wait in outcome.waits.items() if start > 256 / capacity + 1]
    assert max(settled) <= max(2 * QUEUE_SECONDS, 32 / capacity) + 1 / capacity
    assert outcome.refused


def test_a_load_below_the_capacity_is_refused_nothing() -> None:
    assert simulate(capacity=150, rate=140, seconds=20).refused == 0


def test_a_burst_is_taken() -> None:
    outcome = simulate(capacity=100, rate=1_000_000, seconds=0.0002)
    assert (len(outcome.waits), outcome.refused) == (200, 0)


def test_calls_that_wait_for_something_else_make_room() -> None:
    clock = Clock()
    limit = CallLimit(total=10, per_caller=10, waiting=Waiting(floor=2, clock=clock))
    with limit.call(None), limit.call(None):
        clock.now = SHORT_SECONDS - 0.1
        with pytest.raises(TooManyRequests) as caught, limit.call(None):
            pass
        assert caught.value.retry_seconds
        clock.now = SHORT_SECONDS + 0.1
        with limit.call(None):
            pass


class Jobs(job_pb2_grpc.JobServiceServicer):
    """A watch that stays silent after its first message, and a read that does not end."""

    def __init__(self) -> None:
        self.reading = asyncio.Event()

    async def WatchJob(self, request: job_pb2.WatchJobRequest, context: object) -> AsyncIterator[job_pb2.Job]:
        yield job_pb2.Job(name=request.name)
        await asyncio.Event().wait()

    async def GetJob(self, request: job_pb2.GetJobRequest, context: object) -> job_pb2.Job:
        self.reading.set()
        await asyncio.Event().wait()
        return job_pb2.Job()


async def test_a_watched_stream_is_no_load() -> None:
    clock = Clock()
    limit = CallLimit(total=10, per_caller=10, waiting=Waiting(floor=1, clock=clock))
    server = grpc.aio.server(interceptors=[CallInterceptor("test", Keys(ChassisSettings()), limit)])
    jobs = Jobs()  # pyright: ignore[reportAbstractUsage]
    job_pb2_grpc.add_JobServiceServicer_to_server(jobs, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = job_pb2_grpc.JobServiceStub(channel)
        watches = [stub.WatchJob(job_pb2.WatchJobRequest(name=f"jobs/{name}")) for name in "abc"]
        for watch in watches:
            message = await watch.read()
            assert isinstance(message, job_pb2.Job)
        clock.now += 2 * RATE_SECONDS  # their answers allow no more than the floor
        read = asyncio.ensure_future(stub.GetJob(job_pb2.GetJobRequest(name="jobs/a")))
        await jobs.reading.wait()
        clock.now += 2 * QUEUE_SECONDS
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetJob(job_pb2.GetJobRequest(name="jobs/a"), timeout=20)
        assert (caught.value.code(), reason(caught.value)) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_REQUESTS")
        read.cancel()
        for watch in watches:
            watch.cancel()
    await server.stop(0)
