"""What the latents of a run do, from one pass over its codes.

`Accumulator.add` takes CSR blocks as they arrive. It counts co-activations at once and spools every activation into
temporary files for each range of latents; `finish` then reads range after range, each small enough for memory.
So the codes are read once, memory stays bounded by the largest range, and all numbers are exact: nothing is
rescaled, sampled or estimated before the maximum is known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from prisma_common.wire import Codes
from services.interpreter.cooccurrence import Cooccurrence
from services.interpreter.decoder import Decoder
from services.interpreter.familiarity import Reference
from services.interpreter.near_misses import (
    HARD_COUNT,
    NEAR_COUNT,
    RANDOM_COUNT,
    Vectors,
    near_misses,
    nearest_to_directions,
    random_silent,
)
from services.interpreter.neighbors import Neighbors, decoder_neighbors, jaccard_neighbors
from services.interpreter.spool import Spool

BIN_COUNT = 100
"""Bins of a histogram, of equal width from 0 to the latent's maximum; a bin holds its upper edge."""
TOP_COUNT = 200
"""Strongest rows stored for each latent: people see 50, labels are written from half of them."""
SPREAD_COUNT = 20
"""Rows stored at equal steps through a latent's ranking, from its strongest to its weakest."""
SAMPLE_COUNT = 300
"""Rows stored in the same way with their activations: labels are chosen by them, and scored on them."""
NEGATIVE_COUNT = 50
"""Rows stored in which a latent is not active."""
NEIGHBOR_COUNT = 10
"""Neighbours stored for each latent, of either kind."""

NO_ROW = np.uint64(2**64 - 1)
"""Fills the table after the last row."""

Floats = NDArray[np.float64]
Rows = NDArray[np.uint64]


@dataclass(frozen=True)
class Statistics:
    """Statistics of n latents over R rows."""

    row_count: int
    """R."""
    active_count: NDArray[np.int64]
    """(n,) rows in which the latent is active."""
    density: Floats
    """(n,) active_count / R."""
    maximum: Floats
    """(n,) over active rows, as the next two; 0 for a dead latent."""
    mean: Floats
    """(n,)."""
    variance: Floats
    """(n,) population variance."""
    histogram: NDArray[np.int64]
    """(n, 100) rows by activation."""
    top_rows: Rows
    """(n, 200) the strongest first, ties to the lower row; NO_ROW after the last."""
    top_values: NDArray[np.float32]
    """(n, 200) activations in top_rows; 0 after the last."""
    spread_rows: Rows
    """(n, 20) from the strongest to the weakest active row."""
    negative_rows: Rows
    """(n, 50) rows in which the latent is not active: near ones (strong for its neighbours) and random ones in turn."""
    sample_rows: Rows
    """(n, 300) as spread_rows."""
    sample_values: NDArray[np.float32]
    """(n, 300) activations in sample_rows; 0 after the last."""
    hard_rows: Rows
    """(n, 120) silent rows whose vectors are nearest to those of active rows; none without vectors."""
    random_rows: Rows
    """(n, 60) silent rows at random."""
    near_rows: Rows
    """(n, 50) silent rows nearest to the latent's detector, the nearest first; none without vectors."""
    stability: NDArray[np.float32]
    """(n,) cosine of the siblings' most similar decoder rows, mean over the siblings; NaN where there are none."""
    decoder: Neighbors
    """The closest latents by cosine."""
    coactive: Neighbors
    """The closest latents by Jaccard index."""
    cooccurrence: sparse.csr_array
    """(n, n) CSR integers: rows in which both are active, each latent's own count on the diagonal."""
    reference: Reference
    """What texts are compared with, to say how familiar they are."""

    @property
    def latent_count(self) -> int:
        """n."""
        return len(self.active_count)


