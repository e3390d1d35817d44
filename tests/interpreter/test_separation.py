"""Areas under the curve equal those of all pairs, and what was planted separates."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse, stats

from services.interpreter.scoring import auc
from services.interpreter.separation import area_interval, areas_under_curve, separate


def some_activations(seed: int, texts: int, features: int, share: float) -> sparse.csr_array:
    random = np.random.default_rng(seed)
    values = np.round(random.exponential(2, (texts, features)), 1) + 0.1  # with ties
    return sparse.csr_array(np.where(random.random((texts, features)) < share, values, 0).astype(np.float32))


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 12), st.sampled_from([0.0, 0.2, 0.8, 1.0]))
def test_areas_equal_those_of_all_pairs(seed: int, positive: int, negative: int, share: float) -> None:
    activations = some_activations(seed, positive + negative, 5, share)
    is_positive = np.random.default_rng(seed).permutation(np.arange(positive + negative) < positive)
    areas, p_values = areas_under_curve(activations, is_positive)
    dense = activations.toarray().astype(float)
    for column in range(5):
        one, other = dense[is_positive, column], dense[~is_positive, column]
        wins = (one[:, None] > other) + (one[:, None] == other) / 2
        assert areas[column] == pytest.approx(wins.mean())
        assert auc(one, other) == pytest.approx(wins.mean())
        if len(np.unique(dense[:, column])) > 1:
            reference = stats.mannwhitneyu(one, other, method="asymptotic")
            assert p_values[column] == pytest.approx(reference.pvalue, abs=1e-9)
        else:
            assert p_values[column] == 1


def test_the_planted_feature_separates_best_in_either_direction() -> None:
    positive, negative = some_activations(0, 12, 30, 0.2), some_activations(1, 40, 30, 0.2)
    positive, negative = positive.tolil(), negative.tolil()
    positive[:, 7], negative[:, 7] = 3.0, 0.0
    positive[:, 9], negative[:, 9] = 0.0, 1.5
    separators, active_count = separate(positive.tocsr(), negative.tocsr(), limit=5)
    assert active_count == 30
    assert {entry.column for entry in separators[:2]} == {7, 9}
    by_column = {entry.column: entry for entry in separators}
    assert (by_column[7].area, by_column[9].area) == (1, 0)
    assert (by_column[7].positive_count, by_column[7].negative_count) == (12, 0)
    assert by_column[7].q_value < 0.001
    assert all(entry.q_value > 0.05 for entry in separators[2:])
    assert 0.7 < by_column[7].low < by_column[7].high == 1, "a few texts without an error prove no area of 1"


def test_an_interval_of_few_texts_is_wide_and_holds_the_true_area() -> None:
    random = np.random.default_rng(0)
    truth = stats.norm.cdf(1 / np.sqrt(2))
    for size in (8, 60):
        covered = 0
        for seed in range(200):
            low, high = area_interval(random.standard_normal(size) + 1, random.standard_normal(size), seed=seed)
            covered += low <= truth <= high
        assert covered >= 180
