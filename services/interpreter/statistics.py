"""What the latents of a run do, from one pass over its codes.

`Accumulator.add` takes CSR blocks as they arrive. It counts co-activations at once and spools every activation into
one temporary file for each range of latents; `finish` then reads range after range, each small enough for memory.
So the codes are read once, memory stays bounded by the largest range, and all numbers are exact: nothing is
rescaled, sampled or guessed before the maximum is known.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from services.interpreter.cooccurrence import Cooccurrence
from services.interpreter.neighbors import Neighbors, decoder_neighbors, jaccard_neighbors

BIN_COUNT = 100
"""Bins of a histogram, of equal width from 0 to the latent's maximum; a bin holds its upper edge."""
TOP_COUNT = 200
"""Strongest rows kept for each latent: people see 50, labels are made from all."""
SPREAD_COUNT = 20
"""Rows kept at equal steps through a latent's ranking, from its strongest to its weakest."""
NEGATIVE_COUNT = 50
"""Rows kept in which a latent is silent."""
NEIGHBOR_COUNT = 10
"""Neighbours kept for each latent, of either kind."""

NO_ROW = np.uint64(2**64 - 1)
"""Stands behind the last row where there are fewer than the table has places."""

_ENTRY = np.dtype([("latent", "<u4"), ("value", "<f4"), ("row", "<u8")])
_RANGE_COUNT = 16

Floats = NDArray[np.float64]
Rows = NDArray[np.uint64]


@dataclass(frozen=True)
class Statistics:
    """Statistics of n latents over R rows.

    active_count: (n,) int64, rows in which the latent is active. density: (n,) active_count / R.
    maximum, mean, variance: (n,) float64 over active rows (population variance); 0 for a dead latent.
    histogram: (n, 100) int64. top_rows: (n, 200) uint64, strongest first, ties to the lower row, NO_ROW behind the
    last; top_values: (n, 200) float32, 0 there. spread_rows: (n, 20) uint64 from strongest to weakest.
    negative_rows: (n, 50) uint64 in which the latent is silent: near ones (strong for its closest neighbours) and
    random ones by turns.
    decoder, coactive: the closest latents by cosine and by Jaccard. cooccurrence: (n, n) CSR int64, rows in which
    both are active, the latent's own count on the diagonal.
    """

    row_count: int
    active_count: NDArray[np.int64]
    density: Floats
    maximum: Floats
    mean: Floats
    variance: Floats
    histogram: NDArray[np.int64]
    top_rows: Rows
    top_values: NDArray[np.float32]
    spread_rows: Rows
    negative_rows: Rows
    decoder: Neighbors
    coactive: Neighbors
    cooccurrence: sparse.csr_array

    @property
    def latent_count(self) -> int:
        """n."""
        return len(self.active_count)


