"""The kernels of a step: selections are exact, and each engine equals the dense reference."""

from __future__ import annotations

import os
from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

os.environ["TRITON_INTERPRET"] = "1"  # before triton is imported: its kernels run without a GPU

from services.trainer.sae.kernels import Engine, Plan
from services.trainer.sae.kernels.numba_engine import NumbaEngine
from services.trainer.sae.kernels.screening import AVAILABLE
from services.trainer.sae.kernels.selecting import select_row, space_for
from services.trainer.sae.kernels.torch_engine import TorchEngine
from services.trainer.sae.vectors import InvalidVectors
from services.trainer.sae.weights import Weights
from tests.trainer.reference import PARAMETERS, Reference

ENGINES = ["numba", "torch", "triton", *(["screened"] if AVAILABLE else [])]


def engine_of(kind: str, plan: Plan, state: dict[str, np.ndarray]) -> Engine:
    """On the CPU: Triton's kernels run in its interpreter."""
    if kind == "triton":
        pytest.importorskip("triton", reason="Triton comes with torch for Linux alone")
    if kind in ("numba", "screened"):
        return NumbaEngine(plan, state, screened=kind == "screened")
    engine = TorchEngine("cpu", plan, state, triton=kind == "triton")
    assert engine.name == kind
    return engine


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


def example(
    rng: np.random.Generator, rows: int, d: int, n: int, k: int, levels: int, scope: str
) -> tuple[Plan, dict[str, np.ndarray], np.ndarray]:
    """A plan, a state with biases, and vectors, some of them equal, zero, or constant in a dimension."""
    ends = tuple(sorted({max(1, n >> level) for level in range(levels)}))
    weights = tuple(float(w) for w in rng.random(len(ends)) + 0.5)
    plan = Plan(n, min(k, n), scope, ends, weights, min(2 * k, n), 0.5, 1e3, 1)  # type: ignore[arg-type]

    def noise(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    W_dec = noise(n, d)
    W_dec /= np.linalg.norm(W_dec, axis=1, keepdims=True)
    state = {
        "W_enc": W_dec + 0.1 * noise(n, d),
        "b_enc": 0.1 * noise(n),
        "W_dec": W_dec,
        "b_dec": 0.1 * noise(d),
        "mean": noise(d),
        "scale": np.exp(noise(d) / 4),
    }
    vectors = noise(rows, d) * 2 + 1
    if rows > 2:
        vectors[1] = vectors[0]
        vectors[2] = 0
    vectors[:, 0] = 3
    return plan, state, vectors


@pytest.mark.parametrize("kind", ENGINES)
@pytest.mark.parametrize("scope", ["row", "batch"])
@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 12),
    st.integers(2, 24),
    st.integers(1, 70),
    st.integers(1, 80),
    st.integers(1, 3),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_two_steps_equal_those_of_the_dense_reference(
    kind: str, scope: str, rows: int, d: int, n: int, k: int, levels: int, some_dead: bool, seed: int
) -> None:
    """The second step starts from what the first made of moments: so loss, gradients and optimiser are all held."""
    rng = np.random.default_rng(seed)
    plan, state, vectors = example(rng, rows, d, n, k, levels, scope)
    dead = np.flatnonzero(rng.random(n) < 0.4).astype(np.int32) if some_dead else np.empty(0, dtype=np.int32)
    engine, reference = engine_of(kind, plan, state), Reference(plan, state)
    pool = np.concatenate([np.full((1, d), 7, np.float32), vectors])
    for step in (1, 2):
        factors = engine.forward(pool, np.arange(1, rows + 1), rows, dead)
        loss, codes = reference.loss(vectors, dead)
        assert factors.loss == pytest.approx(loss.item(), rel=1e-4)
        assert factors.active == int((codes > 0).sum())
        gradients = reference.gradients(vectors, dead)
        norm = sum(float(gradients[name].square().sum()) for name in PARAMETERS if name != "b_dec") ** 0.5
        marks = np.zeros(n, dtype=np.int64)
        assert engine.update(factors, 1e-3, step, marks, 5) == pytest.approx(norm, rel=1e-3, abs=1e-6)
        assert list(np.flatnonzero(marks == 5)) == list(np.flatnonzero((codes > 0).any(dim=0).numpy()))
        reference.step(vectors, dead, 1e-3, step)
        for name in PARAMETERS:
            np.testing.assert_allclose(engine.state()[name], reference.state()[name], atol=2e-5, err_msg=name)


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


@pytest.mark.parametrize("kind", ENGINES)
def test_long_gradients_are_clipped_latent_by_latent(kind: str) -> None:
    plan, state, vectors = example(np.random.default_rng(1), 16, 8, 32, 4, 1, "row")
    plan = replace(plan, gradient_clip=0.05)
    engine, reference = engine_of(kind, plan, state), Reference(plan, state)
    nobody = np.empty(0, dtype=np.int32)
    for step in (1, 2):
        # Adam hides a constant factor; a second step with other data shows it.
        batch = vectors[: 8 * step]
        engine.update(
            engine.forward(batch, np.arange(len(batch)), len(batch), nobody), 1e-2, step, np.zeros(32, np.int64), 1
        )
        reference.step(batch, nobody, 1e-2, step)
    for name in PARAMETERS:
        np.testing.assert_allclose(engine.state()[name], reference.state()[name], atol=2e-5, err_msg=name)


@pytest.mark.parametrize("kind", ENGINES)
@pytest.mark.parametrize("some_dead", [False, True])
def test_factors_of_parts_join_to_those_of_the_batch(kind: str, some_dead: bool) -> None:
    plan, state, vectors = example(np.random.default_rng(2), 24, 8, 32, 4, 3, "row")
    dead = np.arange(3, 20, 2, dtype=np.int32) if some_dead else np.empty(0, dtype=np.int32)
    whole, halves = engine_of(kind, plan, state), engine_of(kind, plan, state)
    marks = np.zeros(32, dtype=np.int64)
    for step in (1, 2, 3):
        parts = []
        for part in (np.arange(10), np.arange(10, 24)):
            found = halves.forward(vectors, part, 24, dead)
            parts.append(
                replace(
                    found,
                    arrays={
                        name: each.clone() if kind in ("torch", "triton") else each.copy()
                        for name, each in found.arrays.items()
                    },
                )
            )
        joined = halves.join(parts)
        factors = whole.forward(vectors, np.arange(24), 24, dead)
        assert joined.loss == pytest.approx(factors.loss, rel=1e-6)
        assert whole.update(factors, 1e-3, step, marks, 1) == pytest.approx(
            halves.update(joined, 1e-3, step, marks, 1), rel=1e-5
        )
    for name in PARAMETERS:
        np.testing.assert_allclose(whole.state()[name], halves.state()[name], atol=1e-6, err_msg=name)


def test_encode_above_a_threshold_takes_all_that_lie_above() -> None:
    _plan, state, vectors = example(np.random.default_rng(3), 130, 8, 64, 4, 1, "row")
    weights = Weights(**state, k=2, threshold=0.7)  # type: ignore[arg-type]
    codes = weights.encode(vectors, np.arange(130, dtype=np.uint64))
    pre = ((vectors - state["mean"]) / state["scale"] - state["b_dec"]) @ state["W_enc"].T + state["b_enc"]
    assert np.diff(codes.indptr).tolist() == (pre > 0.7).sum(axis=1).tolist()
    np.testing.assert_allclose(codes.values, pre[pre > 0.7], rtol=1e-4, atol=1e-5)
    with pytest.raises(InvalidVectors):
        weights.encode(vectors[:, :3], np.arange(130, dtype=np.uint64))
