"""The benchmark of features and labels: its own arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.truth.peers import diverse
from benchmarks.truth.records import median, paired, summary


def test_a_median_lies_in_its_interval_and_missing_values_do_not_count() -> None:
    values = [0.1 * number for number in range(11)]
    figures = median([*values, None])
    assert figures["median"] == pytest.approx(0.5)
    assert figures["low"] <= 0.5 <= figures["high"]
    assert figures["count"] == 11
    assert median([None]) == {"count": 0}


def test_good_and_useless_labels_are_counted() -> None:
    figures = summary([0.85, 0.9, 0.55, 0.7])
    assert figures["share of .85 and more"] == 0.5
    assert figures["share of .55 and less"] == 0.25


def test_pairs_are_compared_on_features_that_have_both() -> None:
    first = [0.6 + 0.01 * number for number in range(20)]
    better = paired([*first, 0.0], [value - 0.05 - 0.001 * place for place, value in enumerate(first)] + [None])
    assert better["count"] == 20
    assert better["better"] == 1
    assert 0.05 < better["low"] <= better["mean difference"] <= better["high"]
    assert better["p"] < 0.001
    assert paired(first, first)["p"] == 1


def test_phrases_near_the_centre_are_unlike_each_other() -> None:
    vectors = np.array([[1, 0, 0], [0.99, 0.14, 0], [0.6, 0, 0.8]], np.float32)
    assert diverse(vectors, np.array([1, 0, 0], np.float32), count=2, diversity=0.7) == [0, 2]