class Accumulator:
    """Takes codes block by block. Use as a context manager: the spool is deleted at its end."""

    def __init__(self, latent_count: int, folder: Path | None = None) -> None:
        """`latent_count` is n; `folder` is where the spool goes (16 bytes for each activation)."""
        self.latent_count = latent_count
        self._spool = tempfile.TemporaryDirectory(prefix="statistics-", dir=folder)
        self._width = max(1, -(-latent_count // _RANGE_COUNT))
        self._files: list[BinaryIO] = [
            (Path(self._spool.name) / f"{start}").open("w+b") for start in range(0, latent_count, self._width)
        ]
        self._cooccurrence = Cooccurrence(latent_count)
        self._rows: list[Rows] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for file in self._files:
            file.close()
        self._spool.cleanup()

    def add(
        self,
        rows: Rows,
        indptr: NDArray[np.uint32],
        indices: NDArray[np.uint32],
        values: NDArray[np.float32],
    ) -> None:
        """Counts a CSR block: (R,) rows, (R + 1,) indptr, (nnz,) indices < n and values > 0. A row comes once only."""
        counts = np.diff(indptr.astype(np.int64))
        entries = np.empty(len(indices), dtype=_ENTRY)
        entries["latent"], entries["value"] = indices, values
        entries["row"] = np.repeat(rows, counts)
        ranges = indices // self._width
        for number in np.unique(ranges):
            self._files[int(number)].write(entries[ranges == number].tobytes())
        self._cooccurrence.add(indptr, indices)
        self._rows.append(rows.copy())

    def finish(
        self, decoder: NDArray[np.float32], *, seed: int = 0, progress: Callable[[int], None] = lambda _: None
    ) -> Statistics:
        """The statistics of all that was added.

        decoder: (n, d), one direction for each latent. seed: of the random negatives. progress: told how many
        latents are done.
        """
        n = self.latent_count
        every_row = np.sort(np.concatenate(self._rows)) if self._rows else np.empty(0, np.uint64)
        tables = _Tables.empty(n)
        for start, entries in self._ranges():
            _summarise(entries, start, min(start + self._width, n), tables)
            progress(min(start + self._width, n) // 2)
        cooccurrence = self._cooccurrence.matrix()
        closest = decoder_neighbors(decoder, NEIGHBOR_COUNT)
        negative_rows = np.full((n, NEGATIVE_COUNT), NO_ROW)
        for start, entries in self._ranges():
            stop = min(start + self._width, n)
            _pick_negatives(entries, start, stop, tables.top_rows, closest, every_row, seed, negative_rows)
            progress((n + stop) // 2)
        return Statistics(
            row_count=len(every_row),
            active_count=tables.active_count,
            density=tables.active_count / max(1, len(every_row)),
            maximum=tables.maximum,
            mean=tables.mean,
            variance=tables.variance,
            histogram=tables.histogram,
            top_rows=tables.top_rows,
            top_values=tables.top_values,
            spread_rows=tables.spread_rows,
            negative_rows=negative_rows,
            decoder=closest,
            coactive=jaccard_neighbors(cooccurrence, NEIGHBOR_COUNT),
            cooccurrence=cooccurrence,
        )

    def _ranges(self) -> Iterator[tuple[int, NDArray[np.void]]]:
        """(first latent, its range's entries by latent, the strongest first, ties to the lower row)."""
        for number, file in enumerate(self._files):
            file.flush()
            entries = np.fromfile(file.name, dtype=_ENTRY)
            yield number * self._width, entries[np.lexsort((entries["row"], -entries["value"], entries["latent"]))]


@dataclass(frozen=True)
class _Tables:
    """What `_summarise` fills in, one row for each latent."""

    active_count: NDArray[np.int64]
    maximum: Floats
    mean: Floats
    variance: Floats
    histogram: NDArray[np.int64]
    top_rows: Rows
    top_values: NDArray[np.float32]
    spread_rows: Rows

    @classmethod
    def empty(cls, n: int) -> Self:
        return cls(
            np.zeros(n, np.int64),
            np.zeros(n),
            np.zeros(n),
            np.zeros(n),
            np.zeros((n, BIN_COUNT), np.int64),
            np.full((n, TOP_COUNT), NO_ROW),
            np.zeros((n, TOP_COUNT), np.float32),
            np.full((n, SPREAD_COUNT), NO_ROW),
        )


def _summarise(entries: NDArray[np.void], start: int, stop: int, tables: _Tables) -> None:
    """Fills in latents `start` to `stop` from their sorted entries."""
    if not len(entries):
        return
    latents = entries["latent"].astype(np.int64)
    values = entries["value"].astype(np.float64)
    counts = np.bincount(latents - start, minlength=stop - start)
    live = np.flatnonzero(counts)
    firsts = (np.cumsum(counts) - counts)[live]
    counts = counts[live]
    place = np.repeat(np.arange(len(live)), counts)
    rank = np.arange(len(entries)) - firsts[place]
    maximum = values[firsts]
    # Two passes, mean then squared deviations: stable where the variance is small beside the mean.
    mean = np.add.reduceat(values, firsts) / counts
    variance = np.add.reduceat((values - mean[place]) ** 2, firsts) / counts
    bins = np.clip(np.ceil(values * BIN_COUNT / maximum[place]).astype(np.int64) - 1, 0, BIN_COUNT - 1)

    tables.active_count[start + live] = counts
    tables.maximum[start + live], tables.mean[start + live], tables.variance[start + live] = maximum, mean, variance
    np.add.at(tables.histogram, (latents, bins), 1)
    top = rank < TOP_COUNT
    tables.top_rows[latents[top], rank[top]] = entries["row"][top]
    tables.top_values[latents[top], rank[top]] = entries["value"][top]
    ranks, used = _spread(counts)
    at, column = np.nonzero(used)
    tables.spread_rows[start + live[at], column] = entries["row"][firsts[at] + ranks[at, column]]


def _spread(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """For each count, up to SPREAD_COUNT different ranks from 0 to count − 1 at equal steps; and which are used."""
    wanted = np.minimum(counts, SPREAD_COUNT)
    column = np.arange(SPREAD_COUNT)
    ranks = column[None, :] * (counts - 1)[:, None] // np.maximum(1, wanted - 1)[:, None]
    return ranks, column[None, :] < wanted[:, None]


def _pick_negatives(
    entries: NDArray[np.void],
    start: int,
    stop: int,
    top_rows: Rows,
    closest: Neighbors,
    every_row: Rows,
    seed: int,
    negative_rows: Rows,
) -> None:
    """Fills in `negative_rows` of latents `start` to `stop`: near and random ones by turns, none twice."""
    bounds = np.searchsorted(entries["latent"], np.arange(start, stop + 1))
    for latent, first, last in zip(range(start, stop), bounds[:-1], bounds[1:], strict=True):
        active = entries["row"][first:last]
        # The closest latents' strongest rows, by turns: the first of each, then the second of each.
        others = closest.indices[latent]
        near = top_rows[others[others >= 0], : NEGATIVE_COUNT // 2].T.ravel()
        near = near[near != NO_ROW]
        random = np.random.default_rng([seed, latent]).choice(
            every_row, size=min(len(every_row), NEGATIVE_COUNT * 2), replace=False
        )
        near, random = near[~np.isin(near, active)], random[~np.isin(random, active)]
        chosen = _by_turns(near, random)[:NEGATIVE_COUNT]
        negative_rows[latent, : len(chosen)] = chosen


def _by_turns(first: Rows, second: Rows) -> Rows:
    """Rows of both by turns, each once, in the order of its first place."""
    turns = np.argsort(np.concatenate([np.arange(len(first)) * 2, np.arange(len(second)) * 2 + 1]), kind="stable")
    mixed = np.concatenate([first, second])[turns]
    _, places = np.unique(mixed, return_index=True)
    return mixed[np.sort(places)]
