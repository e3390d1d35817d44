"""The reference's hand-derived gradients equal those of torch's autograd."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings

from services.trainer.sae.engines import Plan
from services.trainer.sae.reference import PARAMETERS, Reference
from tests.trainer.examples import example


def autograd(plan: Plan, state: dict[str, np.ndarray], vectors: np.ndarray, dead: np.ndarray) -> dict[str, np.ndarray]:
    """Loss and gradients of a batch."""
    p = {name: torch.tensor(state[name], dtype=torch.float64, requires_grad=True) for name in PARAMETERS}
    x = (torch.tensor(vectors, dtype=torch.float64) - torch.tensor(state["mean"])) / torch.tensor(state["scale"])
    pre = (x - p["b_dec"]) @ p["W_enc"].T + p["b_enc"]
    rows = len(pre) if plan.activation.rowwise else 1
    codes = keep_largest(pre.reshape(rows, -1), plan.k * len(pre) // rows).reshape(pre.shape)
    loss = torch.zeros((), dtype=torch.float64)
    for end, weight in zip(plan.ends, plan.weights, strict=True):
        loss = loss + weight * (codes[:, :end] @ p["W_dec"][:end] + p["b_dec"] - x).square().mean()
    if len(dead):
        error = (x - codes @ p["W_dec"] - p["b_dec"]).detach()
        only_dead = torch.full_like(pre, -1.0)
        only_dead[:, dead] = pre[:, dead]
        explained = keep_largest(only_dead, min(plan.k_aux, len(dead))) @ p["W_dec"]
        loss = loss + plan.aux_coefficient * (explained - error).square().mean()
    gradients = torch.autograd.grad(loss, list(p.values()))
    return {"loss": loss.detach().numpy(), **dict(zip(PARAMETERS, (g.numpy() for g in gradients), strict=True))}


def keep_largest(pre: torch.Tensor, k: int) -> torch.Tensor:
    """ReLU, then the k largest of each row; a stable sort gives ties to the lower index."""
    active = torch.relu(pre)
    order = torch.argsort(-active.detach(), dim=1, stable=True)[:, :k]
    return active * torch.zeros_like(active, dtype=torch.bool).scatter(1, order, True)


@pytest.mark.parametrize("batch", [False, True], ids=["rows", "batch"])
@settings(max_examples=50, deadline=None)
@given(
    rows=st.integers(1, 12),
    d=st.integers(2, 24),
    n=st.integers(1, 70),
    k=st.integers(1, 80),
    levels=st.integers(1, 3),
    seed=st.integers(0, 9999),
)
def test_gradients_equal_autograd(batch: bool, rows: int, d: int, n: int, k: int, levels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    plan, state, vectors = example(rng, rows=rows, d=d, n=n, k=k, levels=levels, batch=batch)
    if rows > 1:
        vectors[1:] += 0.01 * rng.standard_normal((rows - 1, d))  # equal rows tie, which torch breaks by their last bit
    dead = np.flatnonzero(rng.random(n) < 0.4)
    expected = autograd(plan, state, vectors, dead)
    reference = Reference(plan, state)
    forward = reference.forward(vectors, dead)
    assert forward.loss == pytest.approx(float(expected["loss"]), rel=1e-12)
    for name, gradient in reference.full_gradients(forward).items():
        np.testing.assert_allclose(gradient, expected[name], rtol=1e-9, atol=1e-12, err_msg=name)
