"""Vectors to train on: in memory, or in files that are larger than it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from services.trainer.sae.kernels.dtypes import F32, I64

CHUNK = 4096
"""Rows that are read or measured together."""
MIN_VARIANCE = 1e-12
"""Smallest Σ|x − mean|² / Σ|x|² of which a fraction can be measured in float32."""


class InvalidVectors(ValueError):
    """Vectors of a wrong dimension, or with NaN or infinity; `row` is the place of the first wrong one."""

    def __init__(self, message: str, row: int) -> None:
        super().__init__(message)
        self.row = row


def check(vectors: F32, dimension: int, first: int = 0) -> None:
    """Raises InvalidVectors for a wrong dimension, NaN or infinity; rows are counted from `first`."""
    if vectors.ndim != 2 or vectors.shape[1] != dimension:
        raise InvalidVectors(f"expected vectors of {dimension} numbers, got {vectors.shape[-1]}", first)
    # One number tells of the whole block: a sum of finite float32 numbers stays finite in float64.
    if np.isfinite(vectors.sum(dtype=np.float64)):
        return
    row = first + int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
    raise InvalidVectors(f"vector {row} holds NaN or infinity", row)


class Vectors:
    """(N, d) float32 vectors: an array, or the `.npy` shards of a folder, in the order of their names.

    Files are read, not mapped: so vectors that are not in use don't count as this process's memory.
    """

    def __init__(self, source: F32 | Path) -> None:
        self._array = source if isinstance(source, np.ndarray) else None
        self._files: list[tuple[Path, int]] = []
        self._starts: list[int] = [0]
        if isinstance(source, np.ndarray):
            self.rows, self.dimension = source.shape
            return
        self.dimension = 0
        for file in sorted(source.glob("vectors-*.npy")):
            mapped = np.load(file, mmap_mode="r", allow_pickle=False)
            self._files.append((file, mapped.offset))  # type: ignore[attr-defined]  # numpy's memmap has it
            self._starts.append(self._starts[-1] + len(mapped))
            self.dimension = mapped.shape[1]
        self.rows = self._starts[-1]

    def read(self, begin: int, end: int) -> F32:
        """Rows begin to end, (end − begin, d)."""
        if self._array is not None:
            return np.ascontiguousarray(self._array[begin:end], dtype=np.float32)
        result = np.empty((end - begin, self.dimension), dtype=np.float32)
        for (file, offset), start, stop in zip(self._files, self._starts, self._starts[1:], strict=False):
            low, high = max(begin, start), min(end, stop)
            if low < high:
                _read_into(result[low - begin : high - begin], file, offset + 4 * self.dimension * (low - start))
        return result

    def take(self, rows: I64) -> F32:
        """These rows, in rising order, (len(rows), d)."""
        if self._array is not None:
            return np.ascontiguousarray(self._array[rows], dtype=np.float32)
        if 16 * len(rows) < self.rows:  # few: cheaper than reading all
            return np.concatenate([self.read(row, row + 1) for row in rows.tolist()])
        result = np.empty((len(rows), self.dimension), dtype=np.float32)
        for begin in range(0, self.rows, CHUNK):
            first, last = np.searchsorted(rows, (begin, begin + CHUNK))
            if first < last:
                result[first:last] = self.read(begin, min(begin + CHUNK, self.rows))[rows[first:last] - begin]
        return result


def mean_of(vectors: F32) -> F32:
    """The mean (d,) of (N, d) vectors."""
    return np.asarray(vectors.mean(axis=0, dtype=np.float64), dtype=np.float32)


def variation(vectors: F32, mean: F32) -> float | None:
    """Σ|x − mean|² of (N, d) vectors; None for fewer than two, and where rounding errors are all that there is."""
    if len(vectors) < 2:
        return None
    around = sum(float(np.square(part - mean, dtype=np.float64).sum()) for part in blocks(vectors))
    total = sum(float(np.square(part, dtype=np.float64).sum()) for part in blocks(vectors))
    return around if around > MIN_VARIANCE * total else None


def blocks(vectors: F32) -> Iterator[F32]:
    """(N, d) vectors in parts of CHUNK: what is computed of a part takes little memory beside all of them."""
    for start in range(0, len(vectors), CHUNK):
        yield vectors[start : start + CHUNK]


def _read_into(vectors: F32, file: Path, offset: int) -> None:
    """Fills vectors (m, d) with the bytes of a file from `offset` on. Raises EOFError if it has fewer."""
    with file.open("rb", buffering=0) as raw:
        raw.seek(offset)
        missing = memoryview(vectors.data).cast("B")
        while len(missing):
            size = raw.readinto(missing)
            if not size:
                raise EOFError(f"{file.name} ends before its vectors do")
            missing = missing[size:]
