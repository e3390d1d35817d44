"""Activations: which latents of a batch are active.

Each states its mathematics on dense matrices, which the reference uses; the engines have a kernel for each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from services.trainer.sae.kernels.dtypes import F64


class Activation(Protocol):
    """From pre-activations to codes, and back for gradients."""

    rowwise: ClassVar[bool]
    """Whether a row's code depends on that row alone. If so, inference selects as training does."""

    def select(self, pre: F64, k: int) -> F64:
        """Codes (B, n) of pre-activations (B, n): those of the active latents, k a row on average, and 0 elsewhere."""
        ...

    def backward(self, by_codes: F64, codes: F64) -> F64:
        """The loss's gradient by the pre-activations (B, n), from that by the codes."""
        ...

    def threshold(self, current: float, least: float) -> float:
        """The threshold of inference after a batch whose least active value is `least`; 0 for none."""
        ...


@dataclass(frozen=True)
class RowTopK:
    """The k largest of each vector. Gao et al. 2024, Scaling and evaluating sparse autoencoders, section 2.3."""

    rowwise: ClassVar[bool] = True

    def select(self, pre: F64, k: int) -> F64:
        """k of each row."""
        return keep_largest(pre, k)

    def backward(self, by_codes: F64, codes: F64) -> F64:
        """Through the active latents, unchanged."""
        return np.where(codes > 0, by_codes, 0)

    def threshold(self, current: float, least: float) -> float:
        """None: inference takes the k largest too."""
        return 0.0


@dataclass(frozen=True)
class BatchTopK:
    """The B·k largest of a batch of B, so that vectors that need more latents have more.

    At inference a latent is active above one threshold, the running mean of the least active value. Bussmann et al.
    2024, BatchTopK sparse autoencoders, section 3.
    """

    rowwise: ClassVar[bool] = False
    rate: ClassVar[float] = 0.01
    """Of the running mean."""

    def select(self, pre: F64, k: int) -> F64:
        """B·k of all rows together; ties go to the lower row, then to the lower latent."""
        return keep_largest(pre.reshape(1, -1), k * len(pre)).reshape(pre.shape)

    def backward(self, by_codes: F64, codes: F64) -> F64:
        """Through the active latents, unchanged."""
        return np.where(codes > 0, by_codes, 0)

    def threshold(self, current: float, least: float) -> float:
        """The running mean; the first value starts it, and a batch without an active latent changes nothing."""
        if least <= 0:
            return current
        return current + (self.rate if current > 0 else 1.0) * (least - current)


def keep_largest(pre: F64, k: int) -> F64:
    """ReLU, then the k largest of each row (B, n), 0 elsewhere; ties go to the lower index."""
    active = np.maximum(pre, 0)
    order = np.argsort(-active, axis=1, kind="stable")[:, :k]
    codes = np.zeros_like(active)
    np.put_along_axis(codes, order, np.take_along_axis(active, order, axis=1), axis=1)
    return codes
