"""Keeps the index where its owners are: reads changes by position, deletes by tombstone, rebuilds when it must."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Protocol

import numpy as np

from prisma_common.wire import Codes, WireError
from services.chassis.errors import Aborted, Code, PrismaError
from services.chassis.threads import cancel_until_done, in_thread
from services.search.backend import Index, Kind, Position, Stream, TextItem
from services.search.errors import WrittenElsewhere
from services.search.lag import Lag
from services.search.owners import Catalog, Dataset, Run
from services.search.upstream import Block, TextBlock

_log = logging.getLogger(__name__)
Guard = Callable[[], Awaitable[None]]
"""Awaited before a commit; raises where it must not happen."""
ReportProgress = Callable[[int], Awaitable[None]]
"""Called with how many items were written so far."""

DAMAGED = "its files were damaged; it is being rebuilt"
_HISTORY_CHANGED = "HISTORY_CHANGED"
_NOTHING_YET = frozenset({"RUN_NOT_TRAINED", "STATISTICS_NOT_COMPUTED"})


class Owners(Protocol):
    """What is read from the owners of datasets, runs and labels."""

    async def datasets(self) -> list[Dataset]: ...

    async def runs(self) -> list[Run]: ...

    async def dataset(self, name: str) -> Dataset: ...

    async def run(self, name: str) -> Run: ...

    def read(self, kind: Kind, resource: str, since: Position | None) -> AsyncIterator[Block]: ...


class _HistoryChanged(Exception):
    """The owner went back in time: the stream must be read again from the beginning."""


class IndexFollower:
    """Writes the index; nothing else does. Each stream is written by one task at a time."""

    def __init__(self, index: Index, owners: Owners, catalog: Catalog, *, beat_seconds: float = 3.0) -> None:
        """beat_seconds: how often a claim is renewed; well below the time after which another process takes it."""
        self._index = index
        self._owners = owners
        self._catalog = catalog
        self._beat_seconds = beat_seconds
        self._locks: dict[Stream, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._damaged: set[str] = set()
        self._repair = asyncio.Event()
        self._lag = Lag()
        self.errors: dict[Stream, str] = {}
        """Why a stream could not be brought up to date the last time."""

    async def catch_up(self, resources: Collection[str] | None = None) -> None:
        """Brings the streams of these datasets and runs, or of all, to their owners' positions.

        A failure is kept in `errors`, and the other streams go on. Raises the first one at the end, so that the
        caller retries soon.
        """
        failures: list[PrismaError] = []
        datasets, runs = await self._look_up(resources, failures)
        await self._delete_tombstones()
        for dataset in datasets:
            for kind in (Kind.DOCUMENTS, Kind.VECTORS):
                await self._follow(Stream(kind, dataset.uid), dataset.name, dataset.position, failures)
        for run in runs:
            await self._follow(Stream(Kind.CODES, run.uid), run.name, run.position, failures)
            await self._follow(Stream(Kind.LABELS, run.uid), run.name, None, failures)
        if failures:
            raise failures[0]

    async def rebuild(self, stream: Stream, resource: str, guard: Guard, report: ReportProgress) -> None:
        """Builds a stream beside the old one, then replaces it."""
        async with self._locks[stream], self._claim(stream):
            await self._read(stream, resource, None, guard=guard, report=report)
            self.errors.pop(stream, None)

    def repair(self, stream: Stream) -> None:
        """Has a stream derived again whose files were damaged."""
        self.errors[stream] = DAMAGED
        self._damaged.add(stream.uid)
        self._repair.set()

    async def repair_damage(self) -> None:
        """Rebuilds damaged streams as they are reported, until cancelled."""
        while True:
            await self._repair.wait()
            self._repair.clear()
            uids, self._damaged = self._damaged, set()
            names = {
                resource.name for resource in (*self._catalog.datasets, *self._catalog.runs) if resource.uid in uids
            }
            try:
                await self.catch_up(names)
            except PrismaError as error:
                _log.info("damaged streams are rebuilt later: %s", error.message)

    async def scrub(self) -> None:
        """Verifies all stored files, and has damaged streams derived again. Errors are logged."""
        try:
            damaged = await in_thread(self._index.scrub)
        except (OSError, PrismaError) as error:
            _log.warning("the index cannot be checked; retried later: %s", error)
            return
        for stream in damaged:
            self.repair(stream)

    async def _look_up(
        self, resources: Collection[str] | None, failures: list[PrismaError]
    ) -> tuple[list[Dataset], list[Run]]:
        """The datasets and trained runs to follow, as their owners have them now; the last known where they fail."""
        names = None if resources is None else set(resources)
        if names is not None:
            names = names if await self._refresh(names, failures) else None
        if names is None:
            for refresh in (self._refresh_datasets, self._refresh_runs):
                try:
                    await refresh()
                except PrismaError as error:
                    failures.append(error)
        datasets = [dataset for dataset in self._catalog.datasets if not dataset.is_deleted]
        runs = [run for run in self._catalog.runs if run.is_trained and not run.is_deleted]
        if names is None:
            return datasets, runs
        return [item for item in datasets if item.name in names], [item for item in runs if item.name in names]

    async def _refresh(self, names: set[str], failures: list[PrismaError]) -> bool:
        """Asks for some datasets and runs; False where one is gone, so that only the whole lists tell what happened."""
        for name in sorted(names):
            try:
                if name.startswith("datasets/"):
                    await self._changed(self._catalog.put(await self._owners.dataset(name)))
                elif name.startswith("runs/"):
                    await self._changed(self._catalog.put(await self._owners.run(name)))
            except PrismaError as error:
                if error.code is Code.NOT_FOUND:
                    return False
                failures.append(error)
        return True

    async def _refresh_datasets(self) -> None:
        await self._changed(self._catalog.replace(datasets=await self._owners.datasets()))

    async def _refresh_runs(self) -> None:
        await self._changed(self._catalog.replace(runs=await self._owners.runs()))

    async def _changed(self, changed: bool) -> None:
        if changed:
            await in_thread(self._catalog.save)

    async def _delete_tombstones(self) -> None:
        """Deletes what derives from deleted resources. What an owner does not report at all stays."""
        deleted = {dataset.uid for dataset in self._catalog.datasets if dataset.is_deleted}
        deleted |= {run.uid for run in self._catalog.runs if run.is_deleted or run.dataset_uid in deleted}
        for uid in deleted & await in_thread(self._index.uids):
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
                    self._lag.clear(stream)

    async def _follow(self, stream: Stream, resource: str, owner: Position | None, failures: list[PrismaError]) -> None:
        """Reads a stream if its owner is elsewhere. owner: its position; None if only the stream itself tells it."""
        try:
            async with self._locks[stream]:
                state = await in_thread(self._index.state, stream)
                if state is None or state.position != owner:
                    self._lag.note(stream, state.position if state else None, owner)
                    async with self._claim(stream):
                        state = await in_thread(self._index.state, stream)
                        await self._read_since(stream, resource, state.position if state else None, owner)
            self.errors.pop(stream, None)
            self._lag.clear(stream)
        except PrismaError as error:
            if error.code is Code.NOT_FOUND or error.reason in _NOTHING_YET:
                self._lag.clear(stream)
                return  # deleted or reset since it was listed, or not computed yet; the next look tells
            if isinstance(error, WrittenElsewhere):
                self.errors.pop(stream, None)
            else:
                self.errors[stream] = error.message
            failures.append(error)
        except (ValueError, WireError) as error:
            self.errors[stream] = f"the owner's {stream.kind} do not fit: {error}"
            _log.exception("%s of %s cannot be indexed", stream.kind, resource)

    @asynccontextmanager
    async def _claim(self, stream: Stream) -> AsyncGenerator[None]:
        """Makes this process the only one that writes a stream."""
        await in_thread(self._index.claim, stream)
        beats = asyncio.create_task(self._renew(stream))
        try:
            yield
        finally:
            await cancel_until_done(beats)
            await in_thread(self._index.release, stream)

    async def _renew(self, stream: Stream) -> None:
        """Renews a claim while its owner is read, however long nothing is written, until another process has it."""
        while True:
            await asyncio.sleep(self._beat_seconds)
            try:
                await in_thread(self._index.renew, stream)
            except WrittenElsewhere:
                return  # the next write or commit ends the work
            except PrismaError as error:
                _log.info("a claim is renewed later: %s", error.message)

    async def _read_since(self, stream: Stream, resource: str, since: Position | None, owner: Position | None) -> None:
        """Reads what changed since a position; everything, where the owner's history is not the one that was read."""
        went_back = since and owner and since.history == owner.history and since.revision > owner.revision
        if since is not None and not went_back:
            try:
                await self._read(stream, resource, since, owner=owner)
                return
            except _HistoryChanged:
                pass
            except PrismaError as error:
                if error.reason != _HISTORY_CHANGED:
                    raise
        if since is not None:
            _log.info("the data of %s was restored or replaced: its %s are rebuilt", resource, stream.kind)
        await self._read(stream, resource, None, owner=owner)

    async def _read(
        self,
        stream: Stream,
        resource: str,
        since: Position | None,
        *,
        owner: Position | None = None,
        guard: Guard | None = None,
        report: ReportProgress | None = None,
    ) -> None:
        """Writes what changed since a position, then commits the one that the stream reports. None: a rebuild.

        owner: the owner's position before the stream was opened; reached, if not one block comes.
        Raises _HistoryChanged.
        """
        writer: Any = None
        count = 0
        is_rebuild = since is None
        try:
            async for block in self._owners.read(stream.kind, resource, since):
                _check(block, stream, resource, since)
                if writer is None and (block.count or block.position != since):
                    writer = await in_thread(self._open_writer, stream, block.position, is_rebuild)
                if writer is not None:
                    await in_thread(partial(self._write, stream, writer, block, is_rebuild=is_rebuild))
                count += block.count
                if report:
                    await report(count)
            reached = owner or since or Position("", 0)
            if writer is None and reached != since:
                writer = await in_thread(self._open_writer, stream, reached, is_rebuild)
            if writer is not None:
                if guard:
                    await guard()
                await in_thread(writer.commit)
                _log.debug("indexed %d changed %s of %s", count, stream.kind, resource)
        finally:
            if writer is not None:
                await in_thread(writer.abort)

    def _open_writer(self, stream: Stream, position: Position, rebuild: bool) -> Any:
        if stream.kind is Kind.VECTORS:
            return self._index.vector_writer(stream, position, rebuild=rebuild)
        if stream.kind is Kind.CODES:
            return self._index.code_writer(stream, position, rebuild=rebuild)
        return self._index.text_writer(stream, position, rebuild=rebuild)

    def _write(self, stream: Stream, writer: Any, block: Block, *, is_rebuild: bool) -> None:
        """Writes a block: first deletions, then what changed."""
        if len(block.deleted):
            writer.delete(np.sort(block.deleted))
        content = block.content
        if isinstance(content, TextBlock):
            items = self._changed_texts(stream, content, is_rebuild)
            if items:
                writer.upsert(items)
        elif isinstance(content, Codes):
            writer.upsert(content)
        elif content is not None:
            writer.upsert(*content)

    def _changed_texts(self, stream: Stream, block: TextBlock, rebuild: bool) -> Sequence[TextItem]:
        """The texts of a block that are not stored already: a document's state may have changed, and nothing else."""
        places = range(len(block.rows))
        if not rebuild and len(block.rows):
            places = np.flatnonzero(~self._index.unchanged(stream, block.rows, block.fingerprints)).tolist()
        return [block.item(place) for place in places]


def _check(block: Block, stream: Stream, resource: str, since: Position | None) -> None:
    """Raises Aborted or _HistoryChanged when a block does not continue what was read."""
    if block.uid != stream.uid:
        raise Aborted(f"{resource} was replaced by another one: its uid is {block.uid}")
    if since and block.position.history == since.history and block.position.revision < since.revision:
        raise _HistoryChanged
