"""The held-out FVU is measured around the training rows' mean, or it is absent: never a meaningless number."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from services.trainer.runs import quality_warnings
from services.trainer.sae.config import Config
from services.trainer.sae.evaluating import evaluate
from services.trainer.sae.training import Training
from services.trainer.training.protocol import Quality
from tests.trainer.examples import clusters


def trained(vectors: np.ndarray) -> Training:
    config = Config.resolve(len(vectors), vectors.shape[1], 1, expansion=2, k=4, batch_size=8, epochs=3)
    training = Training(vectors, config)
    while training.step < training.total_steps:
        training.advance()
    return training


@pytest.mark.parametrize("count", [10, 12])  # of which one is held out
def test_with_fewer_than_two_held_out_rows_there_is_no_held_out_fvu(count: int) -> None:
    training = trained(clusters(count, 16))
    assert len(training.held_out) == 1
    assert training.measure() is None


@pytest.mark.parametrize("count", [15, 20, 40])
def test_with_little_data_the_held_out_fvu_is_around_one_at_worst(count: int) -> None:
    fvu = trained(clusters(count, 16)).measure()
    assert fvu is not None
    assert 0 < fvu < 10


def test_rows_without_variance_have_no_fvu() -> None:
    training = trained(clusters(40, 16))
    same = np.repeat(training.mean[None], 5, axis=0)
    assert training.weights.fvu(same, training.mean) is None
    assert evaluate(training.weights, same, mean=training.mean).fvu is None
    assert evaluate(training.weights, same[:1]).fvu is None


def test_the_mean_is_that_of_the_training_rows() -> None:
    vectors = clusters(200, 16)
    training = trained(vectors)
    np.testing.assert_allclose(training.mean, vectors[training.train_rows].mean(axis=0), atol=1e-5)
    held_out = vectors[training.held_out]
    residual = held_out - training.weights.decode_dense(*training.weights.encode_dense(held_out))
    expected = np.square(residual).sum() / np.square(held_out - training.mean).sum()
    assert training.measure() == pytest.approx(expected, rel=1e-3)


def test_a_run_without_an_active_feature_says_so() -> None:
    silent = Quality(0.0, None, sibling_count=2, live_count=0, reproduced_count=0, closely_reproduced_count=0)
    assert any("No feature is active" in warning for warning in quality_warnings(silent, advice="Use more documents."))
    alive = dataclasses.replace(silent, live_count=4, reproduced_count=4)
    assert not quality_warnings(alive, advice="Use more documents.")
