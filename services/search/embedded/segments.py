"""Append-only segments of arrays: how vectors, codes and the words of texts are stored on disk.

A commit adds a segment: rows that it holds, and rows that it deletes. The newest segment that has a row wins. Files
never change and are memory-mapped. Segments of a similar size are merged when there are enough of them, as in any
log-structured store: each row is rewritten once per size tier, so the cost of a commit does not grow with the stream.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from services.chassis.files import reporting_full_disk, sync_folder
from services.search.ascending import places_of
from services.search.backend import Position, Rows
from services.search.embedded import manifest as manifests
from services.search.embedded.manifest import DamagedFiles, Manifest

Arrays = Mapping[str, NDArray[Any]]
_Block = TypeVar("_Block")

MERGED_SEGMENTS = 8
"""Segments of one size tier that become one segment of the next tier."""
SMALLEST_TIER_ROWS = 1024
"""Segments of up to this many rows are of the lowest tier."""
MAX_MERGED_ROWS = 1 << 19
"""Merges never make a larger segment, which bounds their memory and time."""
MAX_DEAD_ROWS = 1000
"""A segment with more dead rows than this, and more dead than live ones, is rewritten."""


@dataclass(frozen=True)
class Segment:
    """Some rows of a stream."""

    name: str
    rows: Rows
    """(R,) ascending."""
    deleted: Rows
    """(D,) ascending: rows of older segments that this one deletes."""
    live: NDArray[np.bool_]
    """(R,) False where a newer segment has the row or deletes it."""
    arrays: Arrays
    """What the segment stores of its rows, memory-mapped."""
    bitmaps: dict[int, NDArray[np.uint64]] = field(default_factory=dict[int, NDArray[np.uint64]], repr=False)
    """Of the keys that were counted: see `postings`. The segment shares them with what `without` makes of it."""

    @cached_property
    def is_whole(self) -> bool:
        """Whether all its rows are live."""
        return bool(self.live.all())

    @cached_property
    def is_gapless(self) -> bool:
        """Whether its rows are consecutive, so that a row says its place."""
        return len(self.rows) > 0 and int(self.rows[-1]) - int(self.rows[0]) + 1 == len(self.rows)

    @cached_property
    def live_bits(self) -> NDArray[np.uint64]:
        """`live` as bits."""
        return packed(self.live)

    def find(self, rows: Rows) -> NDArray[np.intp]:
        """Places of those of the ascending rows that are live here."""
        if self.is_gapless:
            first, last = self.rows[0], self.rows[-1]
            start, end = np.searchsorted(rows, [first, last + np.uint64(1)]).tolist()
            places = (rows[start:end] - first).astype(np.intp)
        else:
            places, _ = places_of(rows, self.rows)
        return places if self.is_whole else places[self.live[places]]

    def allowed(self, rows: Rows | None) -> NDArray[np.bool_]:
        """(R,) whether each row is live and among the ascending rows."""
        if rows is None:
            return self.live
        mask = np.zeros(len(self.rows), dtype=bool)
        mask[self.find(rows)] = True
        return mask

    def without(self, rows: Rows) -> tuple[Segment, int]:
        """The segment once newer ones have these ascending rows, and how many live rows it lost."""
        places = self.find(rows)
        if not len(places):
            return self, 0
        live = self.live.copy()
        live[places] = False
        return replace(self, live=live), len(places)


@dataclass(frozen=True)
class Segments:
    """All segments of a stream, oldest first: an immutable snapshot that a query works on."""

    parts: tuple[Segment, ...] = ()
    live_count: int = 0

    def appended(self, segment: Segment) -> Segments:
        """These segments and a newer one. Costs what the new segment has, not what the old ones have."""
        hidden = np.union1d(segment.rows, segment.deleted)
        older = [part.without(hidden) for part in self.parts]
        lost = sum(count for _, count in older)
        parts = (*(part for part, _ in older), segment)
        return Segments(parts, self.live_count - lost + len(segment.rows))

    def merged(self, run: slice, segment: Segment) -> Segments:
        """These segments with a run of them replaced by its merge."""
        return replace(self, parts=(*self.parts[: run.start], segment, *self.parts[run.stop :]))

    def run_to_merge(self, max_rows: int) -> slice | None:
        """Adjacent segments to merge into one of at most `max_rows` rows now; a single one, if most of it is dead."""
        for place, part in enumerate(self.parts):
            live = int(part.live.sum()) if len(part.rows) > MAX_DEAD_ROWS else len(part.rows)
            if len(part.rows) - live > max(MAX_DEAD_ROWS, live):
                return slice(place, place + 1)
        return tiered_run([len(part.rows) for part in self.parts], max_rows)

    def existing(self, rows: Rows) -> NDArray[np.bool_]:
        """(R,) whether each of the rows, in any order, is live in some segment."""
        ordered, inverse = np.unique(rows, return_inverse=True)
        mask = np.zeros(len(ordered), dtype=bool)
        for part in self.parts:
            mask[np.searchsorted(ordered, part.rows[part.find(ordered)])] = True
        return mask[inverse]

    def rows(self) -> Rows:
        """All live rows, ascending."""
        return np.sort(concatenated([part.rows[part.live] for part in self.parts], np.uint64))

    @staticmethod
    def load(folder: Path, names: Sequence[str]) -> Segments:
        """The segments of these parts. Raises DamagedFiles."""
        return reduce(Segments.appended, (load_segment(folder, name) for name in names), Segments())


def tiered_run(sizes: Sequence[int], max_rows: int) -> slice | None:
    """The newest segments to merge, by the sizes of all, oldest first; None for none.

    Once there are MERGED_SEGMENTS of a tier, they are merged with the smaller segments among and after them, or as many
    of these as one segment may have. Where these are fewer than MERGED_SEGMENTS, they are merged only if the result is
    at least twice as large as any of them: a row beside segments that are full does not rewrite one of these. Merges of
    lower tiers come first.
    """
    tiers = [_tier(size) for size in sizes]
    for tier in sorted(set(tiers)):
        start = next((place + 1 for place in range(len(tiers) - 1, -1, -1) if tiers[place] > tier), 0)
        if tiers[start:].count(tier) >= MERGED_SEGMENTS:
            run = next(
                (run for run in _runs(sizes, start, max_rows) if _pays(sizes[run], tiers[run].count(tier))), None
            )
            if run is not None:
                return run
    return None


def _runs(sizes: Sequence[int], start: int, max_rows: int) -> Iterator[slice]:
    """Several segments, at or after a start, that have together at most so many rows: the first, then the longest."""
    for first in range(start, len(sizes) - 1):
        ends = np.cumsum(sizes[first:])
        most = int(np.searchsorted(ends, max_rows, side="right"))
        yield from (slice(first, first + count) for count in range(most, 1, -1))


def _pays(sizes: Sequence[int], tier_count: int) -> bool:
    """Whether segments are merged, though all are rewritten. tier_count: how many of them are of the tier."""
    return tier_count >= MERGED_SEGMENTS or (tier_count > 1 and sum(sizes) >= 2 * max(sizes))


def _tier(size: int) -> int:
    tier, limit = 0, SMALLEST_TIER_ROWS
    while size > limit:
        tier, limit = tier + 1, limit * MERGED_SEGMENTS
    return tier


def write_segment(folder: Path, name: str, *, rows: Rows, deleted: Rows, arrays: Arrays) -> Segment:
    """Writes and syncs the files of a segment that no commit refers to yet. Raises StorageFull."""
    part = folder / name
    with reporting_full_disk(folder):
        for key, array in {"rows": rows, "deleted": deleted, **arrays}.items():
            with (part / f"{key}.npy").open("wb") as file:
                np.save(file, array, allow_pickle=False)
                file.flush()
                os.fsync(file.fileno())
        sync_folder(part)
    return load_segment(folder, name)


def load_segment(folder: Path, name: str) -> Segment:
    """A segment with all its rows live. Raises DamagedFiles."""
    arrays = {path.stem: _map(path) for path in sorted((folder / name).glob("*.npy"))}
    try:
        rows, deleted = arrays.pop("rows"), arrays.pop("deleted")
    except KeyError as error:
        raise DamagedFiles(f"{folder / name} lacks {error}") from error
    return Segment(name, rows=rows, deleted=deleted, live=np.ones(len(rows), dtype=bool), arrays=arrays)


def packed(mask: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """(⌈R / 64⌉,) a mask as bits, the first row in the lowest bit of the first byte."""
    octets = np.zeros(-(-len(mask) // 64) * 8, np.uint8)
    octets[: -(-len(mask) // 8)] = np.packbits(mask, bitorder="little")
    return octets.view(np.uint64)


def concatenated(parts: Sequence[NDArray[Any]], dtype: type[np.generic]) -> NDArray[Any]:
    """One array of several; an empty one of none."""
    return np.concatenate([np.empty(0, dtype), *parts])


def _map(path: Path) -> NDArray[Any]:
    """An array of a file, memory-mapped, as a plain ndarray (whose slices cost less than those of a memmap)."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        return np.asarray(array) if len(array) else np.array(array)
    except (ValueError, EOFError, OSError) as error:
        raise DamagedFiles(f"{path} cannot be read: {error}") from error