class Accumulator:
    """Takes codes block by block. Use as a context manager: the spool is deleted when it exits."""

    def __init__(self, latent_count: int, folder: Path | None = None) -> None:
        """`latent_count` is n; `folder` is where the spool goes."""
        self.latent_count = latent_count
        self._spool = Spool(latent_count, folder)
        self._cooccurrence = Cooccurrence(latent_count)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._spool.__exit__(kind, error, traceback)

    def add(self, codes: Codes) -> None:
        """Counts a block of codes. No row comes twice."""
        self._spool.add(codes)
        self._cooccurrence.add(codes.indptr, codes.indices)

    def finish(
        self,
        decoder: Decoder,
        *,
        vectors: Vectors | None = None,
        reference: Reference | None = None,
        seed: int = 0,
        progress: Callable[[int], None] = lambda _: None,
    ) -> Statistics:
        """The statistics of all that was added.

        decoder: of the n latents.
        vectors: of a sample of the rows, in which near misses are looked for.
        reference: as in Statistics.
        seed: of the random negatives.
        progress: called with the number of latents that are done; what it raises ends the computation.
        """
        n = self.latent_count
        every_row = np.sort(self._spool.rows())
        tables = _Tables.empty(n)
        for start, entries in self._spool.ranges():
            stop = min(start + self._spool.width, n)
            _summarise(entries, start, stop, tables)
            progress(stop // 2)
        cooccurrence = self._cooccurrence.matrix()
        closest = decoder_neighbors(decoder.directions, NEIGHBOR_COUNT)
        negatives = _Negatives(tables.top_rows, closest, every_row, seed)
        silent = _Silent(decoder.detectors, vectors, every_row, seed)
        for start, entries in self._spool.ranges():
            stop = min(start + self._spool.width, n)
            active_rows = _active_rows(entries, start, stop)
            for latent, active in enumerate(active_rows, start):
                negatives.pick(latent, active)
            silent.pick(start, active_rows)
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
            negative_rows=negatives.rows,
            sample_rows=tables.sample_rows,
            sample_values=tables.sample_values,
            hard_rows=silent.hard_rows,
            random_rows=silent.random_rows,
            near_rows=silent.near_rows,
            stability=decoder.stability,
            decoder=closest,
            coactive=jaccard_neighbors(cooccurrence, NEIGHBOR_COUNT),
            cooccurrence=cooccurrence,
            reference=Reference.empty() if reference is None else reference,
        )


