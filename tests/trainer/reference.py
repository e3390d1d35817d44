"""The dense autograd reference: the truth that the sparse kernels are held to."""

from __future__ import annotations

import numpy as np
import torch

from services.trainer.sae.config import Config
from services.trainer.sae.weights import Weights


def loss_and_gradients(
    weights: Weights, batch: np.ndarray, config: Config, dead: np.ndarray
) -> tuple[float, dict[str, np.ndarray]]:
    """Loss and gradients of mean((x̂ − x)²) + aux · mean((ê − e)²), by torch's autograd on dense codes."""
    parameters = {
        name: torch.tensor(getattr(weights, name), requires_grad=True) for name in ("W_enc", "b_enc", "W_dec", "b_dec")
    }
    x = torch.tensor(batch)
    pre = (x - parameters["b_dec"]) @ parameters["W_enc"].T + parameters["b_enc"]
    reconstruction = sparse(pre, config.k) @ parameters["W_dec"] + parameters["b_dec"]
    loss = (reconstruction - x).square().mean()
    if dead.any():
        error = (x - reconstruction).detach()
        masked = pre.masked_fill(~torch.tensor(dead), -1.0)
        explained = sparse(masked, min(config.k_aux, int(dead.sum()))) @ parameters["W_dec"]
        loss = loss + config.aux_coefficient * (explained - error).square().mean()
    loss.backward()
    return loss.item(), {name: each.grad.numpy() for name, each in parameters.items()}


def sparse(pre: torch.Tensor, k: int) -> torch.Tensor:
    """ReLU, then the k largest of each row; a stable sort gives ties to the lower index."""
    active = torch.relu(pre)
    order = torch.argsort(-active.detach(), dim=1, stable=True)[:, :k]
    mask = torch.zeros_like(active, dtype=torch.bool).scatter(1, order, True)
    return active * mask