class SegmentStore:
    """The committed segments of one stream. Readers take `segments` once and work on that snapshot.

    Opening verifies the digest of every file. Raises DamagedFiles.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.open_writers = 0
        self.writer_count = 0
        """Writers that were ever opened."""
        self.on_commit: Callable[[], None] = lambda: None
        """Called after each commit."""
        folder.mkdir(parents=True, exist_ok=True)
        self.manifest = manifests.load(folder)
        self.remove_unreferenced()
        self.verify()
        self.segments = Segments.load(folder, self.manifest.parts if self.manifest else [])

    def verify(self) -> None:
        """Raises DamagedFiles when a file is not what was written."""
        if self.manifest is not None:
            manifests.verify(self.folder, self.manifest.digests)

    def commit(
        self,
        position: Position,
        segments: Segments,
        *,
        detail: Mapping[str, int],
        text_part: str | None = None,
        text_digests: Mapping[str, manifests.FileDigest] | None = None,
        publish: Callable[[], None] = lambda: None,
    ) -> None:
        """Makes exactly these segments the stream, at this position; what they replace is deleted.

        publish: called just before readers see the new position; shows them whatever else belongs to it.
        """
        names = [part.name for part in segments.parts]
        digests = dict(text_digests or {})
        for name in names:
            digests |= self._digests(name)
        manifest = Manifest(
            history=position.history,
            revision=position.revision,
            item_count=segments.live_count,
            update_time=time.time(),
            parts=names,
            digests=digests,
            detail=dict(detail),
            text_part=text_part,
        )
        sync_folder(self.folder)
        manifests.save(self.folder, manifest)
        publish()
        self.segments, self.manifest = segments, manifest
        self.remove_unreferenced()
        self.on_commit()

    def remove_unreferenced(self) -> None:
        """Removes parts that the manifest does not refer to."""
        for path in manifests.unreferenced(self.folder, self.manifest.folders if self.manifest else []):
            shutil.rmtree(path, ignore_errors=True)

    def _digests(self, part: str) -> dict[str, manifests.FileDigest]:
        """The digests of a segment's files: those of the last commit, or of the files."""
        committed = self.manifest.digests if self.manifest else {}
        same = {name: digest for name, digest in committed.items() if name.startswith(f"{part}/")}
        return same or manifests.digests_of(self.folder, part)


