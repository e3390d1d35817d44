"""What siblings say about the latents of an autoencoder."""

from __future__ import annotations

from typing import Any

import numpy as np

from services.trainer.sae import stability
from services.trainer.sae.batches import Batches
from services.trainer.sae.config import Config
from services.trainer.sae.training import Training
from services.trainer.sae.vectors import Vectors
from services.trainer.sae.weights import Weights

ROWS, DIMENSION, DIRECTIONS = 4000, 16, 24


def planted() -> tuple[np.ndarray, np.ndarray]:
    """Vectors that are sums of two of 24 directions, and these directions."""
    rng = np.random.default_rng(3)
    directions = rng.standard_normal((DIRECTIONS, DIMENSION))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    pairs = np.array([rng.permutation(DIRECTIONS)[:2] for _ in range(ROWS)])
    strengths = 1 + rng.random((ROWS, 2, 1))
    return (directions[pairs] * strengths).sum(axis=1).astype(np.float32), directions.astype(np.float32)


def trained(vectors: np.ndarray, sibling: int, **settings: Any) -> Weights:
    config = Config.resolve(ROWS, DIMENSION, 1, k=2, epochs=60, batch_size=128, normalization="none", **settings)
    training = Training(vectors, config, sibling=sibling)
    while training.step < training.total_steps:
        training.advance()
    return training.weights


def test_planted_directions_are_found_again_and_random_ones_are_not() -> None:
    vectors, directions = planted()
    run, one, two = (trained(vectors, sibling, expansion=2) for sibling in range(3))
    measured = stability.measure(run, [one, two], Vectors(vectors))
    units = run.W_dec / np.linalg.norm(run.W_dec, axis=1, keepdims=True)
    is_planted = (units @ directions.T).max(axis=1) > 0.98
    assert is_planted.sum() >= 20
    assert measured.mean[is_planted].min() > stability.CLOSELY
    assert np.median(measured.agreement[:, is_planted]) > 0.95

    noise = np.random.default_rng(4).standard_normal(run.W_dec.shape).astype(np.float32)
    unrelated = Weights(
        W_enc=noise, b_enc=run.b_enc, W_dec=noise, b_dec=run.b_dec, mean=run.mean, scale=run.scale, k=run.k
    )
    assert np.median(stability.measure(run, [unrelated], Vectors(vectors)).mean) < stability.REPRODUCED


def test_siblings_share_the_held_out_rows_and_divide_the_others() -> None:
    vectors = Vectors(planted()[0])
    run, one, two, three = (Batches(vectors, 100, 0.1, seed=3, sibling=sibling) for sibling in range(4))
    assert run.held_out.tolist() == one.held_out.tolist() == two.held_out.tolist()
    assert sorted([*one.train_rows, *two.train_rows]) == run.train_rows.tolist()
    assert one.train_rows.tolist() != three.train_rows.tolist()
    assert len(set(one.train_rows) & set(three.train_rows)) < 0.6 * len(one.train_rows)


def test_stability_comes_back_from_its_file(tmp_path: Any) -> None:
    measured = stability.Stability(
        cosine=np.array([[0.5, 1.0], [0.7, 0.8]], np.float32), agreement=np.zeros((2, 2), np.float32)
    )
    measured.save(tmp_path)
    again = stability.Stability.load(tmp_path / stability.NAME)
    assert again.cosine.tobytes() == measured.cosine.tobytes()
    assert np.allclose(again.mean, [0.6, 0.9])
