"""Which features go with a category, a number or a date of the documents' metadata.

One half of the documents discovers associations, among many tests; the other half tests only these, and their effects
are those in that half (as in phenome-wide association studies and HypotheSAEs): the search has not inflated them there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, special

from services.interpreter import metadata
from services.interpreter.metadata import Kind
from services.interpreter.occurrences import Occurrences
from services.interpreter.significance import Estimates, Z, binomial_p, odds_ratio, q_values

MIN_COUNT = 5
"""Documents with a feature, and inside and outside of a category, below which nothing is tested, in either half."""

Floats = NDArray[np.float64]
Places = NDArray[np.intp]


@dataclass(frozen=True, kw_only=True)
class Association:
    """A feature and a category or a number that go together; counts and effect are of the confirming half."""

    column: int
    """The feature's place among the selected ones."""
    category: str | None
    confirmed: bool
    effect: float
    low: float
    high: float
    p_value: float
    q_value: float
    discovery_effect: float
    discovery_q_value: float
    inside: tuple[int, int]
    """Documents with the feature, of all: in the category, or with a value."""
    outside: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Associations:
    """What goes with a key."""

    kind: Kind
    discovered: Sequence[Association]
    test_count: int
    omitted_categories: int
    document_counts: tuple[int, int]
    """Documents with a value in the discovering and in the confirming half."""


@dataclass(frozen=True)
class _Tests:
    """All tests of one half, (features, categories) each; one category for numbers."""

    effect: Estimates
    p_values: Floats
    tested: NDArray[np.bool_]
    """Whether there are enough documents."""
    none: float
    """The effect where there is none."""
    inside: NDArray[np.int64]
    inside_total: NDArray[np.int64]
    outside: NDArray[np.int64]
    outside_total: NDArray[np.int64]

    def direction(self) -> NDArray[np.bool_]:
        """Whether the effect is positive."""
        return self.effect.value > self.none


def associate(occurrences: Occurrences, values: Sequence[object], kind: Kind | None, *, max_q: float) -> Associations:
    """Which features go with values, one for each document, None where it has none."""
    kind = kind or metadata.kind_of(values)
    categories = metadata.categories(values) if kind is Kind.CATEGORY else None
    if categories is not None:
        has_value = categories.has_value
        parts = [np.flatnonzero(has_value & half) for half in _halves(occurrences)]
        halves = [_category_tests(occurrences.of(places), categories.membership[places]) for places in parts]
    else:
        column = metadata.numbers(values, kind)
        has_value = ~np.isnan(column)
        parts = [np.flatnonzero(has_value & half) for half in _halves(occurrences)]
        halves = [_number_tests(occurrences.of(places), column[places]) for places in parts]
    discovering, confirming = halves
    names: Sequence[str | None] = categories.names if categories is not None else [None]
    discovered, test_count = _discovered(discovering, confirming, names, max_q)
    return Associations(
        kind=kind,
        discovered=discovered,
        test_count=test_count,
        omitted_categories=categories.omitted_count if categories is not None else 0,
        document_counts=(
            int((has_value & ~occurrences.confirming).sum()),
            int((has_value & occurrences.confirming).sum()),
        ),
    )


def _halves(occurrences: Occurrences) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    return ~occurrences.confirming, occurrences.confirming


def _discovered(
    discovering: _Tests, confirming: _Tests, names: Sequence[str | None], max_q: float
) -> tuple[list[Association], int]:
    """The associations that one half discovers, tested in the other; confirmed and strong ones first."""
    columns, categories = np.nonzero(discovering.tested & confirming.tested)
    tests = (columns, categories)
    discovery_q = q_values(discovering.p_values[tests])
    significant = np.flatnonzero(discovery_q <= max_q)
    columns, categories, discovery_q = columns[significant], categories[significant], discovery_q[significant]
    confirmation_q = q_values(confirming.p_values[columns, categories])
    same = (discovering.direction() == confirming.direction())[columns, categories]
    associations = [
        Association(
            column=column,
            category=names[category],
            confirmed=bool(confirmation_q[place] <= max_q and same[place]),
            effect=float(confirming.effect.value[column, category]),
            low=float(confirming.effect.low[column, category]),
            high=float(confirming.effect.high[column, category]),
            p_value=float(confirming.p_values[column, category]),
            q_value=float(confirmation_q[place]),
            discovery_effect=float(discovering.effect.value[column, category]),
            discovery_q_value=float(discovery_q[place]),
            inside=(int(confirming.inside[column, category]), int(confirming.inside_total[column, category])),
            outside=(int(confirming.outside[column, category]), int(confirming.outside_total[column, category])),
        )
        for place, (column, category) in enumerate(zip(columns.tolist(), categories.tolist(), strict=True))
    ]
    associations.sort(key=lambda entry: (not entry.confirmed, -_strength(entry, confirming.none), entry.p_value))
    return associations, len(tests[0])


