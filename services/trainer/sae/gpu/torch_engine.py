"""The engine on CUDA and MPS, in torch with gathers and scatters; on CUDA what is sparse runs in Triton."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.trainer.sae.kernels import BETA1, BETA2, F32, I64, Factors, Plan

_PARAMETERS = ("W_enc", "b_enc", "W_dec", "b_dec")


class TorchEngine:
    """Training on any device of torch."""

    def __init__(
        self, device: str, plan: Plan, state: Mapping[str, NDArray[Any]], *, triton: bool | None = None
    ) -> None:
        """`triton` says whether to use its kernels; by itself on CUDA."""
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
            self._moment(f"first_{name}", shape, state)
            self._moment(f"second_{name}", shape[:1] if name != "b_dec" else (1,), state)
        self._ends = torch.tensor(plan.ends, device=device)
        self._weights = torch.tensor(plan.weights, dtype=torch.float32, device=device)

    def _moment(self, name: str, shape: Any, state: Mapping[str, NDArray[Any]]) -> None:
        known = state.get(name)
        self._tensors[name] = (
            torch.zeros(shape, device=self.device)
            if known is None
            else torch.tensor(known, dtype=torch.float32, device=self.device)
        )

    @torch.no_grad()
    def forward(self, pool: F32, picked: I64, batch_rows: int, dead: NDArray[np.int32]) -> Factors:
        plan, t, rows, d = self._plan, self._tensors, len(picked), pool.shape[1]
        raw = torch.from_numpy(np.ascontiguousarray(pool[picked])).to(self.device)
        normalized = (raw - t["mean"]) / t["scale"]
        centered = normalized - t["b_dec"]
        pre = torch.addmm(t["b_enc"], centered, t["W_enc"].T)
        indices, values, row_of, bar = self._select(pre)
        prefix = torch.bucketize(indices.clamp(min=0), self._ends, right=True)
        left = self._reconstruct(indices, values, row_of, prefix, rows, d) - centered  # (P, B, d), x̂ − x
        scales = self._weights * (2.0 / (batch_rows * d))
        # What a latent of a prefix sees: the gradients of all prefixes that hold it.
        residuals = (left * scales[:, None, None]).flip(0).cumsum(0).flip(0)
        loss = (self._weights * left.square().sum(dim=(1, 2))).sum() / (batch_rows * d)
        sources = prefix * rows + row_of
        slots = [(indices, values, sources)]
        if len(dead) and plan.aux_coefficient > 0:
            own, extra, revived = self._revive(pre, torch.from_numpy(dead).to(self.device).long(), left[-1], rows)
            residuals = torch.cat([residuals, own[None] * (2.0 * plan.aux_coefficient / (batch_rows * d))])
            slots.append((extra[0], extra[1], len(plan.ends) * rows + extra[2]))
            loss = loss + plan.aux_coefficient * revived / (batch_rows * d)
        joined = [torch.cat(parts) for parts in zip(*slots, strict=True)]
        flat = residuals.reshape(-1, d)
        gradients = (t["W_dec"][joined[0].clamp(min=0)] * flat[joined[2]]).sum(dim=1)
        active = int((indices >= 0).sum())
        return Factors(
            {
                "indices": joined[0],
                "values": joined[1],
                "sources": joined[2],
                "gradients": gradients,
                "residuals": residuals,
                "centered": centered,
            },
            rows,
            float(loss),
            float((left[-1] * t["scale"]).square().sum()),
            float((normalized * t["scale"]).square().sum()),
            active,
            bar,
        )

    def _select(self, pre: Tensor) -> tuple[Tensor, Tensor, Tensor, float]:
        """Indices, −1 where fewer are positive, values and rows of the active latents, by row and index; the least."""
        rows, n = pre.shape
        k = self._plan.k
        positive = torch.relu(pre)
        if self._plan.scope == "row":
            values, indices = positive.topk(k, dim=1, sorted=False)
            indices, order = indices.sort(dim=1)
            values = values.gather(1, order).reshape(-1)
            row_of = torch.arange(rows, device=pre.device).repeat_interleave(k)
            return torch.where(values > 0, indices.reshape(-1), -1), values, row_of, 0.0
        values, flat = positive.reshape(-1).topk(rows * k, sorted=False)
        flat, order = flat.sort()
        values = values[order]
        positive_values = values[values > 0]
        bar = float(positive_values.min()) if len(positive_values) else 0.0
        return torch.where(values > 0, flat % n, -1), values, flat // n, bar

    def _reconstruct(
        self, indices: Tensor, values: Tensor, row_of: Tensor, prefix: Tensor, rows: int, d: int
    ) -> Tensor:
        """Reconstructions from each prefix of the latents, without b_dec: (P, B, d)."""
        W_dec = self._tensors["W_dec"]
        if self._kernels and self._plan.scope == "row" and len(self._plan.ends) == 1:
            return self._kernels.decode(indices.reshape(rows, -1), values.reshape(rows, -1), W_dec)[None]
        parts = torch.zeros(len(self._plan.ends) * rows, d, device=W_dec.device)
        parts.index_add_(0, prefix * rows + row_of, values[:, None] * W_dec[indices.clamp(min=0)])
        return parts.reshape(len(self._plan.ends), rows, d).cumsum(0)

    def _revive(
        self, pre: Tensor, dead: Tensor, left: Tensor, rows: int
    ) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor], Tensor]:
        """AuxK: ê − e (B, d), the slots that make it, and Σ|ê − e|²."""
        k = min(self._plan.k_aux, len(dead))
        values, places = torch.relu(pre[:, dead]).topk(k, dim=1, sorted=False)
        values, indices = values.reshape(-1), dead[places].reshape(-1)
        row_of = torch.arange(rows, device=pre.device).repeat_interleave(k)
        own = left.clone()
        own.index_add_(0, row_of, values[:, None] * self._tensors["W_dec"][indices])
        return own, (torch.where(values > 0, indices, -1), values, row_of), own.square().sum()

    def join(self, parts: list[Factors]) -> Factors:
        rows = sum(part.rows for part in parts)
        first = 0
        slots: dict[str, list[Tensor]] = {name: [] for name in ("indices", "values", "gradients", "sources")}
        for part in parts:
            for name in slots:
                found = part.arrays[name]
                if name == "sources":
                    found = found // part.rows * rows + found % part.rows + first
                slots[name].append(found)
            first += part.rows
        # Main slots of all parts come first, then AuxK's, as in one batch.
        main = [part.rows * self._plan.k for part in parts]

        def lay(tensors: list[Tensor]) -> Tensor:
            heads = [tensor[:size] for tensor, size in zip(tensors, main, strict=True)]
            return torch.cat([*heads, *(tensor[size:] for tensor, size in zip(tensors, main, strict=True))])

        return Factors(
            {
                **{name: lay(each) for name, each in slots.items()},
                "residuals": torch.cat([part.arrays["residuals"] for part in parts], dim=1),
                "centered": torch.cat([part.arrays["centered"] for part in parts]),
            },
            rows,
            sum(part.loss for part in parts),
            sum(part.unexplained for part in parts),
            sum(part.total for part in parts),
            sum(part.active for part in parts),
            min(part.bar for part in parts),
        )

    @torch.no_grad()
    def update(self, factors: Factors, rate: float, step: int, marks: I64, moment: int) -> float:
        t = self._tensors
        arrays = factors.arrays
        main = arrays["indices"][: factors.rows * self._plan.k].cpu().numpy()
        marks[main[main >= 0]] = moment
        filled = arrays["indices"] >= 0
        indices, values, sources, gradients = (
            arrays[name][filled] for name in ("indices", "values", "sources", "gradients")
        )
        centered, flat = arrays["centered"], arrays["residuals"].reshape(-1, arrays["centered"].shape[1])
        by_b_enc = torch.zeros_like(t["b_enc"]).index_add_(0, indices, gradients)
        by_b_dec = arrays["residuals"][0].sum(dim=0) - by_b_enc @ t["W_enc"]
        fast, correction = rate / (1 - BETA1**step), 1 / (1 - BETA2**step)
        if self._kernels:
            square = self._kernels.update(
                indices, values, sources, gradients, flat, centered, t, fast, correction, self._plan.gradient_clip
            )
        else:
            square = self._update(indices, values, sources, gradients, flat, centered, by_b_enc, fast, correction)
        by_b_dec *= (self._plan.gradient_clip / by_b_dec.norm()).clamp(max=1.0)
        self._move("b_dec", by_b_dec, slice(None), by_b_dec.square().mean(), fast, correction)
        return float(square) ** 0.5

    def _update(
        self, indices: Tensor, values: Tensor, sources: Tensor, gradients: Tensor, flat: Tensor, centered: Tensor,
        by_b_enc: Tensor, fast: float, correction: float,
    ) -> Tensor:  # fmt: skip
        """Moves the latents that have a gradient; returns the gradients' squared norm."""
        t = self._tensors
        moved, places = torch.unique(indices, return_inverse=True)
        by_dec = torch.zeros(len(moved), flat.shape[1], device=flat.device)
        by_enc = torch.zeros_like(by_dec)
        by_dec.index_add_(0, places, values[:, None] * flat[sources])
        by_enc.index_add_(0, places, gradients[:, None] * centered[sources % len(centered)])
        unit = t["W_dec"][moved]
        by_dec -= (by_dec * unit).sum(dim=1, keepdim=True) * unit
        by_bias = by_b_enc[moved]
        square = by_dec.square().sum(1) + by_enc.square().sum(1) + by_bias.square()
        clip = (self._plan.gradient_clip / square.sqrt()).clamp(max=1.0)
        for name, gradient in (("W_enc", by_enc), ("W_dec", by_dec), ("b_enc", by_bias)):
            own = gradient * (clip[:, None] if gradient.ndim == 2 else clip)
            size = own.square().mean(dim=1) if own.ndim == 2 else own.square()
            self._move(name, own, moved, size, fast, correction)
        t["W_dec"][moved] /= t["W_dec"][moved].norm(dim=1, keepdim=True).clamp(min=1e-30)
        return square.sum()

    def _move(self, name: str, gradient: Tensor, rows: Any, size: Tensor, fast: float, correction: float) -> None:
        first, second = self._tensors[f"first_{name}"], self._tensors[f"second_{name}"]
        first[rows] = BETA1 * first[rows] + (1 - BETA1) * gradient
        second[rows] = BETA2 * second[rows] + (1 - BETA2) * size
        root = (second[rows] * correction).sqrt() + 1e-8
        self._tensors[name][rows] -= fast * first[rows] / (root[:, None] if gradient.ndim == 2 else root)

    def state(self) -> dict[str, NDArray[Any]]:
        return {name: tensor.cpu().numpy() for name, tensor in self._tensors.items()}
