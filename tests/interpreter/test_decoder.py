"""Directions and detectors of latents whose vectors are scaled before they are encoded, on planted data."""

from __future__ import annotations

import numpy as np

from services.interpreter.decoder import Decoder
from services.interpreter.near_misses import NEAR_COUNT, Vectors, unit_rows
from services.interpreter.statistics import Accumulator
from services.trainer.sae import comparing
from services.trainer.sae.weights import Weights

ROWS, DIMENSION, LATENTS = 600, 16, 12
RANDOM = np.random.default_rng(8)


def autoencoder() -> Weights:
    """Of random decoder rows, which are its encoder too, for vectors whose numbers differ a hundredfold in scale."""
    rows = unit_rows(RANDOM.standard_normal((LATENTS, DIMENSION)).astype(np.float32))
    return Weights(
        W_enc=rows,
        b_enc=np.zeros(LATENTS, np.float32),
        W_dec=rows,
        b_dec=RANDOM.standard_normal(DIMENSION).astype(np.float32),
        mean=RANDOM.standard_normal(DIMENSION).astype(np.float32),
        scale=np.geomspace(0.1, 10, DIMENSION, dtype=np.float32),
        k=3,
    )


def decoder_of(weights: Weights) -> Decoder:
    """What the trainer serves of it."""
    return Decoder.of(comparing.directions(weights), scales=weights.scale)


def test_detectors_order_vectors_as_pre_activations_do_and_directions_are_what_is_added() -> None:
    weights = autoencoder()
    decoder = decoder_of(weights)
    vectors = (RANDOM.standard_normal((ROWS, DIMENSION)) * weights.scale + weights.mean).astype(np.float32)
    pre_activations = ((vectors - weights.mean) / weights.scale - weights.b_dec) @ weights.W_enc.T
    for latent in range(LATENTS):
        correlation = np.corrcoef(vectors @ decoder.detectors[latent], pre_activations[:, latent])[0, 1]
        assert correlation > 0.99999
        one = weights.decode_dense(np.array([[latent]], np.int32), np.ones((1, 1), np.float32))
        none = weights.decode_dense(np.array([[-1]], np.int32), np.zeros((1, 1), np.float32))
        np.testing.assert_allclose(decoder.directions[latent], unit_rows(one - none)[0], atol=1e-4)


def test_silent_rows_that_are_nearest_to_a_latent_are_those_that_nearly_activate_it() -> None:
    weights = autoencoder()
    vectors = (RANDOM.standard_normal((ROWS, DIMENSION)) * weights.scale + weights.mean).astype(np.float32)
    vectors = unit_rows(vectors)
    indices, values = weights.encode_dense(vectors)
    rows = np.arange(ROWS, dtype=np.uint64)
    pre_activations = ((vectors - weights.mean) / weights.scale - weights.b_dec) @ weights.W_enc.T
    with Accumulator(LATENTS) as accumulator:
        accumulator.add(weights.sparse(indices, values, rows))
        statistics = accumulator.finish(decoder_of(weights), vectors=Vectors(rows, vectors))
    for latent in range(LATENTS):
        silent = np.flatnonzero(~(indices == latent).any(axis=1))
        expected = silent[np.argsort(-pre_activations[silent, latent])][:NEAR_COUNT]
        nearest = statistics.near_rows[latent, : len(expected)]
        assert len(set(nearest.tolist()) & set(expected.tolist())) >= len(expected) - 1


def test_vectors_that_are_not_scaled_have_one_direction_for_both() -> None:
    """An older trainer says nothing of scales."""
    directions = RANDOM.standard_normal((LATENTS, DIMENSION)).astype(np.float32)
    for scales in (None, np.array([], np.float32), np.full(DIMENSION, 1e-12, np.float32)):
        decoder = Decoder.of(directions, scales=scales)
        np.testing.assert_allclose(decoder.detectors, decoder.directions, atol=1e-6)
    assert np.isnan(decoder.stability).all()