@dataclass(frozen=True)
class _Tables:
    """What `_summarise` fills in, one row per latent."""

    active_count: NDArray[np.int64]
    maximum: Floats
    mean: Floats
    variance: Floats
    histogram: NDArray[np.int64]
    top_rows: Rows
    top_values: NDArray[np.float32]
    spread_rows: Rows
    sample_rows: Rows
    sample_values: NDArray[np.float32]

    @classmethod
    def empty(cls, n: int) -> Self:
        """Tables for n latents that are active nowhere."""
        return cls(
            active_count=np.zeros(n, np.int64),
            maximum=np.zeros(n),
            mean=np.zeros(n),
            variance=np.zeros(n),
            histogram=np.zeros((n, BIN_COUNT), np.int64),
            top_rows=np.full((n, TOP_COUNT), NO_ROW),
            top_values=np.zeros((n, TOP_COUNT), np.float32),
            spread_rows=np.full((n, SPREAD_COUNT), NO_ROW),
            sample_rows=np.full((n, SAMPLE_COUNT), NO_ROW),
            sample_values=np.zeros((n, SAMPLE_COUNT), np.float32),
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
    ranks, in_use = _spread(counts, SPREAD_COUNT)
    latent, column = np.nonzero(in_use)
    tables.spread_rows[start + live[latent], column] = entries["row"][firsts[latent] + ranks[latent, column]]
    ranks, in_use = _spread(counts, SAMPLE_COUNT)
    latent, column = np.nonzero(in_use)
    places = firsts[latent] + ranks[latent, column]
    tables.sample_rows[start + live[latent], column] = entries["row"][places]
    tables.sample_values[start + live[latent], column] = entries["value"][places]


def _active_rows(entries: NDArray[np.void], start: int, stop: int) -> list[Rows]:
    """The active rows of latents `start` to `stop`, the strongest first, from their sorted entries."""
    bounds = np.searchsorted(entries["latent"], np.arange(start, stop + 1))
    return [entries["row"][first:last] for first, last in pairwise(bounds.tolist())]


def _spread(counts: NDArray[np.int64], size: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """For each count, up to `size` different ranks from 0 to count − 1 at equal steps; and which are in use."""
    rank_counts = np.minimum(counts, size)
    column = np.arange(size)
    ranks = column[None, :] * (counts - 1)[:, None] // np.maximum(1, rank_counts - 1)[:, None]
    return ranks, column[None, :] < rank_counts[:, None]


class _Negatives:
    """Picks rows in which latents are not active: near and random ones in turn, none twice."""

    def __init__(self, top_rows: Rows, closest: Neighbors, every_row: Rows, seed: int) -> None:
        self._top_rows = top_rows
        self._closest = closest
        self._every_row = every_row
        self._seed = seed
        self.rows = np.full((len(top_rows), NEGATIVE_COUNT), NO_ROW)
        """(n, 50), NO_ROW after the last."""

    def pick(self, latent: int, active: Rows) -> None:
        """Fills in a latent that is active in these rows."""
        near, random = self._near(latent), self._random(latent)
        near, random = near[~np.isin(near, active)], random[~np.isin(random, active)]
        rows = _in_turn(near, random)[:NEGATIVE_COUNT]
        self.rows[latent, : len(rows)] = rows

    def _near(self, latent: int) -> Rows:
        """The closest latents' strongest rows in turn: the first of each, then the second of each."""
        neighbors = self._closest.indices[latent]
        rows = self._top_rows[neighbors[neighbors >= 0], : NEGATIVE_COUNT // 2].T.ravel()
        return rows[rows != NO_ROW]

    def _random(self, latent: int) -> Rows:
        size = min(len(self._every_row), NEGATIVE_COUNT * 2)
        return np.random.default_rng([self._seed, latent]).choice(self._every_row, size=size, replace=False)


class _Silent:
    """Picks silent rows: near misses and random ones, on which labels are tested, and those nearest to detectors."""

    def __init__(self, detectors: NDArray[np.float32], vectors: Vectors | None, every_row: Rows, seed: int) -> None:
        latent_count = len(detectors)
        self._detectors = detectors
        self._vectors = vectors
        self._rows = every_row if vectors is None else vectors.rows
        self._seed = seed
        self.hard_rows = np.full((latent_count, HARD_COUNT), NO_ROW)
        """(n, 120), NO_ROW after the last."""
        self.random_rows = np.full((latent_count, RANDOM_COUNT), NO_ROW)
        """(n, 60), NO_ROW after the last."""
        self.near_rows = np.full((latent_count, NEAR_COUNT), NO_ROW)
        """(n, 50), NO_ROW after the last."""

    def pick(self, start: int, active: Sequence[Rows]) -> None:
        """Fills in the latents from `start` on. active: the rows of each, the strongest first."""
        for latent, rows in enumerate(active, start):
            random = random_silent(rows, self._rows, (self._seed, latent))
            self.random_rows[latent, : len(random)] = random
        if self._vectors is not None and len(self._vectors.rows):
            for latent, hard in enumerate(near_misses(active, self._vectors), start):
                self.hard_rows[latent, : len(hard)] = hard
            directions = self._detectors[start : start + len(active)]
            for latent, near in enumerate(nearest_to_directions(directions, active, self._vectors), start):
                self.near_rows[latent, : len(near)] = near


def _in_turn(first: Rows, second: Rows) -> Rows:
    """Rows of both in turn, without repetition."""
    turns = np.argsort(np.concatenate([np.arange(len(first)) * 2, np.arange(len(second)) * 2 + 1]), kind="stable")
    mixed = np.concatenate([first, second])[turns]
    _, places = np.unique(mixed, return_index=True)
    return mixed[np.sort(places)]
