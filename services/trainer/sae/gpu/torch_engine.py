"""The engine on CUDA and MPS, in torch with gathers and scatters; on CUDA what is sparse runs in Triton."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.trainer.sae.engines import BETA1, BETA2, Factors, Plan
from services.trainer.sae.kernels.dtypes import F32, I32, I64

_PARAMETERS = ("W_enc", "b_enc", "W_dec", "b_dec")


@dataclass(frozen=True)
class _Selected:
    """The active latents of a batch, by row and index."""

    indices: Tensor
    """(S,); −1 where fewer are positive."""
    values: Tensor
    """(S,); 0 there."""
    rows: Tensor
    """Of the batch, (S,)."""


@dataclass(frozen=True)
class _Slots:
    """Filled slots of a batch's factors, all (S,), and what their gradients are made of."""

    indices: Tensor
    values: Tensor
    sources: Tensor
    gradients: Tensor
    residuals: Tensor
    """Flat, (P·B or more, d)."""
    centered: Tensor
    """(B, d)."""


class TorchEngine:
    """Training on any device of torch."""

    def __init__(
        self, device: str, plan: Plan, state: Mapping[str, NDArray[Any]], *, triton: bool | None = None
    ) -> None:
        """`triton` says whether to use its kernels; None for where it can, on CUDA."""
        self.device = device
        self._plan = plan
        self._kernels: Any = None
        if device.startswith("cuda") if triton is None else triton:
            from services.trainer.sae.gpu import triton_kernels

            self._kernels = triton_kernels
        self.name = "triton" if self._kernels else "torch"
        self._tensors = {
            name: torch.tensor(state[name], dtype=torch.float32, device=device)
            for name in (*_PARAMETERS, "mean", "scale")
        }
        for name in _PARAMETERS:
            shape = self._tensors[name].shape
            self._set_moment(f"first_{name}", shape, state)
            self._set_moment(f"second_{name}", shape[:1] if name != "b_dec" else (1,), state)
        self._ends = torch.tensor(plan.ends, device=device)
        self._weights = torch.tensor(plan.weights, dtype=torch.float32, device=device)

    def _set_moment(self, name: str, shape: Sequence[int], state: Mapping[str, NDArray[Any]]) -> None:
        array = state.get(name, np.zeros(shape))
        self._tensors[name] = torch.tensor(array, dtype=torch.float32, device=self.device)

    @torch.no_grad()
    def forward(self, pool: F32, positions: I64, batch_rows: int, dead: I32) -> Factors:
        plan, t, rows, d = self._plan, self._tensors, len(positions), pool.shape[1]
        raw = torch.from_numpy(np.ascontiguousarray(pool[positions])).to(self.device)
        normalized = (raw - t["mean"]) / t["scale"]
        centered = normalized - t["b_dec"]
        pre = torch.addmm(t["b_enc"], centered, t["W_enc"].T)
        active = _top_k_of_rows(pre, plan.k) if plan.activation.rowwise else _top_k_of_batch(pre, plan.k)
        prefix = torch.bucketize(active.indices.clamp(min=0), self._ends, right=True)
        error = self._reconstruct(active, prefix, shape=(rows, d)) - centered  # (P, B, d), x̂ − x
        scales = self._weights * (2.0 / (batch_rows * d))
        # A latent sees the gradients of all prefixes that hold it.
        residuals = (error * scales[:, None, None]).flip(0).cumsum(0).flip(0)
        loss = (self._weights * error.square().sum(dim=(1, 2))).sum() / (batch_rows * d)
        slots = [(active.indices, active.values, prefix * rows + active.rows)]
        if len(dead) and plan.aux_coefficient > 0:
            dead_latents = torch.from_numpy(dead).to(self.device).long()
            auxiliary, auxiliary_error = self._reconstruct_from_dead(pre, dead_latents, error[-1])
            scale = 2.0 * plan.aux_coefficient / (batch_rows * d)
            residuals = torch.cat([residuals, auxiliary_error[None] * scale])
            slots.append((auxiliary.indices, auxiliary.values, len(plan.ends) * rows + auxiliary.rows))
            loss = loss + plan.aux_coefficient * auxiliary_error.square().sum() / (batch_rows * d)
        indices, values, sources = (torch.cat(parts) for parts in zip(*slots, strict=True))
        positive = active.values[active.values > 0]
        return Factors(
            indices=indices,
            values=values,
            sources=sources,
            gradients=(t["W_dec"][indices.clamp(min=0)] * residuals.reshape(-1, d)[sources]).sum(dim=1),
            residuals=residuals,
            centered=centered,
            rows=rows,
            loss=float(loss),
            unexplained=float((error[-1] * t["scale"]).square().sum()),
            total=float((normalized * t["scale"]).square().sum()),
            active=len(positive),
            least=float(positive.min()) if len(positive) and not plan.activation.rowwise else 0.0,
        )

    def _reconstruct(self, active: _Selected, prefix: Tensor, *, shape: tuple[int, int]) -> Tensor:
        """Reconstructions (P, B, d) from each prefix of the latents, without b_dec; shape is (B, d)."""
        W_dec, (rows, d), prefixes = self._tensors["W_dec"], shape, len(self._plan.ends)
        if self._kernels and self._plan.activation.rowwise and prefixes == 1:
            return self._kernels.decode(active.indices.reshape(rows, -1), active.values.reshape(rows, -1), W_dec)[None]
        parts = torch.zeros(prefixes * rows, d, device=W_dec.device)
        directions = W_dec[active.indices.clamp(min=0)]
        parts.index_add_(0, prefix * rows + active.rows, active.values[:, None] * directions)
        return parts.reshape(prefixes, rows, d).cumsum(0)

    def _reconstruct_from_dead(self, pre: Tensor, dead: Tensor, error: Tensor) -> tuple[_Selected, Tensor]:
        """AuxK: the dead latents that explain −error (B, d), and ê − e (B, d)."""
        k = min(self._plan.k_aux, len(dead))
        values, places = torch.relu(pre[:, dead]).topk(k, dim=1, sorted=False)
        values, indices = values.reshape(-1), dead[places].reshape(-1)
        rows = torch.arange(len(pre), device=pre.device).repeat_interleave(k)
        auxiliary_error = error.clone()
        auxiliary_error.index_add_(0, rows, values[:, None] * self._tensors["W_dec"][indices])
        return _Selected(torch.where(values > 0, indices, -1), values, rows), auxiliary_error

    def concatenate(self, arrays: Sequence[Tensor], axis: int, /) -> Tensor:
        return torch.cat(list(arrays), axis)

    @torch.no_grad()
    def update(self, factors: Factors, rate: float, step: int, *, last_active: I64, samples: int) -> float:
        t = self._tensors
        own = factors.indices[: factors.rows * self._plan.k].cpu().numpy()
        last_active[own[own >= 0]] = samples
        filled = factors.indices >= 0
        slots = _Slots(
            indices=factors.indices[filled],
            values=factors.values[filled],
            sources=factors.sources[filled],
            gradients=factors.gradients[filled],
            residuals=factors.residuals.reshape(-1, factors.centered.shape[1]),
            centered=factors.centered,
        )
        by_b_enc = torch.zeros_like(t["b_enc"]).index_add_(0, slots.indices, slots.gradients)
        by_b_dec = factors.residuals[0].sum(dim=0) - by_b_enc @ t["W_enc"]
        fast, correction = rate / (1 - BETA1**step), 1 / (1 - BETA2**step)
        clip = self._plan.gradient_clip
        if self._kernels:
            square = self._kernels.update(**vars(slots), tensors=t, fast=fast, correction=correction, limit=clip)
        else:
            square = self._update(slots, by_b_enc, fast=fast, correction=correction)
        by_b_dec *= (clip / by_b_dec.norm()).clamp(max=1.0)
        self._adam("b_dec", by_b_dec, rows=slice(None), size=by_b_dec.square().mean(), fast=fast, correction=correction)
        return float(square) ** 0.5

    def _update(self, slots: _Slots, by_b_enc: Tensor, *, fast: float, correction: float) -> Tensor:
        """Moves the latents that have a gradient; returns the gradients' squared norm."""
        t = self._tensors
        latents, places = torch.unique(slots.indices, return_inverse=True)
        by_dec = torch.zeros(len(latents), slots.residuals.shape[1], device=slots.residuals.device)
        by_enc = torch.zeros_like(by_dec)
        by_dec.index_add_(0, places, slots.values[:, None] * slots.residuals[slots.sources])
        by_enc.index_add_(0, places, slots.gradients[:, None] * slots.centered[slots.sources % len(slots.centered)])
        unit = t["W_dec"][latents]
        by_dec -= (by_dec * unit).sum(dim=1, keepdim=True) * unit
        by_bias = by_b_enc[latents]
        square = by_dec.square().sum(1) + by_enc.square().sum(1) + by_bias.square()
        clip = (self._plan.gradient_clip / square.sqrt()).clamp(max=1.0)
        for name, gradient in (("W_enc", by_enc), ("W_dec", by_dec), ("b_enc", by_bias)):
            clipped = gradient * (clip[:, None] if gradient.ndim == 2 else clip)
            size = clipped.square().mean(dim=1) if clipped.ndim == 2 else clipped.square()
            self._adam(name, clipped, rows=latents, size=size, fast=fast, correction=correction)
        t["W_dec"][latents] /= t["W_dec"][latents].norm(dim=1, keepdim=True).clamp(min=1e-30)
        return square.sum()

    def _adam(
        self, name: str, gradient: Tensor, *, rows: Tensor | slice, size: Tensor, fast: float, correction: float
    ) -> None:
        first, second = self._tensors[f"first_{name}"], self._tensors[f"second_{name}"]
        first[rows] = BETA1 * first[rows] + (1 - BETA1) * gradient
        second[rows] = BETA2 * second[rows] + (1 - BETA2) * size
        root = (second[rows] * correction).sqrt() + 1e-8
        self._tensors[name][rows] -= fast * first[rows] / (root[:, None] if gradient.ndim == 2 else root)

    def state(self) -> dict[str, NDArray[Any]]:
        return {name: tensor.cpu().numpy() for name, tensor in self._tensors.items()}


def _top_k_of_rows(pre: Tensor, k: int) -> _Selected:
    """The k largest positive of each row of pre-activations (B, n)."""
    values, indices = torch.relu(pre).topk(k, dim=1, sorted=False)
    indices, order = indices.sort(dim=1)
    values = values.gather(1, order).reshape(-1)
    rows = torch.arange(len(pre), device=pre.device).repeat_interleave(k)
    return _Selected(torch.where(values > 0, indices.reshape(-1), -1), values, rows)


def _top_k_of_batch(pre: Tensor, k: int) -> _Selected:
    """The B·k largest positive of all rows of pre-activations (B, n)."""
    rows, n = pre.shape
    values, flat = torch.relu(pre).reshape(-1).topk(rows * k, sorted=False)
    flat, order = flat.sort()
    values = values[order]
    return _Selected(torch.where(values > 0, flat % n, -1), values, flat // n)
