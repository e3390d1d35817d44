"""Which features tell some texts from others: an area under the curve for each, from sparse activations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, special

from services.interpreter.significance import q_values

RESAMPLES = 400
_BLOCK_CELLS = 1 << 21
"""Weights of texts that are drawn at once: bounds memory."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Separator:
    """A feature that some of the texts activate."""

    column: int
    """The feature's place among the selected ones."""
    area: float
    """The probability that a positive text activates it more than a negative one; ties count half."""
    low: float
    high: float
    p_value: float
    q_value: float
    positive_count: int
    """Positive texts that activate it."""
    negative_count: int


def separate(positive: sparse.csr_array, negative: sparse.csr_array, *, limit: int) -> tuple[list[Separator], int]:
    """The features that separate best, in either direction, and how many the texts activate.

    positive, negative: (texts, m) activations.
    """
    both = sparse.csr_array(sparse.vstack([positive, negative], format="csr"))
    is_positive = np.arange(both.shape[0]) < positive.shape[0]
    areas, p_values = areas_under_curve(both, is_positive)
    active = np.flatnonzero(np.asarray((both > 0).sum(axis=0)).ravel())
    q = q_values(p_values[active])
    order = np.lexsort((active, p_values[active], -np.abs(areas[active] - 0.5)))[:limit]
    columns = both.tocsc()
    separators: list[Separator] = []
    for place in order.tolist():
        column, area = int(active[place]), float(areas[active[place]])
        scores = columns[:, [column]].toarray().ravel().astype(np.float64)
        ends = area_interval(scores[is_positive], scores[~is_positive], seed=column)
        separators.append(
            Separator(
                column=column,
                area=area,
                low=min(ends[0], area),
                high=max(ends[1], area),
                p_value=float(p_values[column]),
                q_value=float(q[place]),
                positive_count=int((scores[is_positive] > 0).sum()),
                negative_count=int((scores[~is_positive] > 0).sum()),
            )
        )
    return separators, len(active)


def areas_under_curve(activations: sparse.csr_array, is_positive: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """(m,) areas under the curve of all features, and their p-values (Mann and Whitney 1947, corrected for ties).

    activations: (texts, m). is_positive: (texts,). Only entries are ranked: all texts without one are tied below them.
    """
    total, positive = len(is_positive), int(is_positive.sum())
    negative = total - positive
    feature_count = activations.shape[1]
    entries = activations.tocoo()
    rows, columns, values = entries.coords[0], entries.coords[1], entries.data
    order = np.lexsort((values, columns))
    rows, columns, values = rows[order], columns[order], values[order]
    counts = np.bincount(columns, minlength=feature_count)
    silent = total - counts
    # Groups of equal activations of one feature; their common rank is the mean of their places.
    starts = np.flatnonzero(np.diff(columns, prepend=-1).astype(bool) | np.diff(values, prepend=np.nan).astype(bool))
    sizes = np.diff(np.append(starts, len(columns)))
    first_place = (np.cumsum(counts) - counts)[columns[starts]]
    ranks = silent[columns[starts]] + starts - first_place + (sizes + 1) / 2
    rank_of = np.repeat(ranks, sizes)
    from_positive = is_positive[rows]
    rank_sums = np.bincount(columns[from_positive], weights=rank_of[from_positive], minlength=feature_count)
    active_positive = np.bincount(columns[from_positive], minlength=feature_count)
    rank_sums = rank_sums + (positive - active_positive) * (silent + 1) / 2
    pairs = max(1, positive * negative)
    areas = (rank_sums - positive * (positive + 1) / 2) / pairs
    cubes = np.bincount(columns[starts], weights=sizes.astype(np.float64) ** 3 - sizes, minlength=feature_count)
    ties = 1 - (cubes + silent.astype(np.float64) ** 3 - silent) / max(1.0, float(total) ** 3 - total)
    deviation = np.sqrt(np.maximum((total + 1) * ties / (12 * pairs), 1e-30))
    # With a correction for continuity: half of the smallest step of the area.
    distance = np.maximum(0, np.abs(areas - 0.5) - 0.5 / pairs)
    return areas, np.asarray(special.erfc(distance / deviation / np.sqrt(2)), np.float64)


def area_interval(positive: Floats, negative: Floats, *, seed: int = 0) -> tuple[float, float]:
    """The 95 % interval of an area under the curve (Bayesian bootstrap, Rubin 1981). positive, negative: scores.

    One more text of either kind counts that is tied with all others: without it, a few texts that are separated without
    an error would give an interval of no width.
    """
    levels, level_of = np.unique(np.concatenate([positive, negative]), return_inverse=True)
    random = np.random.default_rng([seed, len(positive), len(negative)])
    at_level = [
        sparse.csr_array((np.ones(len(places)), (np.arange(len(places)), places)), shape=(len(places), len(levels)))
        for places in np.split(level_of, [len(positive)])
    ]
    block = max(1, _BLOCK_CELLS // max(1, len(level_of)))
    areas = np.concatenate(
        [_resampled_areas(random, at_level, min(block, RESAMPLES - start)) for start in range(0, RESAMPLES, block)]
    )
    low, high = np.percentile(areas, [2.5, 97.5])
    return float(low), float(high)


def _resampled_areas(random: np.random.Generator, at_level: list[sparse.csr_array], count: int) -> Floats:
    """(count,) areas with random weights. at_level: of positive and negative texts (texts, levels), 1 at theirs."""
    weights = [random.standard_exponential((count, part.shape[0] + 1)) for part in at_level]
    shares = [part / part.sum(axis=1, keepdims=True) for part in weights]
    one, other = (np.asarray(share[:, 1:] @ part) for share, part in zip(shares, at_level, strict=True))
    wins = (one * (np.cumsum(other, axis=1) - other / 2)).sum(axis=1)
    tied = [share[:, 0] for share in shares]
    return wins + (tied[0] + tied[1] - tied[0] * tied[1]) / 2
