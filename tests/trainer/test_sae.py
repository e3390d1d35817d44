"""The autoencoder: what a training reaches, encode has the same bits everywhere, a training can be resumed anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.trainer.sae import checkpoint
from services.trainer.sae.batches import Batches
from services.trainer.sae.normalization import normalization
from services.trainer.sae.reference import PARAMETERS
from services.trainer.sae.training import Diverged, Training
from services.trainer.sae.vectors import CHUNK, InvalidVectors, Vectors
from services.trainer.sae.weights import Weights
from tests.trainer.examples import begun, clusters, trained


@pytest.mark.parametrize("architecture", ["top_k", "batch_top_k", "matryoshka"])
def test_a_training_explains_the_data_with_unit_decoder_rows_and_no_dead_latents(architecture: str) -> None:
    vectors = clusters(3000, 32)  # of 96 directions: none of 64 latents is one too many
    training = trained(vectors, architecture=architecture, expansion=2, k=8, batch_size=128, epochs=15)
    weights = training.weights
    held_out = vectors[training.held_out]
    fvu = weights.fvu(held_out)
    assert fvu is not None
    assert fvu < 0.25
    assert training.measure() == pytest.approx(weights.fvu(held_out, training.mean), rel=1e-4)
    np.testing.assert_allclose(np.linalg.norm(weights.W_dec, axis=1), 1, rtol=1e-5)
    assert training.dead.mean() < 0.01
    indices, _values = weights.encode_dense(held_out)
    active = (indices >= 0).sum(axis=1)
    assert active.mean() == pytest.approx(8, abs=0.8)
    assert (active.max() > 8) == (architecture == "batch_top_k")


@pytest.fixture(scope="module", params=[0.0, 1.0])
def weights(request: pytest.FixtureRequest) -> Weights:
    weights = trained(clusters(600, 48), expansion=4, k=8, batch_size=64, epochs=3).weights
    return Weights(**{**vars(weights), "threshold": request.param})


@pytest.mark.parametrize("size", [1, 7, 64, 100, 1000])
def test_encode_gives_the_same_bits_in_every_batch(weights: Weights, size: int) -> None:
    vectors = clusters(1000, 48, seed=1)
    whole = weights.encode(vectors, np.arange(1000, dtype=np.uint64))
    for start in range(0, 1000, size):
        part = weights.encode(vectors[start : start + size], np.arange(start, min(start + size, 1000), dtype=np.uint64))
        same = whole.slice(start, min(start + size, 1000))
        assert part.values.tobytes() == same.values.tobytes()
        assert part.indices.tobytes() == same.indices.tobytes()
    assert weights.threshold or np.all(np.diff(whole.indptr) <= 8)
    assert np.all(whole.values > 0)


def test_weights_come_back_from_their_file(weights: Weights, tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    file.write_bytes(weights.to_bytes({"run": "r"}))
    again = Weights.load(file)
    vectors = clusters(50, 48, seed=2)
    rows = np.arange(50, dtype=np.uint64)
    assert again.encode(vectors, rows).values.tobytes() == weights.encode(vectors, rows).values.tobytes()
    assert (again.k, again.threshold) == (weights.k, weights.threshold)


def test_vectors_with_nan_or_another_dimension_are_refused_by_row(weights: Weights) -> None:
    vectors = clusters(5, 48)
    vectors[3, 7] = np.nan
    with pytest.raises(InvalidVectors) as caught:
        weights.encode(vectors, np.arange(5, dtype=np.uint64))
    assert caught.value.row == 3
    vectors[3, 7] = np.inf
    with pytest.raises(InvalidVectors) as caught:
        begun(vectors, expansion=1, k=2)
    assert caught.value.row == 3
    with pytest.raises(InvalidVectors, match="48 numbers, got 47"):
        weights.encode(vectors[:, 1:], np.arange(5, dtype=np.uint64))


@pytest.mark.parametrize("how", ["standard", "scale", "none"])
def test_a_dimension_that_is_about_constant_is_left_alone_from_start_to_end(how: str) -> None:
    vectors = clusters(400, 6)
    vectors[:, 2] = 5
    vectors[:, 4] = 1e-8 * vectors[:, 4]
    training = trained(vectors, expansion=2, k=3, batch_size=16, epochs=10, normalization=how)
    weights = training.weights
    assert all(np.isfinite(getattr(weights, name)).all() for name in PARAMETERS)
    again = weights.decode_dense(*weights.encode_dense(vectors))
    np.testing.assert_allclose(again[:, 2], 5, atol=1e-3)
    np.testing.assert_allclose(again[:, 4], 0, atol=1e-3)


def test_a_loss_that_is_no_number_ends_the_training() -> None:
    training = begun(clusters(300, 8) * 1e19, normalization="none", epochs=3, k=4)
    with pytest.raises(Diverged):
        while training.step < training.total_steps:
            training.advance()


@pytest.mark.parametrize("architecture", ["top_k", "batch_top_k", "matryoshka"])
@pytest.mark.parametrize("stop", [1, 11, 13, 29])  # 11: where a cycle ends
def test_a_resumed_training_ends_with_the_same_bits(architecture: str, stop: int, tmp_path: Path) -> None:
    vectors = clusters(400, 16)
    config: dict[str, Any] = {
        "architecture": architecture, "expansion": 4, "k": 4, "batch_size": 32, "epochs": 3, "cycles": 3,
        "dead_window": 256,
    }  # fmt: skip
    unbroken = trained(vectors, **config)
    first = begun(vectors, **config)
    while first.step < stop:
        first.advance()
    checkpoint.write(first, tmp_path)
    second = begun(vectors, **config)
    checkpoint.restore(second, tmp_path / checkpoint.name())
    while second.step < second.total_steps:
        second.advance()
    for name in PARAMETERS:
        assert getattr(second.weights, name).tobytes() == getattr(unbroken.weights, name).tobytes(), name
    assert second.weights.threshold == unbroken.weights.threshold


def test_each_cycle_begins_with_the_encoder_at_the_decoder_and_a_new_learning_rate() -> None:
    training = begun(clusters(400, 16), expansion=2, k=4, batch_size=36, epochs=6, cycles=3, learning_rate=0.01)
    assert training.total_steps == 60
    rates: list[float] = []
    distances: list[float] = []
    while training.step < training.total_steps:
        rates.append(training.advance().learning_rate)
        weights = training.weights
        distances.append(float(np.abs(weights.W_enc - weights.W_dec).max()))
    assert rates[:20] == rates[20:40] == rates[40:]
    assert rates[19] < min(rates[20], rates[10])
    assert distances[20] < distances[19] / 3 and distances[40] < distances[39] / 3


def test_patience_ends_a_training_early_and_a_resumed_one_at_the_same_step(tmp_path: Path) -> None:
    vectors, config = clusters(600, 8), {"expansion": 2, "k": 4, "batch_size": 64, "epochs": 400, "patience": 3}

    def run(training: Training, until: int) -> Training:
        while training.step < min(training.total_steps, until):
            training.advance()
            if training.step % training.steps_per_epoch == 0:
                fvu = training.measure()
                assert fvu is not None
                training.consider(fvu)
        return training

    whole = run(begun(vectors, **config), 10**9)
    assert whole.total_steps < 400 * whole.steps_per_epoch
    cut = run(begun(vectors, **config), whole.total_steps // 2)
    checkpoint.write(cut, tmp_path)
    again = begun(vectors, **config)
    checkpoint.restore(again, tmp_path / checkpoint.name())
    run(again, 10**9)
    assert again.total_steps == whole.total_steps
    assert again.weights.W_dec.tobytes() == whole.weights.W_dec.tobytes()


def shards(folder: Path, vectors: np.ndarray, size: int) -> Vectors:
    for number, start in enumerate(range(0, len(vectors), size)):
        np.save(folder / f"vectors-{number:05d}.npy", vectors[start : start + size])
    return Vectors(folder)


def test_vectors_in_files_are_read_as_from_memory(tmp_path: Path) -> None:
    vectors = clusters(1000, 5)
    files = shards(tmp_path, vectors, 300)
    assert (files.rows, files.dimension) == (1000, 5)
    np.testing.assert_array_equal(files.read(290, 910), vectors[290:910])
    for rows in (np.array([0, 299, 300, 999]), np.arange(0, 1000, 2)):
        np.testing.assert_array_equal(files.take(rows), vectors[rows])


@pytest.mark.parametrize("windows", [False, True])
def test_an_epoch_goes_once_over_the_training_rows_in_an_order_of_its_own(tmp_path: Path, windows: bool) -> None:
    rows, d = 5 * CHUNK + 100, 3
    vectors = np.repeat(np.arange(rows, dtype=np.float32)[:, None], d, axis=1)
    source = shards(tmp_path, vectors, 7000)
    size = 2 * CHUNK * d * 4 if windows else 1 << 30
    batches = Batches(source, 100, 0.1, seed=3, window_bytes=size)
    assert len(batches.held_out) == round(0.1 * rows)
    assert sorted([*batches.held_out, *batches.train_rows]) == list(range(rows))

    def epoch(number: int) -> list[int]:
        first = number * batches.steps_per_epoch
        rows: list[int] = []
        for step in range(first, first + batches.steps_per_epoch):
            pool, positions = batches.batch(step)
            assert len(positions) == 100
            rows.extend(pool[positions, 0].astype(int))
        return rows

    one, two = epoch(0), epoch(1)
    for order in (one, two):
        assert len(set(order)) == len(order) > len(batches.train_rows) - 100
        assert set(order) <= set(batches.train_rows.tolist())
    assert one != two
    # Any step may be asked for first: that is how a training resumes.
    step = batches.steps_per_epoch + 17
    pool, positions = Batches(source, 100, 0.1, seed=3, window_bytes=size).batch(step)
    assert pool[positions, 0].astype(int).tolist() == two[1700:1800]


def test_normalization_of_files_equals_that_of_their_rows(tmp_path: Path) -> None:
    vectors = clusters(2 * CHUNK + 50, 4)
    rows = np.arange(0, len(vectors), 3)
    normalized = normalization(shards(tmp_path, vectors, 5000), rows, "standard", 0)
    np.testing.assert_allclose(normalized.mean, vectors[rows].mean(axis=0, dtype=np.float64), rtol=1e-5)
    np.testing.assert_allclose(normalized.scale, vectors[rows].std(axis=0, dtype=np.float64), rtol=1e-5)
