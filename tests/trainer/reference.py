"""The dense autograd reference: the truth that all kernels are held to, with nothing sparse and nothing fused in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from services.trainer.sae.kernels import BETA1, BETA2, Plan

PARAMETERS = ("W_enc", "b_enc", "W_dec", "b_dec")


class Reference:
    """A training step in plain torch: loss, gradients, and the optimiser."""

    def __init__(self, plan: Plan, state: Mapping[str, np.ndarray]) -> None:
        self.plan = plan
        self.parameters = {name: torch.tensor(state[name], requires_grad=True) for name in PARAMETERS}
        self.mean, self.scale = torch.tensor(state["mean"]), torch.tensor(state["scale"])
        self._first = {name: torch.zeros_like(each) for name, each in self.parameters.items()}
        self._second = {
            name: torch.zeros(len(each) if name != "b_dec" else 1) for name, each in self.parameters.items()
        }

    def loss(self, vectors: np.ndarray, dead: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Σ over nested prefixes of weight · mean((x̂ − x)²) + aux · mean((ê − e)²), and the dense codes (B, n)."""
        plan, p = self.plan, self.parameters
        x = (torch.tensor(vectors) - self.mean) / self.scale
        pre = (x - p["b_dec"]) @ p["W_enc"].T + p["b_enc"]
        codes = self.select(pre)
        loss = torch.zeros(())
        for end, weight in zip(plan.ends, plan.weights, strict=True):
            reconstruction = codes[:, :end] @ p["W_dec"][:end] + p["b_dec"]
            loss = loss + weight * (reconstruction - x).square().mean()
        if len(dead) and plan.aux_coefficient > 0:
            error = (x - codes @ p["W_dec"] - p["b_dec"]).detach()
            only = torch.full_like(pre, -1.0)
            only[:, dead] = pre[:, dead]
            explained = keep_largest(only, min(plan.k_aux, len(dead))) @ p["W_dec"]
            loss = loss + plan.aux_coefficient * (explained - error).square().mean()
        return loss, codes

    def select(self, pre: torch.Tensor) -> torch.Tensor:
        """The active latents' pre-activations, 0 elsewhere."""
        if self.plan.scope == "row":
            return keep_largest(pre, self.plan.k)
        return keep_largest(pre.reshape(1, -1), self.plan.k * len(pre)).reshape(pre.shape)

    def gradients(self, vectors: np.ndarray, dead: np.ndarray) -> dict[str, torch.Tensor]:
        """Of the loss, without the decoder's parts along its rows."""
        loss, _codes = self.loss(vectors, dead)
        found = dict(zip(PARAMETERS, torch.autograd.grad(loss, list(self.parameters.values())), strict=True))
        W_dec = self.parameters["W_dec"].detach()
        found["W_dec"] = found["W_dec"] - (found["W_dec"] * W_dec).sum(dim=1, keepdim=True) * W_dec
        return found

    def step(self, vectors: np.ndarray, dead: np.ndarray, rate: float, step: int) -> None:
        """Adam with one second moment a latent, for the latents that are active, each with its gradient clipped."""
        _loss, codes = self.loss(vectors, dead)
        gradients = self.gradients(vectors, dead)
        moved = (codes > 0).any(dim=0)
        if len(dead) and self.plan.aux_coefficient > 0:
            moved[dead] |= gradients["b_enc"][dead] != 0
        square = gradients["W_enc"].square().sum(1) + gradients["W_dec"].square().sum(1) + gradients["b_enc"].square()
        clip = (self.plan.gradient_clip / square.sqrt()).clamp(max=1.0)
        with torch.no_grad():
            for name, weights in self.parameters.items():
                gradient, first, second = gradients[name], self._first[name], self._second[name]
                if name == "b_dec":
                    gradient = gradient * (self.plan.gradient_clip / gradient.norm()).clamp(max=1.0)
                    where, size = slice(None), gradient.square().mean()
                else:
                    where = moved
                    gradient = gradient * (clip[:, None] if gradient.ndim == 2 else clip)
                    size = gradient.square().mean(dim=1) if gradient.ndim == 2 else gradient.square()
                    size = size[moved]
                first[where] = BETA1 * first[where] + (1 - BETA1) * gradient[where]
                second[where] = BETA2 * second[where] + (1 - BETA2) * size
                root = (second[where] / (1 - BETA2**step)).sqrt() + 1e-8
                if gradient.ndim == 2:
                    root = root[:, None]
                weights[where] -= rate / (1 - BETA1**step) * first[where] / root
                if name == "W_dec":
                    weights[where] /= weights[where].norm(dim=1, keepdim=True)

    def state(self) -> dict[str, Any]:
        """The parameters, as arrays."""
        return {name: each.detach().numpy() for name, each in self.parameters.items()}


def keep_largest(pre: torch.Tensor, k: int) -> torch.Tensor:
    """ReLU, then the k largest of each row; a stable sort gives ties to the lower index."""
    active = torch.relu(pre)
    order = torch.argsort(-active.detach(), dim=1, stable=True)[:, :k]
    mask = torch.zeros_like(active, dtype=torch.bool).scatter(1, order, True)
    return active * mask
