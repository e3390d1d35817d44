"""How numbers are distributed: quantiles and a histogram."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 30
"""Of a histogram, at most."""
_QUANTILES = (0.5, 0.9, 0.99)


@dataclass(frozen=True)
class Distribution:
    """Quantiles of numbers, and their histogram: `edges` has one more than `counts`. All is 0 or empty of no numbers.

    A bin holds what is not less than its first edge and less than its second, the last one its second edge too.
    """

    minimum: float = 0.0
    median: float = 0.0
    p90: float = 0.0
    p99: float = 0.0
    maximum: float = 0.0
    mean: float = 0.0
    edges: Sequence[float] = ()
    counts: Sequence[int] = ()


class LengthCounts:
    """How many texts have each length. The memory is that of the different lengths, however many texts there are."""

    def __init__(self) -> None:
        self._lengths = np.empty(0, np.int64)
        self._counts = np.empty(0, np.int64)

    def add(self, lengths: Sequence[int]) -> None:
        """Counts some texts."""
        added, counts = np.unique(np.asarray(lengths, np.int64), return_counts=True)
        self._lengths, places = np.unique(np.concatenate([self._lengths, added]), return_inverse=True)
        totals = np.zeros(len(self._lengths), np.int64)
        np.add.at(totals, places, np.concatenate([self._counts, counts]))
        self._counts = totals

    def distribution(self) -> Distribution:
        """Exact quantiles, and bins of equal width up to the 99 % quantile, with one more for longer texts."""
        if not len(self._lengths):
            return Distribution()
        lengths, counts = self._lengths, self._counts
        ends = np.cumsum(counts)
        total = int(ends[-1])
        ranks = [max(1, int(np.ceil(share * total))) for share in _QUANTILES]
        median, p90, p99 = (int(lengths[np.searchsorted(ends, rank)]) for rank in ranks)
        edges = _length_edges(int(lengths[0]), p99, int(lengths[-1]))
        return Distribution(
            minimum=float(lengths[0]),
            median=float(median),
            p90=float(p90),
            p99=float(p99),
            maximum=float(lengths[-1]),
            mean=float(np.dot(lengths, counts) / total),
            edges=edges,
            counts=np.histogram(lengths, edges, weights=counts)[0].astype(np.int64).tolist(),
        )


def of_numbers(numbers: NDArray[np.float64]) -> Distribution:
    """The distribution of numbers (n,), with bins of equal width."""
    if not len(numbers):
        return Distribution()
    ordered = np.sort(numbers)
    ranks = [max(1, int(np.ceil(share * len(ordered)))) for share in _QUANTILES]
    median, p90, p99 = (float(ordered[rank - 1]) for rank in ranks)
    counts, edges = _histogram(ordered)
    return Distribution(
        minimum=float(ordered[0]),
        median=median,
        p90=p90,
        p99=p99,
        maximum=float(ordered[-1]),
        mean=float(ordered.mean()),
        edges=edges,
        counts=counts,
    )


def _histogram(ordered: NDArray[np.float64]) -> tuple[list[int], list[float]]:
    """Counts and edges; one bin where the numbers hardly differ."""
    low, high = float(ordered[0]), float(ordered[-1])
    if high - low <= 1e-6 * max(abs(low), abs(high)):
        return [len(ordered)], [low, high]
    counts, edges = np.histogram(ordered, BINS, range=(low, high))
    return counts.tolist(), edges.tolist()


def _length_edges(low: int, p99: int, high: int) -> list[float]:
    """Whole numbers: steps of a round width from the smallest length past the 99 % quantile, then the largest."""
    width = _round_width((p99 + 1 - low) / (BINS - 1))
    start = low // width * width
    edges = [float(edge) for edge in range(start, p99 + width + 1, width)]
    if edges[-1] < high:
        edges.append(float(high))
    return edges


def _round_width(at_least: float) -> int:
    """1, 2 or 5 times a power of ten."""
    power = 1
    while True:
        for factor in (1, 2, 5):
            if factor * power >= at_least:
                return factor * power
        power *= 10