class SegmentWriter(Generic[_Block]):
    """Adds blocks to a store; buffered, so that many small blocks become one segment.

    Subclasses say how blocks are joined, what arrays a segment has, and how segments are merged.
    """

    def __init__(self, store: SegmentStore, position: Position, *, rebuild: bool) -> None:
        store.open_writers += 1
        store.writer_count += 1
        self.store, self.position = store, position
        self.segments = Segments() if rebuild else store.segments
        self.detail: dict[str, int] = {} if rebuild or store.manifest is None else dict(store.manifest.detail)
        self._blocks: list[_Block] = []
        self._buffered = 0
        self._deleted: list[Rows] = []
        self._closed = False

    BUFFER_SIZE: int
    """How much is buffered before a segment is written, in the unit of `size`."""

    @property
    def max_merged_rows(self) -> int:
        """Most rows of a merged segment."""
        return MAX_MERGED_ROWS

    def size(self, block: _Block) -> int:
        """How much of the buffer a block takes."""
        raise NotImplementedError

    def joined(self, blocks: Sequence[_Block]) -> tuple[Rows, Arrays]:
        """Rows, ascending and distinct (the last block that has one wins), and the arrays of a new segment."""
        raise NotImplementedError

    def merged(self, parts: Sequence[Segment]) -> tuple[Rows, Arrays]:
        """Live rows of adjacent segments, ascending, and the arrays of their merge."""
        raise NotImplementedError

    def empty(self) -> Arrays:
        """The arrays of a segment without rows."""
        return {}

    def add(self, block: _Block) -> None:
        """Buffers a block, and writes the buffer once it is full."""
        self._blocks.append(block)
        self._buffered += self.size(block)
        if self._buffered >= self.BUFFER_SIZE:
            self._flush()

    def delete(self, rows: Rows) -> None:
        """Deletes rows, those of earlier blocks too."""
        if len(rows):
            self._flush()
            self._deleted.append(rows.astype(np.uint64))

    def commit(self) -> None:
        """Commits what was written, then merges segments where that is due."""
        self._flush()
        if self._deleted:
            self._append(np.empty(0, np.uint64), self.empty())
        self.finish()
        while (run := self.segments.run_to_merge(self.max_merged_rows)) is not None:
            self._merge(run)
            self.finish()
        self._close()

    def finish(self) -> None:
        """Commits the segments as they are now."""
        self.store.commit(self.position, self.segments, detail=self.detail)

    def abort(self) -> None:
        """Removes what was written, unless it was committed."""
        if not self._closed:
            self._close()
            self.store.remove_unreferenced()

    def _close(self) -> None:
        self._closed = True
        self.store.open_writers -= 1

    def appended(self, segment: Segment) -> None:
        """Called for each new segment, before it hides rows of the older ones."""

    def _flush(self) -> None:
        if self._blocks:
            rows, arrays = self.joined(self._blocks)
            self._blocks, self._buffered = [], 0
            self._append(rows, arrays)

    def _append(self, rows: Rows, arrays: Arrays) -> None:
        deleted = np.unique(concatenated(self._deleted, np.uint64))
        self._deleted = []
        name = manifests.new_part(self.store.folder)
        segment = write_segment(self.store.folder, name, rows=rows, deleted=deleted, arrays=arrays)
        self.appended(segment)
        self.segments = self.segments.appended(segment)

    def _merge(self, run: slice) -> None:
        parts = self.segments.parts[run]
        rows, arrays = self.merged(parts)
        deleted = np.unique(concatenated([part.deleted for part in parts], np.uint64)) if run.start else np.empty(0)
        name = manifests.new_part(self.store.folder)
        segment = write_segment(
            self.store.folder,
            name,
            rows=rows,
            deleted=np.setdiff1d(deleted.astype(np.uint64), rows, assume_unique=True),
            arrays=arrays,
        )
        self.segments = self.segments.merged(run, segment)


def last_of_each(rows: Rows) -> NDArray[np.intp]:
    """Places of the last occurrence of each row, in the order of the rows."""
    return len(rows) - 1 - np.unique(rows[::-1], return_index=True)[1]
