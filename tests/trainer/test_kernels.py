"""The CPU's kernels: selections are exact, and the engine equals the dense reference, screened or not."""

from __future__ import annotations

from functools import partial

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from services.trainer.sae.kernels.numba_engine import NumbaEngine
from services.trainer.sae.kernels.screening import AVAILABLE
from services.trainer.sae.kernels.selecting import select_row, space_for
from services.trainer.sae.vectors import InvalidVectors
from services.trainer.sae.weights import Weights
from tests.trainer.engine_contract import EngineContract, MakeEngine
from tests.trainer.examples import example


@pytest.fixture(scope="module", params=["blas", *(["screened"] if AVAILABLE else [])])
def make_engine(request: pytest.FixtureRequest) -> MakeEngine:
    return partial(NumbaEngine, screened=request.param == "screened")


class TestNumbaEngine(EngineContract):
    """The contract, by BLAS and by screening."""


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 700),
    st.integers(1, 80),
    st.integers(1, 400),
    st.floats(0, 3, width=32),
    st.integers(0, 2**32 - 1),
)
def test_top_k_is_exact_with_ties_to_the_lower_index(n: int, k: int, different: int, guess: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pre = (rng.integers(-different, different + 1, n) / different).astype(np.float32)
    both = pre + (rng.integers(-1, 2, n) / 4).astype(np.float32)
    indices, values = np.full(k, -7, dtype=np.int32), np.zeros(k, dtype=np.float32)
    count, _bar = select_row(both, k, np.float32(guess), space_for(n, k), indices, values)
    order = sorted((j for j in range(n) if both[j] > 0), key=lambda j: (-both[j], j))[:k]
    assert list(indices[:count]) == sorted(order)
    np.testing.assert_array_equal(values[:count], both[sorted(order)])


def test_a_row_with_nan_keeps_what_is_a_number() -> None:
    pre = np.full(200, np.nan, dtype=np.float32)
    pre[[3, 150, 199]] = 1, 3, 2
    indices, values = np.full(2, -7, dtype=np.int32), np.zeros(2, dtype=np.float32)
    count, _bar = select_row(pre, 2, np.float32(0), space_for(200, 2), indices, values)
    assert (count, list(indices)) == (2, [150, 199])


@pytest.mark.skipif(not AVAILABLE, reason="the processor has no VPDPBUSD")
@settings(max_examples=100, deadline=None)
@given(st.integers(1, 150), st.integers(1, 700), st.integers(1, 40), st.floats(0, 2), st.integers(0, 2**32 - 1))
def test_screening_loses_none_of_the_k_largest(d: int, n: int, k: int, wildness: float, seed: int) -> None:
    """Rows and latents of most different lengths and with outliers; each latent stands there twice, so ties abound."""
    rng = np.random.default_rng(seed)
    plan, state, _vectors = example(rng, 9, d, n, k, 1, "row")
    half = n // 2

    def wild(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) * np.exp(wildness * rng.standard_normal(shape))).astype(np.float32)

    for name in ("W_enc", "b_enc"):
        state[name] = wild(*state[name].shape)
        state[name][half : 2 * half] = state[name][:half]
    state |= {"mean": np.zeros(d, np.float32), "scale": np.ones(d, np.float32), "b_dec": np.zeros(d, np.float32)}
    vectors = wild(9, d)
    found = (
        NumbaEngine(plan, state, screened=True).forward(vectors, np.arange(9), 9, np.empty(0, dtype=np.int32)).arrays
    )
    exact = vectors.astype(np.float64) @ state["W_enc"].T.astype(np.float64) + state["b_enc"]
    sizes = np.abs(vectors.astype(np.float64)) @ np.abs(state["W_enc"].T.astype(np.float64)) + np.abs(state["b_enc"])
    for row in range(9):
        chosen, values = (found[name][row * plan.k : (row + 1) * plan.k] for name in ("indices", "values"))
        chosen, values = chosen[chosen >= 0], values[chosen >= 0]
        tolerance = 1e-5 * sizes[row].max()
        np.testing.assert_allclose(values, exact[row, chosen], atol=tolerance)
        others = np.setdiff1d(np.arange(n), chosen)
        least = values.min() if len(values) == plan.k else 0.0
        assert (exact[row, others] <= least + tolerance).all()
        twins = chosen[(chosen >= half) & (chosen < 2 * half)]
        assert np.isin(twins - half, chosen).all()


def test_encode_above_a_threshold_takes_all_that_lie_above() -> None:
    _plan, state, vectors = example(np.random.default_rng(3), 130, 8, 64, 4, 1, "row")
    weights = Weights(**state, k=2, threshold=0.7)  # type: ignore[arg-type]
    codes = weights.encode(vectors, np.arange(130, dtype=np.uint64))
    pre = ((vectors - state["mean"]) / state["scale"] - state["b_dec"]) @ state["W_enc"].T + state["b_enc"]
    assert np.diff(codes.indptr).tolist() == (pre > 0.7).sum(axis=1).tolist()
    np.testing.assert_allclose(codes.values, pre[pre > 0.7], rtol=1e-4, atol=1e-5)
    with pytest.raises(InvalidVectors):
        weights.encode(vectors[:, :3], np.arange(130, dtype=np.uint64))
