"""Keeps the index where its owners are: pulls by revision, deletes by tombstone, builds anew on request."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from prisma_common.wire import Codes, WireError
from services.chassis.errors import Aborted, Code, PrismaError
from services.chassis.threads import in_thread
from services.search.catalog import Catalog, Dataset, Run
from services.search.index import Index, Kind, Rows, Stream, TextItem, Vectors

_log = logging.getLogger(__name__)
Guard = Callable[[], Awaitable[None]]
"""Awaited before a commit; raises where it must not be made."""
_NOTHING_YET = {"RUN_NOT_TRAINED", "STATISTICS_NOT_COMPUTED"}
Step = Callable[[int], Awaitable[None]]
"""Told how many items were written so far."""


@dataclass(frozen=True)
class Streamed:
    """One block of a stream: what is there, and the rows (or features) that went. revision: reached at the end."""

    uid: str
    revision: int
    deleted: Rows
    texts: Sequence[TextItem] = ()
    vectors: tuple[Rows, Vectors] | None = None
    codes: Codes | None = None

    @property
    def count(self) -> int:
        """Items that it holds or takes away."""
        held = len(self.texts) + (len(self.vectors[0]) if self.vectors else 0) + (len(self.codes) if self.codes else 0)
        return held + len(self.deleted)


class Owners(Protocol):
    """What the owners of datasets, runs and labels are asked."""

    async def datasets(self) -> list[Dataset]: ...

    async def runs(self) -> list[Run]: ...

    def read(self, kind: Kind, resource: str, since: int) -> AsyncIterator[Any]: ...


class Indexing:
    """Writes the index; nobody else does. Each stream is written by one at a time."""

    def __init__(self, index: Index, owners: Owners, catalog: Catalog, streamed: Callable[[Any], Streamed]) -> None:
        self._index = index
        self._owners = owners
        self._catalog = catalog
        self._streamed = streamed
        self._locks: dict[Stream, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.errors: dict[Stream, str] = {}

    async def catch_up(self, _names: frozenset[str] | None = None) -> None:
        """Brings every stream to its owner's revision. What fails is told in `errors`, and the rest goes on.

        Raises the first error in the end, so that it is tried again soon.
        """
        failures: list[PrismaError] = []
        for ask in (self._ask_datasets, self._ask_runs):
            try:
                await ask()
            except PrismaError as error:
                failures.append(error)
        await self._delete_tombstones()
        for dataset in [each for each in self._catalog.datasets if not each.deleted]:
            for kind in (Kind.DOCUMENTS, Kind.VECTORS):
                await self._follow(Stream(kind, dataset.uid), dataset.name, dataset.revision, failures)
        for run in [each for each in self._catalog.runs if each.trained and not each.deleted]:
            await self._follow(Stream(Kind.CODES, run.uid), run.name, run.revision, failures)
            await self._follow(Stream(Kind.LABELS, run.uid), run.name, None, failures)
        if failures:
            raise failures[0]

    async def rebuild(self, stream: Stream, resource: str, guard: Guard, step: Step) -> None:
        """Builds a stream anew beside the old one, then takes it in use."""
        async with self._locks[stream]:
            await self._pull(stream, resource, 0, anew=True, guard=guard, step=step)
            self.errors.pop(stream, None)

    async def _ask_datasets(self) -> None:
        datasets = await self._owners.datasets()
        await in_thread(self._catalog.replace, datasets, None)

    async def _ask_runs(self) -> None:
        runs = await self._owners.runs()
        await in_thread(self._catalog.replace, None, runs)

    async def _delete_tombstones(self) -> None:
        """Deletes what derives from what was deleted; what an owner does not speak of stays."""
        gone = {each.uid for each in self._catalog.datasets if each.deleted}
        gone |= {each.uid for each in self._catalog.runs if each.deleted or each.dataset_uid in gone}
        for uid in gone & await in_thread(self._index.uids):
            streams = [Stream(kind, uid) for kind in Kind]
            for stream in streams:
                await self._locks[stream].acquire()
            try:
                await in_thread(self._index.delete, uid)
                _log.info("deleted the index of %s", uid)
            finally:
                for stream in streams:
                    self._locks[stream].release()
                    self.errors.pop(stream, None)

    async def _follow(self, stream: Stream, resource: str, revision: int | None, failures: list[PrismaError]) -> None:
        """Pulls a stream if its owner is elsewhere. revision: the owner's; None where only the stream tells it."""
        try:
            async with self._locks[stream]:
                state = await in_thread(self._index.state, stream)
                if state is None or revision is None or state.revision < revision:
                    since = state.revision if state else 0
                    await self._pull(stream, resource, since, anew=False, known=revision or 0)
                elif state.revision > revision:  # the owner was set back: what is here derives from what is no more
                    await self._pull(stream, resource, 0, anew=True)
            self.errors.pop(stream, None)
        except PrismaError as error:
            if error.code is Code.NOT_FOUND or error.reason in _NOTHING_YET:
                return  # deleted or begun anew since it was listed, or not computed yet; the next look tells
            self.errors[stream] = error.message
            failures.append(error)
        except (ValueError, WireError) as error:
            self.errors[stream] = f"the owner's {stream.kind} don't fit: {error}"
            _log.exception("%s of %s can't be indexed", stream.kind, resource)

    async def _pull(
        self,
        stream: Stream,
        resource: str,
        since: int,
        *,
        anew: bool,
        known: int = 0,
        guard: Guard | None = None,
        step: Step | None = None,
    ) -> None:
        """Writes what changed after `since`, then commits the revision that the stream says.

        known: the owner's revision before the stream was asked for; reached, where not one block comes.
        """
        writer: Any = None
        count = 0
        try:
            async for message in self._owners.read(stream.kind, resource, since):
                block = await in_thread(self._streamed, message)
                if block.uid != stream.uid:
                    raise Aborted(f"{resource} is another one now: its uid is {block.uid}")
                if not anew and block.revision < since:  # labels were set back; others are seen before
                    writer = None
                    await self._pull(stream, resource, 0, anew=True, guard=guard, step=step)
                    return
                if writer is None and (block.count or block.revision > since or anew or not since):
                    writer = await in_thread(self._writer, stream, block.revision, anew)
                if writer is not None:
                    await in_thread(write, writer, block)
                count += block.count
                if step:
                    await step(count)
            if writer is None and (anew or known > since or await in_thread(self._index.state, stream) is None):
                writer = await in_thread(self._writer, stream, max(since, known), anew)
            if writer is not None:
                if guard:
                    await guard()
                await in_thread(writer.commit)
                if count:
                    _log.info("indexed %d %s of %s", count, stream.kind, resource)
        finally:
            if writer is not None:
                await in_thread(writer.abort)

    def _writer(self, stream: Stream, revision: int, anew: bool) -> Any:
        if stream.kind is Kind.VECTORS:
            return self._index.vector_writer(stream, revision, anew=anew)
        if stream.kind is Kind.CODES:
            return self._index.code_writer(stream, revision, anew=anew)
        return self._index.text_writer(stream, revision, anew=anew)


def write(writer: Any, block: Streamed) -> None:
    """Writes a block: first what went, then what is there."""
    if len(block.deleted):
        writer.delete(np.sort(block.deleted))
    if block.texts:
        writer.upsert(block.texts)
    if block.vectors is not None:
        writer.upsert(*block.vectors)
    if block.codes is not None:
        writer.upsert(block.codes)
