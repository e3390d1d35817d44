"""Trains a sparse autoencoder on (N, d) float32 vectors, step by step.

Gradients are written out: the loss is mean((x̂ − x)²) + aux · mean((ê − e)²), with e = x − x̂ held fixed and ê made of
dead latents (AuxK, Gao et al. 2024, section A.2). The data's order follows from seed and epoch, so that a checkpoint
needs only the step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.trainer.sae import kernels
from services.trainer.sae.config import Config
from services.trainer.sae.weights import F32, Weights, check, normalization

PARAMETERS = ("W_enc", "b_enc", "W_dec", "b_dec")


@dataclass(frozen=True)
class StepResult:
    """What one step saw."""

    loss: float
    fvu: float
    l0: float
    gradient_norm: float
    learning_rate: float


@dataclass
class Gradients:
    """Gradients of the parameters, of the same shapes."""

    W_enc: F32
    b_enc: F32
    W_dec: F32
    b_dec: F32


class Training:
    """A training at some step. `state` and `restore` carry it over a crash, bit for bit."""

    def __init__(self, vectors: F32, config: Config) -> None:
        """`config` must be resolved. Raises InvalidVectors, ValueError for too few rows or a k beyond n."""
        check(vectors, vectors.shape[1])
        self.config = config
        self._vectors = vectors
        rng = np.random.default_rng([config.seed, 0])
        order = rng.permutation(len(vectors))
        held = round(config.held_out_fraction * len(vectors)) if len(vectors) > 1 else 0
        self.held_out, self.train_rows = np.sort(order[:held]), np.sort(order[held:])
        d = vectors.shape[1]
        n = config.expansion * d
        if config.k > n:
            raise ValueError(f"k is {config.k}, but there are only {n} latents")
        train = vectors[self.train_rows]
        mean, scale = normalization(train, config.normalization)
        self._train = (train - mean) / scale
        directions = rng.standard_normal((n, d), dtype=np.float32)
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        self.weights = Weights(
            directions.copy(),
            np.zeros(n, dtype=np.float32),
            directions,
            self._train.mean(axis=0, dtype=np.float64).astype(np.float32),
            mean,
            scale,
            config.k,
        )
        self._moments = {
            f"{moment}.{name}": np.zeros_like(getattr(self.weights, name))
            for name in PARAMETERS
            for moment in ("first", "second")
        }
        self._last_active = np.zeros(n, dtype=np.int64)
        self.step = 0
        self.steps_per_epoch = max(1, len(train) // config.batch_size)
        self.total_steps = self.steps_per_epoch * config.epochs
        self._epoch = -1
        self._order = np.empty(0, dtype=np.intp)

    @property
    def samples(self) -> int:
        """Vectors trained on so far."""
        return self.step * min(self.config.batch_size, len(self._train))

    @property
    def dead(self) -> NDArray[np.bool_]:
        """(n,) which latents were silent for the dead window."""
        return self.samples - self._last_active >= self.config.dead_window

    def advance(self) -> StepResult:
        """One step."""
        batch = self._batch()
        gradients = Gradients(*(np.zeros_like(getattr(self.weights, name)) for name in PARAMETERS))
        loss, fvu, l0 = self.backward(batch, gradients)
        self.step += 1
        rate = self._rate()
        norm = self._update(gradients, rate)
        return StepResult(loss, fvu, l0, norm, rate)

    def backward(self, batch: F32, gradients: Gradients) -> tuple[float, float, float]:
        """Adds the gradients of the loss on a normalised batch (B, d); returns loss, FVU and L0 of it."""
        weights = self.weights
        size = batch.shape[0] * batch.shape[1]
        centered = batch - weights.b_dec
        pre = np.matmul(centered, weights.W_enc.T, dtype=np.float32)
        pre += weights.b_enc
        everywhere = np.ones(weights.latent_count, dtype=bool)
        indices, values = kernels.top_k(pre, self.config.k, everywhere)
        residual = batch - kernels.decode(indices, values, weights.W_dec, weights.b_dec)
        self._back(indices, values, residual * np.float32(-2.0 / size), centered, gradients, bias=True)
        self._last_active[np.unique(indices[indices >= 0])] = self.samples + len(batch)
        loss = float(np.square(residual).mean(dtype=np.float64))
        original = residual * weights.scale
        around = (batch - batch.mean(axis=0)) * weights.scale
        fvu = float(np.square(original).sum(dtype=np.float64) / max(np.square(around).sum(dtype=np.float64), 1e-30))
        dead = self.dead
        if dead.any() and self.config.aux_coefficient > 0:
            loss += self._auxiliary(pre, dead, residual, centered, gradients)
        return loss, fvu, float((indices >= 0).sum() / len(batch))

    def _auxiliary(
        self, pre: F32, dead: NDArray[np.bool_], residual: F32, centered: F32, gradients: Gradients
    ) -> float:
        """AuxK: dead latents explain what the live ones left."""
        size = residual.shape[0] * residual.shape[1]
        k = min(self.config.k_aux, int(dead.sum()))
        indices, values = kernels.top_k(pre, k, dead)
        zero = np.zeros_like(self.weights.b_dec)
        left = residual - kernels.decode(indices, values, self.weights.W_dec, zero)
        coefficient = self.config.aux_coefficient
        self._back(indices, values, left * np.float32(-2.0 * coefficient / size), centered, gradients, bias=False)
        return coefficient * float(np.square(left).mean(dtype=np.float64))

    def _back(
        self,
        indices: NDArray[np.int32],
        values: F32,
        gradient: F32,
        centered: F32,
        gradients: Gradients,
        *,
        bias: bool,
    ) -> None:
        """Carries the gradient (B, d) of a reconstruction back to the parameters."""
        slots, starts = kernels.by_latent(indices, self.weights.latent_count)
        by_code = kernels.code_gradient(indices, self.weights.W_dec, gradient)
        kernels.add_outer(slots, starts, values, gradient, gradients.W_dec)
        kernels.add_outer(slots, starts, by_code, centered, gradients.W_enc)
        kernels.add_counts(slots, starts, by_code, gradients.b_enc)
        zero = np.zeros_like(self.weights.b_dec)
        gradients.b_dec -= kernels.decode(indices, by_code, self.weights.W_enc, zero).sum(axis=0)
        if bias:
            gradients.b_dec += gradient.sum(axis=0)

    def _update(self, gradients: Gradients, rate: float) -> float:
        kernels.remove_parallel(gradients.W_dec, self.weights.W_dec)
        shaped = {name: np.atleast_2d(getattr(gradients, name)) for name in PARAMETERS}
        norm = float(np.sqrt(sum(kernels.row_squares(each).sum() for each in shaped.values())))
        scale = min(1.0, self.config.gradient_clip / norm) if norm > 0 else 1.0
        for name, gradient in shaped.items():
            kernels.adam(
                np.atleast_2d(getattr(self.weights, name)),
                gradient,
                np.atleast_2d(self._moments[f"first.{name}"]),
                np.atleast_2d(self._moments[f"second.{name}"]),
                rate,
                scale,
                self.step,
                name == "W_dec",
            )
        return norm

    def _rate(self) -> float:
        """The learning rate of the step just counted: linear warm-up, plateau, linear decay to zero."""
        warmup = max(1.0, self.config.warmup_fraction * self.total_steps)
        decay = max(1.0, self.config.decay_fraction * self.total_steps)
        left = self.total_steps - self.step + 1
        return self.config.learning_rate * min(1.0, self.step / warmup, left / decay)

    def _batch(self) -> F32:
        """The next (B, d) batch. Each epoch has an order of its own; the rest that fills no batch is left out of it."""
        epoch, place = divmod(self.step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._order = np.random.default_rng([self.config.seed, 1, epoch]).permutation(len(self._train))
            self._epoch = epoch
        size = self.config.batch_size
        return self._train[self._order[place * size : (place + 1) * size]]

    def state(self) -> dict[str, NDArray[Any]]:
        """All that changes, as arrays."""
        arrays: dict[str, NDArray[Any]] = {name: getattr(self.weights, name) for name in PARAMETERS}
        return {**arrays, **self._moments, "last_active": self._last_active, "step": np.array([self.step])}

    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        """Takes a state up again."""
        for name, value in self.state().items():
            if name != "step":
                value[...] = state[name]
        self.step = int(state["step"][0])
