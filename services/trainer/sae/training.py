"""Trains a sparse autoencoder on (N, d) float32 vectors, step by step.

The loss is mean((x̂ − x)²) + aux · mean((ê − e)²), with e = x − x̂ held fixed and ê made of dead latents (AuxK, Gao et
al. 2024, section A.2). The order of the data follows from seed and step, so that a checkpoint needs no more of it than
the step.

A training consists of cycles. Each but the first begins with the encoder set to the decoder again, its biases at 0, and
a new optimiser: an encoder drifts from its decoder and memorises the training rows (docs/explanation/recipe.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.trainer.sae.batches import Batches, entropy
from services.trainer.sae.config import Config
from services.trainer.sae.engines import NO_LATENTS, Factors, engine_for, join
from services.trainer.sae.kernels.dtypes import F32, I64
from services.trainer.sae.normalization import Spread, normalization
from services.trainer.sae.vectors import Vectors, variation
from services.trainer.sae.weights import Weights

Exchange = Callable[[Factors], list[Factors]]
"""Gives the factors of all processes, in order, for those of this one."""


class Diverged(ArithmeticError):
    """The loss is NaN or infinite: the learning rate is too high for the data."""


@dataclass(frozen=True)
class StepResult:
    """Measures of one step."""

    loss: float
    fvu: float
    """Fraction of the batch's variance that is unexplained."""
    l0: float
    """Mean number of active latents."""
    gradient_norm: float
    """Of W_enc, b_enc and W_dec together, before clipping."""
    learning_rate: float


@dataclass(frozen=True)
class Share:
    """The part of each batch that this process takes, and how factors are exchanged with the others."""

    rank: int = 0
    processes: int = 1
    exchange: Exchange = lambda own: [own]


