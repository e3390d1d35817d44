"""Vectors that were pulled from the embedder, kept as files by their content, so that a dataset is pulled once."""

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
from services.chassis.files import whole
from services.trainer.runs import Source

SHARD_BYTES = 1 << 28
UNUSED_SECONDS = 3600


class VectorFiles:
    """Folders of vectors by fingerprint: `vectors-*.npy` of (…, d) float32 and `rows.npy` of (N,) uint64."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "vectors"
        self._sources = self._folder / "sources"

    def of(self, fingerprint: str) -> Path | None:
        """The folder of vectors with this fingerprint, if it is there."""
        folder = self._folder / fingerprint
        return folder if fingerprint and (folder / "rows.npy").exists() else None

    def known(self, source: Source, revision: int) -> str:
        """The fingerprint of what was pulled of this source when its dataset was at this revision, or nothing."""
        note = self._sources / _key(source, revision)
        return note.read_text() if note.exists() else ""

    def writer(self) -> Writer:
        """Takes vectors in. It leaves nothing unless it is finished."""
        return Writer(self._folder / f"incoming-{names.new_uid()}")

    def note(self, source: Source, revision: int, fingerprint: str) -> None:
        """Remembers what a source is at a revision."""
        self._sources.mkdir(parents=True, exist_ok=True)
        with whole(self._sources / _key(source, revision)) as file:
            file.write(fingerprint.encode())

    def sweep(self, used: Collection[str], older_than_seconds: float = UNUSED_SECONDS) -> None:
        """Deletes what no run is made of any more, and what a killed process left, once they are an hour old."""
        limit = time.time() - older_than_seconds
        for folder in self._folder.glob("*"):
            if folder.name not in used and folder != self._sources and folder.stat().st_mtime < limit:
                shutil.rmtree(folder, ignore_errors=True)
        for note in self._sources.glob("[!.]*"):
            if self.of(note.read_text()) is None:
                note.unlink(missing_ok=True)


class Writer:
    """Writes one folder of vectors."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True)
        self._rows: list[NDArray[np.uint64]] = []
        self._parts: list[NDArray[np.float32]] = []
        self._shards = 0
        self._digest = hashlib.sha256()
        self.count = 0

    def add(self, rows: NDArray[np.uint64], vectors: NDArray[np.float32]) -> None:
        """The next rows (m,) and vectors (m, d)."""
        if not len(rows):
            return
        self._rows.append(rows)
        self._parts.append(vectors)
        self.count += len(rows)
        self._digest.update(np.ascontiguousarray(vectors).data)
        if sum(part.nbytes for part in self._parts) >= SHARD_BYTES:
            self._flush()

    def finish(self) -> str:
        """Makes the folder whole, under its fingerprint: SHA-256 of the vectors' SHA-256 and the rows. Returns it."""
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
        """Leaves nothing; once it is finished, changes nothing."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _flush(self) -> None:
        with whole(self._folder / f"vectors-{self._shards:05d}.npy") as file:
            np.save(file, np.concatenate(self._parts), allow_pickle=False)
        self._shards += 1
        self._parts = []


def _key(source: Source, revision: int) -> str:
    ranges = [list(each) for each in source.ranges]
    return hashlib.sha256(json.dumps([source.dataset_uid, revision, ranges]).encode()).hexdigest()
