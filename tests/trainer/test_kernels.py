"""The CPU's kernels: selections are exact, and the engine equals the dense reference, screened or not."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from numba import njit

from services.trainer.sae.engines import NO_LATENTS
from services.trainer.sae.kernels import encoding, screening, vnni
from services.trainer.sae.kernels.forward import Sae
from services.trainer.sae.kernels.numba_engine import NumbaEngine
from services.trainer.sae.kernels.products import FEW_COLUMNS
from services.trainer.sae.kernels.selecting import select_row, space_for
from services.trainer.sae.vectors import InvalidVectors
from services.trainer.sae.weights import Weights
from tests.trainer.engine_contract import EngineContract, MakeEngine
from tests.trainer.examples import example


@pytest.fixture(scope="module", params=["blas", "screened"])
def make_engine(request: pytest.FixtureRequest) -> MakeEngine:
    return partial(NumbaEngine, screened=request.param == "screened")


class TestNumbaEngine(EngineContract):
    """The contract, by BLAS and by screening."""


@settings(max_examples=150)
@given(
    st.integers(1, 700),
    st.integers(1, 80),
    st.integers(1, 400),
    st.floats(0, 3, width=32),
    st.integers(0, 2**32 - 1),
)
def test_top_k_is_exact_with_ties_to_the_lower_index(n: int, k: int, distinct: int, guess: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pre = (rng.integers(-distinct, distinct + 1, n) / distinct).astype(np.float32)
    both = pre + (rng.integers(-1, 2, n) / 4).astype(np.float32)
    indices, values = np.full(k, -7, dtype=np.int32), np.zeros(k, dtype=np.float32)
    count, _threshold = select_row(both, k, np.float32(guess), space_for(n, k), indices, values)
    order = sorted((j for j in range(n) if both[j] > 0), key=lambda j: (-both[j], j))[:k]
    assert list(indices[:count]) == sorted(order)
    np.testing.assert_array_equal(values[:count], both[sorted(order)])


def test_a_row_with_nan_keeps_what_is_a_number() -> None:
    pre = np.full(200, np.nan, dtype=np.float32)
    pre[[3, 150, 199]] = 1, 3, 2
    indices, values = np.full(2, -7, dtype=np.int32), np.zeros(2, dtype=np.float32)
    count, _threshold = select_row(pre, 2, np.float32(0), space_for(200, 2), indices, values)
    assert (count, list(indices)) == (2, [150, 199])


@settings(max_examples=100)
@given(st.integers(1, 150), st.integers(1, 700), st.integers(1, 40), st.floats(0, 2), st.integers(0, 2**32 - 1))
def test_screening_loses_none_of_the_k_largest(d: int, n: int, k: int, wildness: float, seed: int) -> None:
    """Rows and latents of most different lengths and with outliers; each latent stands there twice, so ties abound."""
    rng = np.random.default_rng(seed)
    plan, state, _vectors = example(rng, rows=9, d=d, n=n, k=k)
    half = n // 2

    def wild(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) * np.exp(wildness * rng.standard_normal(shape))).astype(np.float32)

    for name in ("W_enc", "b_enc"):
        state[name] = wild(*state[name].shape)
        state[name][half : 2 * half] = state[name][:half]
    state |= {"mean": np.zeros(d, np.float32), "scale": np.ones(d, np.float32), "b_dec": np.zeros(d, np.float32)}
    vectors = wild(9, d)
    factors = NumbaEngine(plan, state, screened=True).forward(vectors, np.arange(9), 9, NO_LATENTS)
    exact = vectors.astype(np.float64) @ state["W_enc"].T.astype(np.float64) + state["b_enc"]
    sizes = np.abs(vectors.astype(np.float64)) @ np.abs(state["W_enc"].T.astype(np.float64)) + np.abs(state["b_enc"])
    for row in range(9):
        slots = slice(row * plan.k, (row + 1) * plan.k)
        filled = factors.indices[slots] >= 0
        active, values = factors.indices[slots][filled], factors.values[slots][filled]
        tolerance = 1e-5 * sizes[row].max()
        np.testing.assert_allclose(values, exact[row, active], atol=tolerance)
        inactive = np.setdiff1d(np.arange(n), active)
        least = values.min() if len(values) == plan.k else 0.0
        assert (exact[row, inactive] <= least + tolerance).all()
        twins = active[(active >= half) & (active < 2 * half)]
        assert np.isin(twins - half, active).all()


@njit
def sums_of(sum_products: Callable[..., None], rows: np.ndarray, panels: np.ndarray, sums: np.ndarray) -> None:
    sum_products(rows, panels, sums)


@pytest.mark.parametrize("name", sorted({vnni.sum_products.__name__, vnni.sum_products_plain.__name__}))
def test_sums_of_products_of_bytes_are_exact(name: str) -> None:
    """On a processor with VNNI by its instruction and by the plain function, elsewhere by the latter alone."""
    rng = np.random.default_rng(0)
    rows = rng.integers(-127, 128, (2 * vnni.TILE_ROWS, 4 * 5)).astype(np.int8)
    weights = rng.integers(0, 256, (3 * vnni.WIDTH, 4 * 5)).astype(np.uint8)
    panels = weights.view(np.int32).reshape(3, vnni.WIDTH, 5).transpose(0, 2, 1)
    aligned = np.zeros(panels.size + 16, dtype=np.int32)
    first = -(aligned.ctypes.data // 4) % 16
    aligned = aligned[first : first + panels.size].reshape(panels.shape)
    aligned[...] = panels
    sums = np.full(len(rows) * len(weights), -1, dtype=np.int32)
    sums_of(getattr(vnni, name), rows, aligned, sums)
    np.testing.assert_array_equal(sums.reshape(len(rows), -1), rows.astype(np.int64) @ weights.astype(np.int64).T)


def test_encode_above_a_threshold_takes_all_that_lie_above() -> None:
    _plan, state, vectors = example(np.random.default_rng(3), rows=130, d=8, n=64, k=4)
    weights = Weights(**state, k=2, threshold=0.7)  # type: ignore[arg-type]
    codes = weights.encode(vectors, np.arange(130, dtype=np.uint64))
    pre = ((vectors - state["mean"]) / state["scale"] - state["b_dec"]) @ state["W_enc"].T + state["b_enc"]
    assert np.diff(codes.indptr).tolist() == (pre > 0.7).sum(axis=1).tolist()
    np.testing.assert_allclose(codes.values, pre[pre > 0.7], rtol=1e-4, atol=1e-5)
    with pytest.raises(InvalidVectors):
        weights.encode(vectors[:, :3], np.arange(130, dtype=np.uint64))


@pytest.mark.parametrize("rows", [1, 15, 16])
def test_few_rows_are_padded_less_and_have_the_same_bits(rows: int) -> None:
    assert encoding.few_rows() == FEW_COLUMNS
    rng = np.random.default_rng(rows)
    _plan, state, vectors = example(rng, rows=rows, d=45, n=300, k=7)
    sae = Sae(**state)
    unscreened = screening.screen_for(300, 45, screened=False)
    few, padded = (encoding.encode_padded(sae, unscreened, vectors, 7, few) for few in (FEW_COLUMNS, 0))
    assert [part.tobytes() for part in few] == [part.tobytes() for part in padded]
