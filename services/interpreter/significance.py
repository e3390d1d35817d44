"""Tests and intervals for many features at once. Intervals are of 95 %, p-values two-sided."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Z = 1.959963984540054

Floats = NDArray[np.float64]


class Estimates(NamedTuple):
    """Estimates with their intervals, in arrays of one shape."""

    value: Floats
    low: Floats
    high: Floats


def q_values(p_values: Floats, test_count: int | None = None) -> Floats:
    """(t,) for each test the smallest share of false discoveries at which it is one (Benjamini and Hochberg 1995).

    test_count: of tests that were made, those with a larger p-value than all of these included; by default t.
    """
    count = len(p_values)
    order = np.argsort(-p_values)
    scaled = p_values[order] * (count if test_count is None else test_count) / np.arange(count, 0, -1)
    result = np.empty(count)
    result[order] = np.minimum(1, np.minimum.accumulate(scaled))
    return result


def binomial_p(successes: ArrayLike, trials: ArrayLike, share: ArrayLike) -> Floats:
    """The probability of a number of successes at least as unlikely as these: twice the smaller tail."""
    k, n, p = np.broadcast_arrays(np.asarray(successes, float), np.asarray(trials, float), np.asarray(share, float))
    at_most = np.where(k >= n, 1.0, special.betainc(np.maximum(n - k, 1e-9), k + 1, 1 - p))
    at_least = np.where(k <= 0, 1.0, special.betainc(np.maximum(k, 1e-9), n - k + 1, p))
    return np.minimum(1, 2 * np.minimum(at_most, at_least))


def odds_ratio(inside: ArrayLike, inside_total: ArrayLike, outside: ArrayLike, outside_total: ArrayLike) -> Estimates:
    """How many times larger the odds are inside than outside, half an observation added to each cell (Gart 1966)."""
    a, c = np.asarray(inside) + 0.5, np.asarray(outside) + 0.5
    b, d = np.asarray(inside_total) - inside + 0.5, np.asarray(outside_total) - outside + 0.5
    logarithm, error = np.log(a * d / (b * c)), np.sqrt(1 / a + 1 / b + 1 / c + 1 / d)
    return Estimates(np.exp(logarithm), np.exp(logarithm - Z * error), np.exp(logarithm + Z * error))


def rate_difference(first: ArrayLike, first_total: ArrayLike, second: ArrayLike, second_total: ArrayLike) -> Estimates:
    """The first share less the second (Newcombe 1998, method 10: from both shares' Wilson intervals)."""
    one, other = _wilson(first, first_total), _wilson(second, second_total)
    difference = one.value - other.value
    down = np.hypot(one.value - one.low, other.high - other.value)
    up = np.hypot(one.high - one.value, other.value - other.low)
    return Estimates(difference, difference - down, difference + up)


def _wilson(successes: ArrayLike, trials: ArrayLike) -> Estimates:
    k, n = np.asarray(successes, float), np.maximum(np.asarray(trials, float), 1e-9)
    share = k / n
    middle = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    width = Z / (1 + Z**2 / n) * np.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return Estimates(share, np.maximum(0, middle - width), np.minimum(1, middle + width))
