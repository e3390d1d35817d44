"""The order in which a training takes its vectors: the same for the same seed, whatever fits into memory."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from services.trainer.sae.kernels.dtypes import F32, I64
from services.trainer.sae.vectors import CHUNK, Vectors, check

WINDOW_BYTES = 1 << 29
"""Vectors that are shuffled together; twice as much is in memory, for the next window is read ahead."""
MAX_HELD_OUT = 1 << 16
"""Most rows that are kept from training."""


def entropy(seed: int, sibling: int) -> list[int]:
    """What the random numbers of a training follow from: 0 is the run itself, siblings count from 1."""
    return [seed, 7, sibling] if sibling else [seed]


def divided(rows: int, held_out_fraction: float, seed: int) -> tuple[I64, I64]:
    """The places of so many rows that a training holds out, rising, and those of the others in a random order."""
    held_out_rows = min(round(held_out_fraction * rows), MAX_HELD_OUT) if rows > 1 else 0
    order = np.random.default_rng([seed, 0]).permutation(rows)
    return np.sort(order[:held_out_rows]), order[held_out_rows:]


@dataclass(frozen=True)
class _Window:
    pool: F32
    order: I64


class Batches:
    """The batches of a training, by step: which rows, in which order, follows from the seed alone.

    Each epoch goes over all training rows in a new order, less the rest that fills no batch. Data that does not fit a
    window is shuffled in two steps: its chunks among each other, then the rows of as many chunks as fill a window.
    Siblings keep the same rows from training, and take the halves of the others in turn.
    """

    def __init__(
        self,
        vectors: Vectors,
        batch_size: int,
        held_out_fraction: float,
        seed: int,
        *,
        sibling: int = 0,
        window_bytes: int = WINDOW_BYTES,
    ) -> None:
        rows = vectors.rows
        self.held_out, train_rows = divided(rows, held_out_fraction, seed)
        if sibling and len(train_rows) > 1:
            shuffled = np.random.default_rng([seed, 5, (sibling - 1) // 2]).permutation(train_rows)
            train_rows = np.array_split(shuffled, 2)[(sibling - 1) % 2]
        self.train_rows = np.sort(train_rows)
        self.batch_size = min(batch_size, len(self.train_rows))
        self.steps_per_epoch = len(self.train_rows) // self.batch_size
        self._vectors = vectors
        self._entropy = entropy(seed, sibling)
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
        order = np.random.default_rng([*self._entropy, 3, epoch]).permutation(chunks)
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
        rng = np.random.default_rng([*self._entropy, 1, epoch, number])
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