class Training:
    """A training at some step. `state` and `restore` carry it over a crash, bit for bit."""

    def __init__(
        self,
        vectors: F32 | Vectors,
        config: Config,
        device: str = "cpu",
        share: Share | None = None,
        *,
        sibling: int = 0,
    ) -> None:
        """`config` must be resolved. sibling: 0 for the run itself, else other random numbers and half of the rows.

        Raises InvalidVectors; ValueError for no rows, a k beyond n, or a batch that the processes can't share evenly.
        """
        self._vectors = vectors if isinstance(vectors, Vectors) else Vectors(vectors)
        if not self._vectors.rows:
            raise ValueError("expected at least one vector")
        self.config = config
        self.sibling = sibling
        self._plan = config.plan(self._vectors.dimension)
        self._share = share or Share()
        self._batches = Batches(
            self._vectors, config.batch_size, config.held_out_fraction, config.seed, sibling=sibling
        )
        if self._batches.batch_size % self._share.processes:
            raise ValueError(
                f"expected a batch that {self._share.processes} processes can share, got {self._batches.batch_size}"
            )
        self._device = device
        spread = normalization(self._vectors, self._batches.train_rows, config.normalization, config.seed)
        self.mean = np.asarray(spread.mean + spread.scale * spread.center, dtype=np.float32)
        """(d,), that of the training rows."""
        self.engine = engine_for(
            device, self._plan, _initial_state(self._plan.latents, spread, entropy(config.seed, sibling))
        )
        self._last_active = np.zeros(self._plan.latents, dtype=np.int64)
        self._threshold = np.zeros(1, dtype=np.float64)
        self._center = spread.center
        # The number of the cycle, and its first step.
        self._cycle = np.zeros(2, dtype=np.int64)
        # When its learning rate begins to fall, and when it ends; patience may bring both forward.
        self._ends = np.zeros(2, dtype=np.int64)
        self._best = np.zeros(2)
        self._plan_cycle()
        self._held_out: tuple[F32, float | None] | None = None
        self.step = 0

    def train_fvu(self) -> float | None:
        """As `measure`, on as many of the training rows."""
        count = max(len(self.held_out), 2)
        sample = np.sort(np.random.default_rng([self.config.seed, 8]).permutation(self.train_rows)[:count])
        return self.weights.fvu(self._vectors.take(sample), self.mean)

    @property
    def held_out(self) -> I64:
        """The rows that are kept from training."""
        return self._batches.held_out

    @property
    def train_rows(self) -> I64:
        """The rows that are trained on."""
        return self._batches.train_rows

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in an epoch."""
        return self._batches.steps_per_epoch

    @property
    def total_steps(self) -> int:
        """Steps there will be; fewer than planned once patience has run out."""
        return int(self._ends[1]) + sum(map(self._cycle_steps, range(int(self._cycle[0]) + 1, self._cycle_count)))

    @property
    def samples(self) -> int:
        """Vectors trained on so far."""
        return self.step * self._batches.batch_size

    @property
    def dead(self) -> NDArray[np.bool_]:
        """(n,) which latents were silent for the dead window."""
        return self.samples - self._last_active >= self.config.dead_window

    @property
    def weights(self) -> Weights:
        """The autoencoder as it is now, on the host; its arrays may move with the next step."""
        state = self.engine.state()
        arrays = (state[name] for name in ("W_enc", "b_enc", "W_dec", "b_dec", "mean", "scale"))
        return Weights(*arrays, k=self._plan.k, threshold=float(self._threshold[0]))

    def advance(self) -> StepResult:
        """One step. Raises Diverged, InvalidVectors."""
        if self.step == self._ends[1]:
            self._begin_next_cycle()
        factors = self._factors()
        if not np.isfinite(factors.loss):
            raise Diverged(f"the loss is {factors.loss} at step {self.step}; lower the learning rate")
        self.step += 1
        rate = self._rate()
        step_of_cycle = self.step - int(self._cycle[1])
        norm = self.engine.update(factors, rate, step_of_cycle, last_active=self._last_active, samples=self.samples)
        self._threshold[0] = self._plan.activation.threshold(float(self._threshold[0]), factors.least)
        return StepResult(
            loss=factors.loss,
            fvu=factors.unexplained / max(factors.total, 1e-30),
            l0=factors.active / factors.rows,
            gradient_norm=norm,
            learning_rate=rate,
        )

    def _factors(self) -> Factors:
        pool, positions = self._batches.batch(self.step)
        size = len(positions) // self._share.processes
        own = positions[self._share.rank * size : (self._share.rank + 1) * size]
        dead = NO_LATENTS
        if self.samples - int(self._last_active.min()) >= self.config.dead_window:
            dead = np.flatnonzero(self.dead).astype(np.int32)
        parts = self._share.exchange(self.engine.forward(pool, own, len(positions), dead))
        return parts[0] if len(parts) == 1 else join(parts, self._plan.k, self.engine.concatenate)

    def _rate(self) -> float:
        """The learning rate of the step just counted: linear warm-up, plateau, linear fall to zero, in each cycle."""
        begin, end = self._ends
        number, first = self._cycle.tolist()
        warmup = max(1.0, self.config.warmup_fraction * self._cycle_steps(number))
        left = int(end - self.step + 1) / max(1, int(end - begin))
        return self.config.learning_rate * min(1.0, (self.step - first) / warmup, left)

    @property
    def _cycle_count(self) -> int:
        return min(self.config.cycles, self.steps_per_epoch * self.config.epochs)

    def _cycle_steps(self, number: int) -> int:
        """Planned steps of a cycle, counted from 0."""
        total, count = self.steps_per_epoch * self.config.epochs, self._cycle_count
        return (number + 1) * total // count - number * total // count

    def _plan_cycle(self) -> None:
        """Sets the ends of the cycle that begins now."""
        number, first = self._cycle.tolist()
        steps = self._cycle_steps(number)
        self._ends[:] = first + steps - max(1, round(self.config.decay_fraction * steps)), first + steps
        self._best[:] = np.inf, first

    def _begin_next_cycle(self) -> None:
        """Sets the encoder to the decoder, biases to what they were at the start, and restarts the optimiser."""
        state = self.engine.state()
        decoder = state["W_dec"].copy()
        tied = {
            "W_enc": decoder,
            "b_enc": np.zeros(len(decoder), dtype=np.float32),
            "W_dec": decoder,
            "b_dec": self._center,
            "mean": state["mean"],
            "scale": state["scale"],
        }
        self.engine = engine_for(self._device, self._plan, tied)
        self._cycle[:] = self._cycle[0] + 1, self.step
        self._plan_cycle()

    def measure(self) -> float | None:
        """Fraction of variance unexplained on the held-out rows, in the vectors' own space: Σ|x − x̂|² / Σ|x − x̄|², with
        x̄ the mean of the training rows. None for fewer than two held-out rows, or without variance."""
        if len(self.held_out) < 2:
            return None
        if self._held_out is None:
            vectors = self._batches.held_out_vectors()
            self._held_out = vectors, variation(vectors, self.mean)
        vectors, total = self._held_out
        if total is None:
            return None
        if not self._plan.activation.rowwise:  # a batch would select differently than inference does
            return self.weights.fvu(vectors, self.mean)
        left = 0.0
        size = self._batches.batch_size
        for begin in range(0, len(vectors), size):
            positions = np.arange(begin, min(begin + size, len(vectors)))
            left += self.engine.forward(vectors, positions, len(positions), NO_LATENTS).unexplained
        return left / total

    def consider(self, held_out_fvu: float) -> bool:
        """Takes a held-out FVU at an epoch's end; whether patience has run out, so that the cycle ends."""
        if self.config.patience is None or self.step >= self._ends[0]:
            return False
        if held_out_fvu < 0.995 * self._best[0]:
            self._best[:] = held_out_fvu, self.step
        if self.step - self._best[1] < self.config.patience * self.steps_per_epoch:
            return False
        share = self.config.decay_fraction / max(1 - self.config.decay_fraction, 1e-9)
        decay_steps = max(1, round(share * (self.step - int(self._cycle[1]))))
        self._ends[:] = self.step, min(int(self._ends[1]), self.step + decay_steps)
        return True

    def measure_epoch(self) -> tuple[float | None, bool]:
        """The held-out FVU at an epoch's end, else None, and whether it ends the cycle. All processes call it alike."""
        if self.step % self.steps_per_epoch and self.step != self.total_steps:
            return None, False
        fvu = self.measure()
        return fvu, fvu is not None and self.consider(fvu)

    def finish(self, progress: Callable[[], None] = lambda: None) -> None:
        """All steps that are left; `progress` is called after each. Raises Diverged, InvalidVectors."""
        while self.step < self.total_steps:
            self.advance()
            if self.config.patience is not None:
                self.measure_epoch()
            progress()

    def state(self) -> dict[str, NDArray[Any]]:
        """All that changes, as arrays."""
        return {
            **self.engine.state(),
            "last_active": self._last_active,
            "threshold": self._threshold,
            "cycle": self._cycle,
            "ends": self._ends,
            "best": self._best,
            "step": np.array([self.step]),
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Resumes from a state, on any device and with any number of processes."""
        self.engine = engine_for(self._device, self._plan, state)
        for name in ("last_active", "threshold", "cycle", "ends", "best"):
            getattr(self, f"_{name}")[...] = state[name]
        self.step = int(state["step"][0])


def _initial_state(latents: int, spread: Spread, entropy: Sequence[int]) -> dict[str, NDArray[Any]]:
    """The parameters before the first step: random directions of norm 1, the same for encoder and decoder."""
    rng = np.random.default_rng([*entropy, 4])
    directions = rng.standard_normal((latents, len(spread.mean)), dtype=np.float32)
    directions[:, spread.constant] = 0  # and they stay 0: a constant dimension needs no latent
    directions /= np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), np.float32(1e-30))
    return {
        "W_enc": directions,
        "b_enc": np.zeros(latents, dtype=np.float32),
        "W_dec": directions,
        "b_dec": spread.center,
        "mean": spread.mean,
        "scale": spread.scale,
    }
