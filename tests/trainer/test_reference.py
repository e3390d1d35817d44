"""The reference's hand-derived gradients are the derivatives of its loss."""

from __future__ import annotations

from collections.abc import Callable

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from services.trainer.sae.activations import keep_largest
from services.trainer.sae.engines import NO_LATENTS
from services.trainer.sae.reference import PARAMETERS, Reference
from tests.trainer.examples import example

STEP = 1e-5


def differences(function: Callable[[], float], parameter: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Central differences of a function by each number of an array, and where they exist.

    The loss has kinks where a latent becomes active: a difference is trusted where half the step gives the same.
    """
    wide, narrow = np.zeros_like(parameter), np.zeros_like(parameter)
    for place in np.ndindex(parameter.shape):
        before = parameter[place]
        for gradient, step in ((wide, STEP), (narrow, STEP / 2)):
            parameter[place] = before + step
            above = function()
            parameter[place] = before - step
            gradient[place] = (above - function()) / (2 * step)
        parameter[place] = before
    return narrow, np.isclose(wide, narrow, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("batch", [False, True], ids=["rows", "batch"])
@settings(max_examples=15)
@given(
    rows=st.integers(1, 6),
    d=st.integers(2, 6),
    n=st.integers(2, 12),
    k=st.integers(1, 5),
    levels=st.integers(1, 3),
    seed=st.integers(0, 9999),
)
def test_gradients_are_derivatives_of_the_loss(
    batch: bool, rows: int, d: int, n: int, k: int, levels: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    plan, state, vectors = example(rng, rows=rows, d=d, n=n, k=k, levels=levels, batch=batch)
    dead = np.flatnonzero(rng.random(n) < 0.5)
    reference = Reference(plan, state)
    forward = reference.forward(vectors, dead)
    gradients = reference.full_gradients(forward)
    for name in PARAMETERS:
        numeric, smooth = differences(
            lambda: reference.forward(vectors, dead, forward.error).loss, reference.parameters[name]
        )
        assert smooth.mean() > 0.9
        np.testing.assert_allclose(gradients[name][smooth], numeric[smooth], rtol=1e-4, atol=1e-7, err_msg=name)


def test_the_decoder_loses_the_part_of_its_gradient_along_its_rows() -> None:
    plan, state, vectors = example(np.random.default_rng(0), rows=8, d=6, n=12, k=3)
    reference = Reference(plan, state)
    gradients = reference.gradients(reference.forward(vectors, NO_LATENTS))
    np.testing.assert_allclose((gradients["W_dec"] * reference.parameters["W_dec"]).sum(axis=1), 0, atol=1e-6)


def test_ties_go_to_the_lower_index() -> None:
    codes = keep_largest(np.array([[1.0, 2, -1, 2, 2, 0.5]]), 2)
    assert codes.tolist() == [[0, 2, 0, 2, 0, 0]]
