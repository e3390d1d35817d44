"""A job in partitions for tests: commits each of its rows in a ledger, part by part, then counts them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from google.protobuf.wrappers_pb2 import StringValue

from prisma.common.v1.job_pb2 import JobRecord
from services.chassis.job_context import JobContext
from services.chassis.job_partitions import Partitions, Range
from services.chassis.job_store import JobStore, StoredJob
from services.chassis.job_worker import JobKind

JOB, PART = "fan", "fan-part"
BATCH = 2


@dataclass
class Ledger:
    """What an owner's database would hold. A row that is in it is not pending any more, and is not done again."""

    rows: list[int] = field(default_factory=list)
    workers: set[str] = field(default_factory=set)
    counts: list[int] = field(default_factory=list)
    """Of the fan-in: how many rows there were, each time that it was committed."""


async def nothing(_context: JobContext) -> None:
    """Happens before each batch of a part, unless a test has something else happen."""


class Killed(BaseException):
    """As if the process had died here."""


class MortalStore(JobStore):
    """A store whose process dies at a write: before it, or after it and before anything else."""

    def __init__(self, store: JobStore, *, writes: int, after: bool) -> None:
        """writes: those that it lives through."""
        super().__init__(store._link)  # pyright: ignore[reportPrivateUsage]
        self.write_count = 0
        self._writes = writes
        self._after = after
        self.dead = asyncio.Event()

    async def create(self, record: JobRecord) -> StoredJob | None:
        return await self._mortal(lambda: super(MortalStore, self).create(record))

    async def replace(self, stored: StoredJob, record: JobRecord) -> StoredJob | None:
        return await self._mortal(lambda: super(MortalStore, self).replace(stored, record))

    async def publish(self, name: str) -> StoredJob:
        published = await super().publish(name)
        if self.dead.is_set():
            raise Killed
        return published

    async def find(self, name: str) -> StoredJob | None:
        if self.dead.is_set():
            raise Killed
        return await super().find(name)

    async def _mortal(self, write: Callable[[], Awaitable[StoredJob | None]]) -> StoredJob | None:
        is_last = self.write_count == self._writes
        if self.dead.is_set() or (is_last and not self._after):
            self.dead.set()
            raise Killed
        self.write_count += 1
        written = await write()
        if is_last:
            self.dead.set()
            raise Killed
        return written


def kinds(
    service: str,
    ledger: Ledger,
    *,
    who: str = "one",
    ranges: int = 3,
    rows: int = 4,
    before_batch: Callable[[JobContext], Awaitable[None]] = nothing,
    after_parts: Callable[[JobContext], Awaitable[None]] = nothing,
    ack_wait: float = 1.0,
) -> list[JobKind]:
    """The job, and its parts. ranges: parts, each with this many rows."""

    async def fan(request: StringValue, context: JobContext) -> None:
        partitions = Partitions(context, kind=PART, request=request, unit="rows")
        await partitions.forget_tried()
        if not context.record.partitions:
            await partitions.divide([Range(n * rows, (n + 1) * rows, rows) for n in range(ranges)])
        results = await partitions.run("counting")
        await after_parts(context)
        await context.prove()
        ledger.counts.append(len(ledger.rows))
        assert [result["last"] for result in results] == [(n + 1) * rows - 1 for n in range(ranges)]

    async def part(request: StringValue, context: JobContext) -> None:
        assert request.value == "request"
        covered = range(context.partition.start, context.partition.stop)
        pending = [row for row in covered if row not in ledger.rows]
        for start in range(0, len(pending), BATCH):
            await before_batch(context)
            await context.prove()
            ledger.rows += pending[start : start + BATCH]
            ledger.workers.add(who)
            context.result["last"] = ledger.rows[-1]
            await context.checkpoint()
            await context.progress(start + BATCH, len(pending), "rows")
        context.result["last"] = covered[-1]

    return [
        JobKind(service, JOB, StringValue, fan, ack_wait=ack_wait),
        JobKind(service, PART, StringValue, part, ack_wait=ack_wait),
    ]
