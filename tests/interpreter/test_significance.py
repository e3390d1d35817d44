"""Tests and intervals equal those of scipy, and simple references."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from services.interpreter.significance import binomial_p, odds_ratio, q_values, rate_difference


@given(arrays(np.float64, st.integers(1, 50), elements=st.floats(0, 1)))
def test_q_values_are_those_of_benjamini_and_hochberg(p_values: np.ndarray) -> None:
    np.testing.assert_allclose(q_values(p_values), stats.false_discovery_control(p_values), rtol=1e-9, atol=1e-12)


def test_there_are_no_q_values_without_tests() -> None:
    assert not len(q_values(np.empty(0)))


@settings(deadline=None)
@given(st.integers(0, 200), st.integers(0, 200), st.floats(0.001, 0.999))
def test_a_binomial_p_value_is_twice_the_smaller_tail(successes: int, failures: int, share: float) -> None:
    trials = successes + failures
    tails = stats.binom.cdf(successes, trials, share), stats.binom.sf(successes - 1, trials, share)
    np.testing.assert_allclose(binomial_p(successes, trials, share), min(1, 2 * min(tails)), rtol=1e-6, atol=1e-12)


def test_the_interval_of_a_difference_is_newcombes() -> None:
    """The example of the paper: 56 of 70 and 48 of 80."""
    estimate = rate_difference(56, 70, 48, 80)
    np.testing.assert_allclose(estimate, (0.2, 0.0524, 0.3339), atol=5e-5)


def test_nine_of_ten_intervals_and_more_have_the_true_value() -> None:
    random = np.random.default_rng(0)
    for shares, totals in (((0.3, 0.2), (200, 300)), ((0.02, 0.01), (500, 2000))):
        first, second = (random.binomial(n, p, 4000) for p, n in zip(shares, totals, strict=True))
        odds = [share / (1 - share) for share in shares]
        for estimate, truth in (
            (rate_difference(first, totals[0], second, totals[1]), shares[0] - shares[1]),
            (odds_ratio(first, totals[0], second, totals[1]), odds[0] / odds[1]),
        ):
            covered = ((estimate.low <= truth) & (truth <= estimate.high)).mean()
            assert 0.94 <= covered <= 0.985