def _strength(association: Association, none: float) -> float:
    """How far the interval is from no effect."""
    low, high = association.low, association.high
    if none == 1:  # odds ratios
        low, high, none = float(np.log(max(low, 1e-300))), float(np.log(max(high, 1e-300))), 0.0
    return max(low - none, none - high, 0.0)


def _category_tests(occurrences: Occurrences, membership: sparse.csr_array) -> _Tests:
    """Whether features are more or less frequent inside categories than outside. membership: (N, C)."""
    inside = (occurrences.present.T @ membership).toarray().astype(np.int64)
    counts = np.asarray(occurrences.present.sum(axis=0)).ravel().astype(np.int64)[:, None]
    totals = np.asarray(membership.sum(axis=0)).ravel().astype(np.int64)[None, :]
    outside, outside_totals = counts - inside, len(occurrences) - totals
    return _Tests(
        effect=odds_ratio(inside, totals, outside, outside_totals),
        # Given how often a feature occurs, the number inside is binomial where it has nothing to do with the category.
        p_values=binomial_p(inside, counts, totals / max(1, len(occurrences))),
        tested=(counts >= MIN_COUNT) & (totals >= MIN_COUNT) & (outside_totals >= MIN_COUNT),
        none=1.0,
        inside=inside,
        inside_total=np.broadcast_to(totals, inside.shape),
        outside=outside,
        outside_total=np.broadcast_to(outside_totals, inside.shape),
    )


def _number_tests(occurrences: Occurrences, values: Floats) -> _Tests:
    """Whether documents with a feature have larger or smaller values than those without (Mann and Whitney 1947)."""
    total, counts = len(values), np.asarray(occurrences.present.sum(axis=0)).ravel().astype(np.int64)
    remaining = total - counts
    levels, level_of = np.unique(values, return_inverse=True)
    sizes = np.bincount(level_of, minlength=len(levels))
    below = np.cumsum(sizes) - sizes
    rank_sums = occurrences.present.T @ (below + (sizes + 1) / 2)[level_of]
    pairs = np.maximum(1, counts * remaining)
    area = np.where(counts * remaining > 0, (rank_sums - counts * (counts + 1) / 2) / pairs, 0.5)
    ties = 1 - float((sizes.astype(np.float64) ** 3 - sizes).sum()) / max(1.0, float(total) ** 3 - total)
    deviation = np.sqrt((total + 1) * max(ties, 1e-12) / (12.0 * pairs))
    p_values = special.erfc(np.abs(area - 0.5) / deviation / np.sqrt(2))
    error = _area_error(occurrences, level_of, sizes, area)
    shape = (-1, 1)
    zeros = np.zeros_like(counts).reshape(shape)
    return _Tests(
        effect=Estimates(
            area.reshape(shape),
            np.maximum(0, area - Z * error).reshape(shape),
            np.minimum(1, area + Z * error).reshape(shape),
        ),
        p_values=p_values.reshape(shape),
        tested=((counts >= MIN_COUNT) & (remaining >= MIN_COUNT)).reshape(shape),
        none=0.5,
        inside=counts.reshape(shape),
        inside_total=np.full_like(counts, total).reshape(shape),
        outside=zeros,
        outside_total=zeros,
    )


def _area_error(occurrences: Occurrences, level_of: Places, sizes: NDArray[np.int64], area: Floats) -> Floats:
    """(m,) standard errors of areas under the curve (DeLong, DeLong and Clarke-Pearson 1988).

    level_of: (N,) each document's place among the distinct values. sizes: documents at each of them.
    """
    below = np.cumsum(sizes) - sizes
    columns = occurrences.present.tocsc()
    errors = np.zeros(columns.shape[1])
    for column, (start, end) in enumerate(pairwise(columns.indptr.tolist())):
        count, other_count = end - start, len(level_of) - (end - start)
        if min(count, other_count) < MIN_COUNT:
            continue
        own = np.bincount(level_of[columns.indices[start:end]], minlength=len(sizes))
        own_below = np.cumsum(own) - own
        remaining = sizes - own
        # For each level, the share of documents without the feature below it, and of those with it above it.
        placements = (below - own_below + remaining / 2) / other_count
        reverse = (count - own_below - own / 2) / count
        of_active = float(own @ (placements - area[column]) ** 2) / (count - 1)
        of_others = float(remaining @ (reverse - area[column]) ** 2) / (other_count - 1)
        errors[column] = np.sqrt(of_active / count + of_others / other_count)
    return errors
