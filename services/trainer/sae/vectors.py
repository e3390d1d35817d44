"""Vectors to train on, in memory or in files larger than it, and the order in which batches take them."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from services.trainer.sae.kernels.dtypes import F32, I64

Normalization = Literal["standard", "scale", "none"]
CHUNK = 4096
"""Rows that are read together."""
WINDOW_BYTES = 1 << 29
"""Vectors that are shuffled together; twice as much is in memory, for the next window is read ahead."""
MAX_HELD_OUT = 1 << 16
_SAMPLE_CHUNKS = 64


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
                with file.open("rb", buffering=0) as raw:
                    raw.seek(offset + 4 * self.dimension * (low - start))
                    part = memoryview(result[low - begin : high - begin].data).cast("B")
                    while len(part):
                        size = raw.readinto(part)
                        if not size:
                            raise EOFError(f"{file.name} ends before its vectors do")
                        part = part[size:]
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


MIN_VARIANCE = 1e-12
"""Smallest Σ|x − mean|² / Σ|x|² of which a fraction can be measured in float32."""


def mean_of(vectors: F32) -> F32:
    """The mean (d,) of (N, d) vectors."""
    return np.asarray(vectors.mean(axis=0, dtype=np.float64), dtype=np.float32)


def variation(vectors: F32, mean: F32) -> float | None:
    """Σ|x − mean|² of (N, d) vectors; None for fewer than two, and where rounding errors are all that there is."""
    if len(vectors) < 2:
        return None
    around = float(np.square(vectors - mean, dtype=np.float64).sum())
    return around if around > MIN_VARIANCE * float(np.square(vectors, dtype=np.float64).sum()) else None


@dataclass(frozen=True)
class Spread:
    """How vectors are normalised: (x − mean) / scale."""

    mean: F32
    """(d,)."""
    scale: F32
    """(d,)."""
    center: F32
    """Mean of the normalised vectors, (d,)."""
    constant: NDArray[np.bool_]
    """Dimensions that hardly vary, (d,): they are not scaled."""


def normalization(vectors: Vectors, rows: I64, how: Normalization, seed: int) -> Spread:
    """How vectors are normalised, measured on the rows, or on those in 64 seeded chunks of them."""
    starts = np.arange(0, vectors.rows, CHUNK)
    if len(starts) > _SAMPLE_CHUNKS:
        starts = np.sort(np.random.default_rng([seed, 2]).permutation(starts)[:_SAMPLE_CHUNKS])
    count, mean, squares = 0, np.zeros(vectors.dimension), np.zeros(vectors.dimension)
    for begin in starts.tolist():
        own = rows[slice(*np.searchsorted(rows, (begin, begin + CHUNK)))] - begin
        if not len(own):
            continue
        part = vectors.read(begin, min(begin + CHUNK, vectors.rows))
        check(part, vectors.dimension, begin)
        part = part[own].astype(np.float64)
        # Chan, Golub and LeVeque 1979: moments of two parts make those of the whole.
        part_mean = part.mean(axis=0)
        delta = part_mean - mean
        both = count + len(part)
        squares += np.square(part - part_mean).sum(axis=0) + np.square(delta) * count * len(part) / both
        mean += delta * len(part) / both
        count = both
    deviation = np.sqrt(squares / max(count, 1))
    constant = deviation < 1e-6 * max(float(np.abs(mean).max()), float(deviation.max()), 1e-30)
    zeros, ones = np.zeros(vectors.dimension, dtype=np.float32), np.ones(vectors.dimension, dtype=np.float32)
    if how == "none":
        return Spread(mean=zeros, scale=ones, center=mean.astype(np.float32), constant=constant)
    if how == "scale":
        deviation = np.full_like(deviation, np.sqrt(np.square(deviation).mean()))
        return Spread(mean.astype(np.float32), np.where(deviation, deviation, 1).astype(np.float32), zeros, constant)
    return Spread(mean.astype(np.float32), np.where(constant, 1, deviation).astype(np.float32), zeros, constant)


@dataclass(frozen=True)
class _Window:
    pool: F32
    order: I64


class Batches:
    """The batches of a training, by step: which rows, in which order, follows from the seed alone.

    Each epoch goes over all training rows in a new order, less the rest that fills no batch. Data that does not fit a
    window is shuffled in two steps: its chunks among each other, then the rows of as many chunks as fill a window.
    """

    def __init__(
        self, vectors: Vectors, batch_size: int, held_out_fraction: float, seed: int, window_bytes: int = WINDOW_BYTES
    ) -> None:
        rows = vectors.rows
        held_out_rows = min(round(held_out_fraction * rows), MAX_HELD_OUT) if rows > 1 else 0
        order = np.random.default_rng([seed, 0]).permutation(rows)
        self.held_out, self.train_rows = np.sort(order[:held_out_rows]), np.sort(order[held_out_rows:])
        self.batch_size = min(batch_size, len(self.train_rows))
        self.steps_per_epoch = len(self.train_rows) // self.batch_size
        self._vectors = vectors
        self._seed = seed
        self._window_chunks = max(1, window_bytes // (4 * vectors.dimension * CHUNK))
        chunks = -(-rows // CHUNK)
        self._whole = chunks <= self._window_chunks
        self._bounds = np.searchsorted(self.train_rows, np.minimum(np.arange(chunks + 1) * CHUNK, rows))
        self._windows = lru_cache(maxsize=4)(self._lay_out)
        self._loading: dict[tuple[int, int], Future[_Window]] = {}
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="windows")
        self._pool: F32 | None = None

    def batch(self, step: int) -> tuple[F32, I64]:
        """The vectors (M, d) that hold the batch of a step, counted from 0, and where in them it lies, (B,)."""
        epoch, place = divmod(step, self.steps_per_epoch)
        first = place * self.batch_size
        _chunks, starts = self._windows(epoch)
        number = int(np.searchsorted(starts, first, side="right")) - 1
        window = self._window(epoch, number)
        begin = first - int(starts[number])
        positions = window.order[begin : begin + self.batch_size]
        if len(positions) == self.batch_size:
            return window.pool, positions
        parts = [window.pool[positions]]
        while (missing := self.batch_size - sum(map(len, parts))) > 0:
            number += 1
            window = self._window(epoch, number)
            parts.append(window.pool[window.order[:missing]])
        return np.concatenate(parts), np.arange(self.batch_size)

    def _lay_out(self, epoch: int) -> tuple[list[NDArray[np.intp]], I64]:
        """The chunks of each window of an epoch, and the place in the epoch's order where each window begins."""
        chunks = len(self._bounds) - 1
        if self._whole:
            return [np.arange(chunks)], np.zeros(1, dtype=np.int64)
        order = np.random.default_rng([self._seed, 3, epoch]).permutation(chunks)
        windows = [order[i : i + self._window_chunks] for i in range(0, chunks, self._window_chunks)]
        sizes = [int((self._bounds[chunks + 1] - self._bounds[chunks]).sum()) for chunks in windows]
        return windows, np.concatenate([[0], np.cumsum(sizes[:-1])])

    def _window(self, epoch: int, number: int) -> _Window:
        windows, _starts = self._windows(epoch)
        current = (epoch, number)
        following = (epoch, number + 1) if number + 1 < len(windows) else (epoch + 1, 0)
        windows_in_use = [current] if self._whole else [current, following]
        for key in windows_in_use:
            if key not in self._loading:
                self._loading[key] = self._reader.submit(self._load, *key)
        window = self._loading[current].result()
        for key in [key for key in self._loading if key not in windows_in_use]:
            del self._loading[key]
        return window

    def _load(self, epoch: int, number: int) -> _Window:
        rng = np.random.default_rng([self._seed, 1, epoch, number])
        if self._whole:
            if self._pool is None:
                self._pool = self._vectors.read(0, self._vectors.rows)
                check(self._pool, self._vectors.dimension)
            return _Window(self._pool, rng.permutation(self.train_rows))
        chunks = np.sort(self._windows(epoch)[0][number])
        pool = np.empty((len(chunks) * CHUNK, self._vectors.dimension), dtype=np.float32)
        rows: list[I64] = []
        for place, chunk in enumerate(chunks):
            begin, end = chunk * CHUNK, min((chunk + 1) * CHUNK, self._vectors.rows)
            part = self._vectors.read(begin, end)
            check(part, self._vectors.dimension, begin)
            pool[place * CHUNK : place * CHUNK + len(part)] = part
            rows.append(self.train_rows[self._bounds[chunk] : self._bounds[chunk + 1]] - begin + place * CHUNK)
        return _Window(pool, rng.permutation(np.concatenate(rows)))

    def held_out_vectors(self) -> F32:
        """The rows that are kept from training, (H, d)."""
        return self._vectors.take(self.held_out)
