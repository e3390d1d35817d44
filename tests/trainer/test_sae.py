"""The autoencoder: kernels equal the dense reference, encode has the same bits everywhere, training can be resumed."""

from __future__ import annotations

from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from services.trainer.sae import checkpoint, kernels
from services.trainer.sae.config import Config
from services.trainer.sae.training import PARAMETERS, Gradients, Training
from services.trainer.sae.weights import InvalidVectors, Weights, normalization
from tests.trainer.reference import loss_and_gradients


def clusters(rows: int, d: int, seed: int = 0) -> np.ndarray:
    """Vectors that are sums of a few of 3d directions, as embeddings are."""
    rng = np.random.default_rng(seed)
    directions = rng.standard_normal((3 * d, d))
    strengths = rng.exponential(size=(rows, 3 * d)) * (rng.random((rows, 3 * d)) < 4 / (3 * d))
    return (strengths @ directions + 0.05 * rng.standard_normal((rows, d)) + 1).astype(np.float32)


def trained(vectors: np.ndarray, **config: object) -> Training:
    training = Training(vectors, Config(**config).resolved(len(vectors), 1))
    while training.step < training.total_steps:
        training.advance()
    return training


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(1, 40), st.integers(1, 50), st.integers(0, 2**32 - 1))
def test_top_k_is_exact_with_ties_to_the_lower_index(rows: int, n: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pre = rng.integers(-3, 4, (rows, n)).astype(np.float32)
    allowed = rng.random(n) < 0.8
    indices, values = kernels.top_k(pre, k, allowed)
    for row in range(rows):
        wanted = [j for j in range(n) if allowed[j] and pre[row, j] > 0]
        wanted = sorted(sorted(wanted, key=lambda j: (-pre[row, j], j))[:k])
        found = [int(j) for j in indices[row] if j >= 0]
        assert found == wanted
        assert [float(value) for value in values[row, : len(found)]] == [float(pre[row, j]) for j in wanted]


def test_of_equal_values_the_higher_index_goes_first() -> None:
    for row in ([1, 1, 2], [2, 1, 1, 3], [1, 1, 1, 2, 2], [3, 1, 2, 1, 2, 2]):
        for k in range(1, len(row) + 1):
            indices, _values = kernels.top_k(np.array([row], dtype=np.float32), k, np.ones(len(row), dtype=bool))
            assert list(indices[0]) == sorted(sorted(range(len(row)), key=lambda j: (-row[j], j))[:k])


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 12),
    st.integers(2, 24),
    st.integers(1, 4),
    st.integers(1, 12),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_loss_and_gradients_equal_the_dense_reference(
    rows: int, d: int, expansion: int, k: int, some_dead: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    k = min(k, expansion * d)
    config = Config(expansion=expansion, k=k, batch_size=rows, held_out_fraction=0.0, aux_coefficient=0.5)
    training = Training(rng.standard_normal((rows, d)).astype(np.float32) + 2, config.resolved(rows, 1))
    training.weights.b_enc[:] = rng.standard_normal(expansion * d) * 0.1
    training.weights.b_dec[:] = rng.standard_normal(d) * 0.1
    batch = rng.standard_normal((rows, d)).astype(np.float32)
    if rows > 2:
        batch[1] = batch[0]
        batch[2] = 0
    if some_dead:
        training._last_active[::2] = -training.config.dead_window - rows
    gradients = Gradients(*(np.zeros_like(getattr(training.weights, name)) for name in PARAMETERS))
    loss, _fvu, _l0 = training.backward(batch, gradients)
    expected_loss, expected = loss_and_gradients(training.weights, batch, training.config, training.dead)
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-5, atol=1e-6)
    for name in PARAMETERS:
        np.testing.assert_allclose(getattr(gradients, name), expected[name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_a_training_explains_the_data_with_unit_decoder_rows_and_no_dead_latents() -> None:
    vectors = clusters(3000, 32)
    training = trained(vectors, expansion=4, k=8, batch_size=128, epochs=15)
    weights = training.weights
    assert weights.fvu(vectors[training.held_out]) < 0.25
    np.testing.assert_allclose(np.linalg.norm(weights.W_dec, axis=1), 1, rtol=1e-5)
    assert training.dead.mean() < 0.01


@pytest.fixture(scope="module")
def weights() -> Weights:
    return trained(clusters(600, 48), expansion=4, k=8, batch_size=64, epochs=3).weights


@pytest.mark.parametrize("size", [1, 7, 64, 100, 1000])
def test_encode_gives_the_same_bits_in_every_batch(weights: Weights, size: int) -> None:
    vectors = clusters(1000, 48, seed=1)
    whole = weights.encode(vectors, np.arange(1000, dtype=np.uint64))
    for start in range(0, 1000, size):
        part = weights.encode(vectors[start : start + size], np.arange(start, min(start + size, 1000), dtype=np.uint64))
        same = whole.slice(start, min(start + size, 1000))
        assert part.values.tobytes() == same.values.tobytes()
        assert part.indices.tobytes() == same.indices.tobytes()
    assert np.all(np.diff(whole.indptr) <= 8)
    assert np.all(whole.values > 0)


def test_weights_come_back_from_their_file(weights: Weights, tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    file.write_bytes(weights.to_bytes({"run": "r"}))
    again = Weights.load(file)
    vectors = clusters(50, 48, seed=2)
    rows = np.arange(50, dtype=np.uint64)
    assert again.encode(vectors, rows).values.tobytes() == weights.encode(vectors, rows).values.tobytes()
    assert again.k == weights.k


def test_vectors_with_nan_or_another_dimension_are_refused_by_row(weights: Weights) -> None:
    vectors = clusters(5, 48)
    vectors[3, 7] = np.nan
    with pytest.raises(InvalidVectors) as caught:
        weights.encode(vectors, np.arange(5, dtype=np.uint64))
    assert caught.value.row == 3
    with pytest.raises(InvalidVectors, match="48 numbers, got 47"):
        weights.encode(vectors[:, 1:], np.arange(5, dtype=np.uint64))


def test_a_constant_dimension_is_only_centred() -> None:
    vectors = clusters(100, 6)
    vectors[:, 2] = 5
    mean, scale = normalization(vectors, "standard")
    assert (mean[2], scale[2]) == (5, 1)
    training = trained(vectors, expansion=2, k=3, batch_size=16, epochs=2)
    assert all(np.isfinite(getattr(training.weights, name)).all() for name in PARAMETERS)


@pytest.mark.parametrize("stop", [1, 13, 29])
def test_a_resumed_training_ends_with_the_same_bits(stop: int, tmp_path: Path) -> None:
    vectors, config = clusters(400, 16), {"expansion": 4, "k": 4, "batch_size": 32, "epochs": 3, "dead_window": 256}
    unbroken = trained(vectors, **config)
    first = Training(vectors, Config(**config).resolved(400, 1))
    while first.step < stop:
        first.advance()
    checkpoint.write(first, tmp_path)
    second = Training(vectors, Config(**config).resolved(400, 1))
    checkpoint.restore(second, tmp_path / checkpoint.NAME)
    while second.step < second.total_steps:
        second.advance()
    for name in PARAMETERS:
        assert getattr(second.weights, name).tobytes() == getattr(unbroken.weights, name).tobytes(), name
