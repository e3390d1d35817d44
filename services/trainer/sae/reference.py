"""The mathematics of a training step, written to be read: dense float64 matrices, nothing sparse, nothing fused.

Start here to understand the kernels. Every engine is tested against this module, its gradients are tested against
finite differences of its loss, and against autograd where torch is installed.

With x = (v − mean) / scale, for a batch of B vectors v of d numbers, n latents, and codes z:

    pre  = (x − b_dec) W_encᵀ + b_enc                             (B, n)
    z    = the k largest positive numbers of each row of pre, 0 elsewhere
    x̂_p  = z[:, :end_p] W_dec[:end_p] + b_dec                     for each nested prefix p of the latents
    loss = Σ_p weight_p · mean((x̂_p − x)²)  +  aux · mean((ê − e)²)

A plain Top-K autoencoder has one prefix, all of its latents. AuxK is the last term: e = x − x̂ is held fixed, and
ê = a W_dec, where a has the k_aux largest positive pre-activations of the dead latents (Gao et al. 2024, section A.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.trainer.sae.activations import keep_largest
from services.trainer.sae.engines import BETA1, BETA2, Plan
from services.trainer.sae.kernels.dtypes import F64

PARAMETERS = ("W_enc", "b_enc", "W_dec", "b_dec")


@dataclass(frozen=True)
class Forward:
    """What a batch gives, before any weight moves."""

    loss: float
    centered: F64
    """x − b_dec, (B, d)."""
    codes: F64
    """z, (B, n)."""
    auxiliary_codes: F64
    """a, (B, n); zeros without dead latents."""
    reconstruction_gradients: F64
    """∂loss/∂x̂_p, (P, B, d)."""
    auxiliary_gradient: F64
    """∂loss/∂ê, (B, d)."""
    error: F64
    """e = x − x̂, (B, d), which AuxK explains."""


class Reference:
    """An autoencoder and its optimiser."""

    def __init__(self, plan: Plan, state: Mapping[str, NDArray[Any]]) -> None:
        self.plan = plan
        self.parameters: dict[str, F64] = {name: np.array(state[name], dtype=np.float64) for name in PARAMETERS}
        self.mean, self.scale = state["mean"].astype(np.float64), state["scale"].astype(np.float64)
        self._first = {name: np.zeros_like(array) for name, array in self.parameters.items()}
        # One second moment for each latent, and one for all of b_dec.
        self._second = {name: np.zeros(1 if name == "b_dec" else plan.latents) for name in PARAMETERS}

    def forward(self, vectors: NDArray[Any], dead: NDArray[Any], error: F64 | None = None) -> Forward:
        """Loss, codes and the gradients by the reconstructions, of vectors (B, d) with these dead latents (m,).

        `error` replaces what AuxK explains: a derivative of the loss must hold it fixed.
        """
        plan, W_dec, b_dec = self.plan, self.parameters["W_dec"], self.parameters["b_dec"]
        x = (vectors.astype(np.float64) - self.mean) / self.scale
        pre = self.pre_activations(x)
        codes = plan.activation.select(pre, plan.k)
        loss, gradients = 0.0, np.zeros((len(plan.ends), *x.shape))
        for prefix, (end, weight) in enumerate(zip(plan.ends, plan.weights, strict=True)):
            difference = codes[:, :end] @ W_dec[:end] + b_dec - x
            loss += weight * np.square(difference).mean()
            gradients[prefix] = 2 * weight * difference / x.size
        error = x - codes @ W_dec - b_dec if error is None else error
        auxiliary_codes, auxiliary_gradient = np.zeros_like(pre), np.zeros_like(x)
        if len(dead) and plan.aux_coefficient > 0:
            auxiliary_codes[:, dead] = keep_largest(pre[:, dead], min(plan.k_aux, len(dead)))
            difference = auxiliary_codes @ W_dec - error
            loss += plan.aux_coefficient * np.square(difference).mean()
            auxiliary_gradient = 2 * plan.aux_coefficient * difference / x.size
        return Forward(
            loss=float(loss),
            centered=x - b_dec,
            codes=codes,
            auxiliary_codes=auxiliary_codes,
            reconstruction_gradients=gradients,
            auxiliary_gradient=auxiliary_gradient,
            error=error,
        )

    def pre_activations(self, x: F64) -> F64:
        """(B, d) normalised vectors → (B, n). Equal rows give equal bits, which a matrix product does not promise."""
        return np.einsum("bd,nd->bn", x - self.parameters["b_dec"], self.parameters["W_enc"]) + self.parameters["b_enc"]

    def full_gradients(self, forward: Forward) -> dict[str, F64]:
        """The loss's gradients by all parameters."""
        W_enc, W_dec = self.parameters["W_enc"], self.parameters["W_dec"]
        by_W_dec = forward.auxiliary_codes.T @ forward.auxiliary_gradient
        by_codes = np.zeros_like(forward.codes)
        for end, gradient in zip(self.plan.ends, forward.reconstruction_gradients, strict=True):
            by_W_dec[:end] += forward.codes[:, :end].T @ gradient
            by_codes[:, :end] += gradient @ W_dec[:end].T
        by_pre = self.plan.activation.backward(by_codes, forward.codes)
        by_pre += np.where(forward.auxiliary_codes > 0, forward.auxiliary_gradient @ W_dec.T, 0)
        by_b_enc = by_pre.sum(axis=0)
        return {
            "W_enc": by_pre.T @ forward.centered,
            "b_enc": by_b_enc,
            "W_dec": by_W_dec,
            "b_dec": forward.reconstruction_gradients.sum(axis=(0, 1)) - by_b_enc @ W_enc,
        }

    def gradients(self, forward: Forward) -> dict[str, F64]:
        """As `full_gradients`, without the decoder's parts along its unit rows."""
        gradients, W_dec = self.full_gradients(forward), self.parameters["W_dec"]
        along = (gradients["W_dec"] * W_dec).sum(axis=1, keepdims=True)
        return {**gradients, "W_dec": gradients["W_dec"] - along * W_dec}

    def step(self, vectors: NDArray[Any], dead: NDArray[Any], rate: float, step: int) -> None:
        """Adam with one second moment per latent, on the latents that have a gradient; `step` counts from 1.

        A latent's gradients by its rows of W_enc and W_dec and by its b_enc are clipped together.
        """
        forward = self.forward(vectors, dead)
        gradients = self.gradients(forward)
        active = ((forward.codes > 0) | (forward.auxiliary_codes > 0)).any(axis=0)
        square = np.square(gradients["b_enc"])
        for name in ("W_enc", "W_dec"):
            square = square + np.square(gradients[name]).sum(axis=1)
        clip = self._clip(square)
        for name, weights in self.parameters.items():
            gradient, rows = gradients[name], np.asarray(active)
            if name == "b_dec":
                gradient, rows = gradient * self._clip(np.square(gradient).sum()), np.ones(len(weights), dtype=bool)
                size = np.array([np.square(gradient).mean()])
            elif name == "b_enc":
                gradient = gradient * clip
                size = np.square(gradient)
            else:
                gradient = gradient * clip[:, None]
                size = np.square(gradient).mean(axis=1)
            self._move(name, gradient, rows=rows, size=size, scaled_rate=rate / (1 - BETA1**step), step=step)
        W_dec = self.parameters["W_dec"]
        W_dec[active] /= np.linalg.norm(W_dec[active], axis=1, keepdims=True)

    def _clip(self, square: Any) -> Any:
        """The factor that scales gradients of this squared norm down to the longest that is allowed."""
        with np.errstate(divide="ignore"):
            return np.minimum(self.plan.gradient_clip / np.sqrt(square), 1)

    def _move(
        self, name: str, gradient: F64, *, rows: NDArray[np.bool_], size: F64, scaled_rate: float, step: int
    ) -> None:
        first, second = self._first[name], self._second[name]
        moved = np.ones(1, dtype=bool) if name == "b_dec" else rows
        first[rows] = BETA1 * first[rows] + (1 - BETA1) * gradient[rows]
        second[moved] = BETA2 * second[moved] + (1 - BETA2) * size[moved]
        root = np.sqrt(second[moved] / (1 - BETA2**step)) + 1e-8
        if gradient.ndim == 2:
            root = root[:, None]
        self.parameters[name][rows] -= scaled_rate * first[rows] / root
