"""What every engine must do: the suite that all are held to.

An engine's test module subclasses `EngineContract` and gives the fixture `make_engine`, which must not be
function-scoped: Hypothesis calls it many times in one test.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from services.trainer.sae.engines import NO_LATENTS, Engine, Plan, join
from services.trainer.sae.reference import PARAMETERS, Reference
from tests.trainer.examples import example

ARRAYS = ("indices", "values", "sources", "gradients", "residuals", "centered")
MakeEngine = Callable[[Plan, dict[str, np.ndarray]], Engine]


def gradient_norm(gradients: dict[str, np.ndarray]) -> float:
    """What an update returns: the norm of the gradient by W_enc, b_enc and W_dec."""
    return sum(float(np.square(gradients[name]).sum()) for name in PARAMETERS if name != "b_dec") ** 0.5


def assert_equal_parameters(engine: Engine, reference: Reference) -> None:
    state = engine.state()
    for name in PARAMETERS:
        np.testing.assert_allclose(state[name], reference.parameters[name], atol=2e-5, err_msg=name)


class EngineContract:
    """The contract."""

    @pytest.mark.parametrize("batch", [False, True], ids=["rows", "batch"])
    @settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors])
    @given(
        rows=st.integers(1, 12),
        d=st.integers(2, 24),
        n=st.integers(1, 70),
        k=st.integers(1, 80),
        levels=st.integers(1, 3),
        some_dead=st.booleans(),
        seed=st.integers(0, 2**32 - 1),
    )
    def test_two_steps_equal_those_of_the_reference(
        self, make_engine: MakeEngine, batch: bool, rows: int, d: int, n: int, k: int, levels: int, some_dead: bool,
        seed: int,
    ) -> None:  # fmt: skip
        """The second step starts from the first one's moments: so loss, gradients and optimiser are all compared."""
        rng = np.random.default_rng(seed)
        plan, state, vectors = example(rng, rows=rows, d=d, n=n, k=k, levels=levels, batch=batch)
        dead = np.flatnonzero(rng.random(n) < 0.4).astype(np.int32) if some_dead else NO_LATENTS
        engine, reference = make_engine(plan, state), Reference(plan, state)
        pool = np.concatenate([np.full((1, d), 7, np.float32), vectors])
        for step in (1, 2):
            factors = engine.forward(pool, np.arange(1, rows + 1), rows, dead)
            forward = reference.forward(vectors, dead)
            assert factors.loss == pytest.approx(forward.loss, rel=1e-4)
            assert factors.active == int((forward.codes > 0).sum())
            marks = np.zeros(n, dtype=np.int64)
            norm = gradient_norm(reference.gradients(forward))
            assert engine.update(factors, 1e-3, step, last_active=marks, samples=5) == pytest.approx(
                norm, rel=1e-3, abs=1e-6
            )
            assert list(np.flatnonzero(marks == 5)) == list(np.flatnonzero((forward.codes > 0).any(axis=0)))
            reference.step(vectors, dead, 1e-3, step)
            assert_equal_parameters(engine, reference)

    def test_long_gradients_are_clipped_latent_by_latent(self, make_engine: MakeEngine) -> None:
        plan, state, vectors = example(np.random.default_rng(1), rows=16, d=8, n=32, k=4)
        plan = replace(plan, gradient_clip=0.05)
        engine, reference = make_engine(plan, state), Reference(plan, state)
        for step in (1, 2):
            # Adam hides a constant factor; a second step with other data shows it.
            batch = vectors[: 8 * step]
            factors = engine.forward(batch, np.arange(len(batch)), len(batch), NO_LATENTS)
            engine.update(factors, 1e-2, step, last_active=np.zeros(32, np.int64), samples=1)
            reference.step(batch, NO_LATENTS, 1e-2, step)
        assert_equal_parameters(engine, reference)

    @pytest.mark.parametrize("some_dead", [False, True])
    def test_factors_of_parts_join_to_those_of_the_batch(self, make_engine: MakeEngine, some_dead: bool) -> None:
        plan, state, vectors = example(np.random.default_rng(2), rows=24, d=8, n=32, k=4, levels=3)
        dead = np.arange(3, 20, 2, dtype=np.int32) if some_dead else NO_LATENTS
        whole, halves = make_engine(plan, state), make_engine(plan, state)
        marks = np.zeros((2, 32), dtype=np.int64)
        for step in (1, 2, 3):
            parts = []
            for rows in (np.arange(10), np.arange(10, 24)):
                factors = halves.forward(vectors, rows, 24, dead)
                # The engine's next forward overwrites what this one returned.
                parts.append(replace(factors, **{name: deepcopy(getattr(factors, name)) for name in ARRAYS}))
            joined = join(parts, plan.k, halves.concatenate)
            factors = whole.forward(vectors, np.arange(24), 24, dead)
            assert joined.loss == pytest.approx(factors.loss, rel=1e-6)
            norms = [
                engine.update(part, 1e-3, step, last_active=own_marks, samples=step)
                for engine, part, own_marks in ((whole, factors, marks[0]), (halves, joined, marks[1]))
            ]
            assert norms[0] == pytest.approx(norms[1], rel=1e-5)
            np.testing.assert_array_equal(marks[0], marks[1])  # AuxK's latents are not among the batch's own
        for name in PARAMETERS:
            np.testing.assert_allclose(whole.state()[name], halves.state()[name], atol=1e-6, err_msg=name)
