"""Append-only segments of arrays: how vectors and codes lie on disk.

A commit adds a segment: rows that it holds, and rows that it takes away. What holds a row last wins. Files never
change, are memory-mapped, and become one again when many are dead (compaction, itself a commit).
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.chassis.files import sync_folder
from services.search.embedded import manifest as manifests
from services.search.embedded.manifest import Manifest, TornIndex
from services.search.index import Rows

Arrays = Mapping[str, NDArray[Any]]

_MAXIMUM_SEGMENTS = 8


@dataclass(frozen=True)
class Segment:
    """Some rows of a stream. rows: (R,) rising. live: (R,) bool, false where a later segment has the row or took it
    away. arrays: what the segment holds of its rows, memory-mapped."""

    name: str
    rows: Rows
    deleted: Rows
    live: NDArray[np.bool_]
    arrays: Arrays

    def find(self, rows: Rows) -> NDArray[np.intp]:
        """Positions of those of the rows that are live here, rising."""
        if not len(self.rows):
            return np.empty(0, np.intp)
        places = np.searchsorted(self.rows, rows)
        places = np.unique(places[(places < len(self.rows))])
        places = places[np.isin(self.rows[places], rows)]
        return places[self.live[places]]

    def allowed(self, rows: Rows | None) -> NDArray[np.bool_]:
        """(R,) whether each row is live and allowed."""
        return self.live if rows is None else self.live & np.isin(self.rows, rows)


class SegmentStore:
    """The segments of one stream. Readers take `segments` once and keep what they took."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest: Manifest | None = None
        self.segments: tuple[Segment, ...] = ()
        self._open()

    def append(self, name: str, rows: Rows, deleted: Rows, arrays: Arrays) -> Path:
        """Writes and syncs the files of a segment that no commit names yet."""
        part = self.folder / name
        part.mkdir(parents=True, exist_ok=True)
        for key, array in {"rows": rows, "deleted": deleted, **arrays}.items():
            with (part / f"{key}.npy").open("wb") as file:
                np.save(file, array, allow_pickle=False)
                file.flush()
                os.fsync(file.fileno())
        sync_folder(part)
        return part

    def commit(self, revision: int, parts: list[str], detail: Mapping[str, int]) -> None:
        """Makes exactly these parts the stream, at this revision; what they replace is deleted."""
        sizes = {
            f"{part}/{path.name}": path.stat().st_size
            for part in parts
            for path in sorted((self.folder / part).iterdir())
        }
        segments = self._load(parts)
        count = sum(int(segment.live.sum()) for segment in segments)
        manifest = Manifest(revision, count, time.time(), parts, sizes, dict(detail))
        sync_folder(self.folder)
        manifests.save(self.folder, manifest)
        self.manifest, self.segments = manifest, segments
        for path in manifests.strangers(self.folder, parts):
            shutil.rmtree(path)

    @property
    def wants_compaction(self) -> bool:
        """True when there are many segments, or more dead rows than live ones."""
        held = sum(len(segment.rows) for segment in self.segments)
        live = self.manifest.item_count if self.manifest else 0
        return len(self.segments) > _MAXIMUM_SEGMENTS or held > 2 * live + 1000

    def _open(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.manifest = manifests.load(self.folder)
        parts = self.manifest.parts if self.manifest else []
        for path in manifests.strangers(self.folder, parts):
            shutil.rmtree(path)
        self.segments = self._load(parts)

    def _load(self, parts: list[str]) -> tuple[Segment, ...]:
        hidden: Rows = np.empty(0, np.uint64)
        segments: list[Segment] = []
        for name in reversed(parts):
            arrays = {path.stem: _map(path) for path in sorted((self.folder / name).glob("*.npy"))}
            try:
                rows, deleted = arrays.pop("rows").astype(np.uint64), arrays.pop("deleted").astype(np.uint64)
            except KeyError as error:
                raise TornIndex(f"{self.folder / name} lacks {error}") from error
            segments.append(Segment(name, rows, deleted, ~np.isin(rows, hidden), arrays))
            hidden = np.union1d(np.union1d(hidden, rows), deleted)
        return tuple(reversed(segments))


def _map(path: Path) -> NDArray[Any]:
    """An array of a file, memory-mapped."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise TornIndex(f"{path} cannot be read: {error}") from error


class Pending:
    """Row bookkeeping of a writer: which rows a segment takes away, and names for its parts."""

    def __init__(self, store: SegmentStore, *, anew: bool) -> None:
        self.store = store
        self.parts: list[str] = [] if anew or not store.manifest else list(store.manifest.parts)
        self.deleted: list[Rows] = []
        self.closed = False

    def next_part(self) -> str:
        """Makes a new empty folder and adds it to the parts of the coming commit."""
        part = manifests.new_part(self.store.folder).name
        self.parts.append(part)
        return part

    def take_deleted(self) -> Rows:
        """The rows to take away so far, rising, once."""
        rows = np.unique(np.concatenate([np.empty(0, np.uint64), *self.deleted]))
        self.deleted = []
        return rows

    def abort(self) -> None:
        """Removes what no commit names."""
        kept = self.store.manifest.parts if self.store.manifest else []
        for path in manifests.strangers(self.store.folder, kept):
            shutil.rmtree(path, ignore_errors=True)
        self.closed = True
