"""Vectors that were read from the embedder, kept in files by their content, so that a dataset is read once."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.chassis import names
from services.chassis.files import reporting_full_disk, whole
from services.trainer.runs import Selection, Source

SHARD_BYTES = 1 << 28
UNUSED_SECONDS = 3600
"""How long vectors that no run uses are kept."""


class VectorCache:
    """Folders of vectors by fingerprint: `vectors-*.npy` of (…, d) float32 and `rows.npy` of (N,) uint64."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sources = folder / "sources"

    def folder_of(self, fingerprint: str | None) -> Path | None:
        """The folder of vectors with this fingerprint; None if they are not cached."""
        if fingerprint is None:
            return None
        folder = self._folder / fingerprint
        return folder if (folder / "rows.npy").exists() else None

    @staticmethod
    def key(source: Source, selection: Selection, revision: int, history: str) -> str:
        """Identifies some rows of a dataset at one of its revisions."""
        ranges = [list(bounds) for bounds in selection.ranges]
        content = json.dumps([source.dataset_uid, revision, history, ranges])
        return hashlib.sha256(content.encode()).hexdigest()

    def fingerprint(self, key: str) -> str | None:
        """The fingerprint of the vectors that were read under this key; None if none were."""
        note = self._sources / key
        return note.read_text() if note.exists() else None

    def remember(self, key: str, fingerprint: str) -> None:
        """Notes that a key's vectors have this fingerprint."""
        self._sources.mkdir(parents=True, exist_ok=True)
        with whole(self._sources / key) as file:
            file.write(fingerprint.encode())

    def writer(self) -> VectorWriter:
        """Writes vectors into the cache; it leaves nothing unless it is finished. Raises StorageFull."""
        return VectorWriter(self._folder / f"incoming-{names.new_uid()}")

    def sweep(self, used: Collection[str], older_than_seconds: float = UNUSED_SECONDS) -> None:
        """Deletes vectors whose fingerprint is not `used`, and leftovers of killed processes, after an hour."""
        limit = time.time() - older_than_seconds
        for folder in self._folder.glob("*"):
            if folder.name not in used and folder != self._sources and folder.stat().st_mtime < limit:
                shutil.rmtree(folder, ignore_errors=True)
        for note in self._sources.glob("[!.]*"):
            if self.folder_of(note.read_text()) is None:
                note.unlink(missing_ok=True)


class VectorWriter:
    """Writes one folder of vectors."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with reporting_full_disk(folder):
            folder.mkdir(parents=True)
        self._rows: list[NDArray[np.uint64]] = []
        self._parts: list[NDArray[np.float32]] = []
        self._shards = 0
        self._digest = hashlib.sha256()
        self.count = 0

    def add(self, rows: NDArray[np.uint64], vectors: NDArray[np.float32]) -> None:
        """Appends rows (m,) and vectors (m, d). Raises StorageFull."""
        if not len(rows):
            return
        self._rows.append(rows)
        self._parts.append(vectors)
        self.count += len(rows)
        self._digest.update(np.ascontiguousarray(vectors).data)
        if sum(part.nbytes for part in self._parts) >= SHARD_BYTES:
            self._flush()

    def finish(self) -> str:
        """Completes the folder under its fingerprint, SHA-256 of the vectors' SHA-256 and the rows, and returns it."""
        if self._parts:
            self._flush()
        rows = np.concatenate(self._rows) if self._rows else np.empty(0, dtype=np.uint64)
        with whole(self._folder / "rows.npy") as file:
            np.save(file, rows, allow_pickle=False)
        fingerprint = hashlib.sha256(self._digest.digest() + rows.astype("<u8").tobytes()).hexdigest()
        target = self._folder.parent / fingerprint
        if (target / "rows.npy").exists():
            self.discard()
        else:
            shutil.rmtree(target, ignore_errors=True)
            self._folder.rename(target)
        return fingerprint

    def discard(self) -> None:
        """Deletes what was written, unless it was finished."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _flush(self) -> None:
        with whole(self._folder / f"vectors-{self._shards:05d}.npy") as file:
            np.save(file, np.concatenate(self._parts), allow_pickle=False)
        self._shards += 1
        self._parts = []
