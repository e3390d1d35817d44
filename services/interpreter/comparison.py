"""Which features are more frequent in one set of documents than in another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.interpreter.occurrences import Occurrences
from services.interpreter.significance import binomial_p, q_values, rate_difference

MIN_COUNT = 5
"""Documents of both sets together with a feature, below which it is not tested."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A feature that is more frequent in one of the sets."""

    column: int
    """The feature's place among the selected ones."""
    first_share: float
    second_share: float
    value: float
    """The first share less the second."""
    low: float
    high: float
    p_value: float
    q_value: float


@dataclass(frozen=True)
class Comparison:
    """How two sets of documents differ."""

    differences: Sequence[Difference]
    """The significant ones, those that differ most first."""
    test_count: int


def compare(first: Occurrences, second: Occurrences, *, max_q: float) -> Comparison:
    """Compares the shares of documents with each feature."""
    counts = [np.asarray(part.present.sum(axis=0)).ravel() for part in (first, second)]
    tested = np.flatnonzero(sum(counts) >= MIN_COUNT) if min(len(first), len(second)) else np.empty(0, np.intp)
    one, other = (count[tested] for count in counts)
    estimate = rate_difference(one, len(first), other, len(second))
    # Given how often a feature occurs in both sets together, its number in the first is binomial without a difference.
    p_values = binomial_p(one, one + other, len(first) / max(1, len(first) + len(second)))
    q = q_values(p_values)
    differences = [
        Difference(
            column=int(tested[place]),
            first_share=float(one[place] / len(first)),
            second_share=float(other[place] / len(second)),
            value=float(estimate.value[place]),
            low=float(estimate.low[place]),
            high=float(estimate.high[place]),
            p_value=float(p_values[place]),
            q_value=float(q[place]),
        )
        for place in np.flatnonzero(q <= max_q).tolist()
    ]
    differences.sort(key=lambda entry: (-max(entry.low, -entry.high), entry.p_value, entry.column))
    return Comparison(differences, len(tested))
