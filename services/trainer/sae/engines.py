"""What a training step is done with: numba on the CPU, Triton on CUDA, torch on MPS. One interface for all.

`reference.py` has the mathematics that each engine is tested against.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from services.trainer.sae.activations import Activation
from services.trainer.sae.kernels.dtypes import F32, I32, I64

BETA1, BETA2 = 0.7, 0.99
"""Decays of the moments. Measured: a latent's own second moment, and only of batches in which it was active."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What an engine must know of the autoencoder, fixed for a training."""

    latents: int
    """n."""
    k: int
    """Active latents of a vector, on average."""
    activation: Activation
    """Which latents these are."""
    ends: tuple[int, ...]
    """Nested prefixes of the latents that are reconstructed from, the last of them all."""
    weights: tuple[float, ...]
    """Of the prefixes' losses."""
    k_aux: int
    """Dead latents that a vector may use for AuxK."""
    aux_coefficient: float
    """Weight of AuxK's loss."""
    gradient_clip: float
    """Largest norm of a latent's gradient; a longer one is scaled down to it."""
    threads: int
    """Of the CPU."""


@dataclass(frozen=True, kw_only=True)
class Factors:
    """What the gradients of a batch are made of: sums of outer products, far smaller than what they add up to.

    Arrays are NumPy's on the CPU and torch's on other devices. They are valid until the engine's next forward.
    """

    indices: Any
    """Active latents, by row, then AuxK's: (S,) int32; −1 for an empty slot. The first B·k are the batch's own."""
    values: Any
    """Their activations, (S,) float32."""
    sources: Any
    """The row of the flat residuals that each explains, (S,) int32."""
    gradients: Any
    """The loss's gradients by the activations, (S,) float32."""
    residuals: Any
    """The loss's gradients by the reconstructions from P prefixes, and by AuxK's: (P + 1, B, d), or (P, B, d)."""
    centered: Any
    """x − b_dec, (B, d)."""
    rows: int
    """B."""
    loss: float
    """This batch's part of the mean over the whole batch."""
    unexplained: float
    """Σ|x − x̂|² over the batch's rows, in the vectors' own space."""
    total: float
    """Σ|x − mean|² over the batch's rows, in the vectors' own space."""
    active: int
    """Number of active latents over all rows."""
    least: float
    """The least active value, from which a threshold is learned; 0 where the activation has none."""


class Engine(Protocol):
    """One autoencoder on one device, with its optimiser."""

    name: str
    """`numba`, `triton` or `torch`."""
    device: str
    """`cpu`, `cuda:0`, `mps`."""

    def forward(self, pool: F32, positions: I64, batch_rows: int, dead: I32) -> Factors:
        """Factors of the rows of pool (M, d) at `positions`; losses are means over batch_rows. dead: for AuxK."""
        ...

    def concatenate(self, arrays: Sequence[Any], axis: int, /) -> Any:
        """The engine's arrays, one after the other."""
        ...

    def update(self, factors: Factors, rate: float, step: int, *, last_active: I64, samples: int) -> float:
        """Moves the weights; `step` counts from 1. Sets last_active (n,) of the batch's active latents to `samples`.

        AuxK's latents don't count as active. Returns the norm of the gradient by W_enc, b_enc and W_dec before
        clipping.
        """
        ...

    def state(self) -> dict[str, NDArray[Any]]:
        """Parameters and moments, as arrays on the host."""
        ...


def join(parts: Sequence[Factors], k: int, concatenate: Callable[[Sequence[Any], int], Any]) -> Factors:
    """The factors of a batch from those of its parts, in order: as if one process had taken all of it."""
    rows = sum(part.rows for part in parts)
    sources: list[Any] = []
    first = 0
    for part in parts:
        prefix, row = part.sources // part.rows, part.sources % part.rows
        sources.append(prefix * rows + row + first)
        first += part.rows

    def slots(arrays: Sequence[Any]) -> Any:
        # The batch's own slots of all parts come first, then AuxK's: each latent's sum keeps the order of one batch.
        own = [array[: part.rows * k] for part, array in zip(parts, arrays, strict=True)]
        auxiliary = [array[part.rows * k :] for part, array in zip(parts, arrays, strict=True)]
        return concatenate([*own, *auxiliary], 0)

    return Factors(
        indices=slots([part.indices for part in parts]),
        values=slots([part.values for part in parts]),
        sources=slots(sources),
        gradients=slots([part.gradients for part in parts]),
        residuals=concatenate([part.residuals for part in parts], 1),
        centered=concatenate([part.centered for part in parts], 0),
        rows=rows,
        loss=sum(part.loss for part in parts),
        unexplained=sum(part.unexplained for part in parts),
        total=sum(part.total for part in parts),
        active=sum(part.active for part in parts),
        least=min(part.least for part in parts),
    )


def engine_for(device: str, plan: Plan, state: Mapping[str, NDArray[Any]]) -> Engine:
    """The engine for a device, with parameters (and moments, where it goes on) taken from `state`."""
    if device == "cpu":
        from services.trainer.sae.kernels.numba_engine import NumbaEngine

        return NumbaEngine(plan, state)
    from services.trainer.sae.gpu.torch_engine import TorchEngine

    return TorchEngine(device, plan, state)


NO_LATENTS: I32 = np.empty(0, dtype=np.int32)
"""For `dead`, where no latent is."""
