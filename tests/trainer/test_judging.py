"""Evaluations and comparisons of autoencoders, held to plain definitions."""

from __future__ import annotations

import numpy as np
import pytest

from services.trainer.sae import comparing
from services.trainer.sae.comparing import match
from services.trainer.sae.evaluating import evaluate
from tests.trainer.examples import clusters, trained


def units(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    vectors = rng.standard_normal((n, d)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("exact", [True, False])
def test_latents_that_were_shuffled_lost_split_and_added_are_found(
    monkeypatch: pytest.MonkeyPatch, exact: bool
) -> None:
    if not exact:
        monkeypatch.setattr(comparing, "EXACT_LATENTS", 1)
    rng = np.random.default_rng(0)
    first = units(rng, 40, 256)
    order = rng.permutation(36)
    aside = units(rng, 4, 256)

    def near(direction: np.ndarray, by: np.ndarray, cosine: float) -> np.ndarray:
        by = by - (by @ direction) * direction
        return cosine * direction + np.sqrt(1 - cosine**2) * by / np.linalg.norm(by)

    halves = np.stack([near(first[36], aside[0], 0.75), near(first[36], aside[1], 0.74)])
    second = np.concatenate([first[order], halves, aside[2:]]).astype(np.float32)
    matching = match(first, second)
    np.testing.assert_array_equal(matching.partner[order], np.arange(36))
    np.testing.assert_allclose(matching.cosine[order], 1, atol=1e-5)
    assert matching.partner[36] == 36
    assert list(matching.lost()) == [37, 38, 39]
    assert list(matching.new()) == [38, 39]
    assert matching.split() == {36: [36, 37]}
    back = match(second, first)
    assert back.merged() == {36: [36, 37]}
    assert list(back.lost()) == [38, 39]
    assert match(first, first).stability == pytest.approx(1, abs=1e-5)


def test_the_best_matching_gives_no_good_pair_away_for_a_bad_one() -> None:
    first = np.eye(3, dtype=np.float32)[:2]
    second = np.array([[1, 0, 0], [0.8, 0.6, 0]], dtype=np.float32)
    matching = match(first, second)
    assert matching.partner.tolist() == [0, -1]  # 0.6 is below the bar, though both would have a partner then
    assert match(first, second, same=0.55).partner.tolist() == [0, 1]


def test_an_evaluation_says_what_is_kept() -> None:
    vectors = clusters(1500, 32)
    training = trained(vectors, expansion=4, k=8, batch_size=128, epochs=10)
    weights, held_out = training.weights, vectors[training.held_out]
    evaluation = evaluate(weights, held_out)
    assert evaluation.rows == 150
    assert evaluation.fvu == pytest.approx(weights.fvu(held_out), rel=1e-5)
    assert 0.8 < evaluation.cosine < 1
    indices, values = weights.encode_dense(held_out)
    assert evaluation.l0 == pytest.approx((indices >= 0).sum() / 150)
    active = np.bincount(indices[indices >= 0], minlength=128)
    assert evaluation.dead_share == pytest.approx((active == 0).mean())
    assert evaluation.dense_share == pytest.approx((active > 15).mean())
    assert sum(evaluation.density_histogram) == 128
    assert evaluation.density_histogram[0] == (active == 0).sum()

    def nearest(all_: np.ndarray) -> list[list[int]]:
        unit = all_ / np.linalg.norm(all_, axis=1, keepdims=True)
        return [[j for j in np.argsort(-(unit @ row)) if j != i][:10] for i, row in enumerate(unit)]

    true, again = nearest(held_out), nearest(weights.decode_dense(indices, values))
    overlap = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(true, again, strict=True)])
    assert evaluation.knn_overlap == pytest.approx(overlap, abs=0.01)
    gain = [
        sum((10 - a.index(j)) / np.log2(i + 2) for i, j in enumerate(b) if j in a)
        for a, b in zip(true, again, strict=True)
    ]
    ideal = sum((10 - i) / np.log2(i + 2) for i in range(10))
    assert evaluation.ndcg == pytest.approx(np.mean(gain) / ideal, abs=0.01)
