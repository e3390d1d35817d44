"""What a training step is done with: numba on the CPU, Triton on CUDA, torch on MPS. One interface for all.

The mathematics stands in `services/trainer/sae/reference.py`, which each engine is tested against.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

_log = logging.getLogger(__name__)
F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
Scope = Literal["row", "batch"]


@dataclass(frozen=True)
class Plan:
    """What an engine must know of the autoencoder, fixed for a training."""

    latents: int
    k: int
    scope: Scope
    """Whether the k largest are taken of each row, or B·k of the batch."""
    ends: tuple[int, ...]
    """Nested prefixes of the latents that are reconstructed from, the last of them all."""
    weights: tuple[float, ...]
    """Of the prefixes' losses."""
    k_aux: int
    aux_coefficient: float
    gradient_clip: float
    threads: int


@dataclass(frozen=True)
class Factors:
    """What the gradients of a batch are made of: sums of outer products, far smaller than what they add up to.

    `arrays` are the engine's own: indices, values, sources, gradients of the slots (S,), residuals (P + 1, B, d),
    centered (B, d). They are valid until the engine's next forward. Sums are over the batch's rows.
    """

    arrays: Mapping[str, Any]
    rows: int
    loss: float
    unexplained: float
    total: float
    active: int
    bar: float
    """The least value that was taken, for a threshold; 0 where scope is the row."""


class Engine(Protocol):
    """One autoencoder on one device, with its optimiser."""

    name: str
    """`numba`, `triton` or `torch`."""
    device: str
    """`cpu`, `cuda:0`, `mps`."""

    def forward(self, pool: F32, picked: I64, batch_rows: int, dead: NDArray[np.int32]) -> Factors:
        """Factors of the rows of pool (M, d) that are picked; losses are means over batch_rows. dead: for AuxK."""
        ...

    def join(self, parts: list[Factors]) -> Factors:
        """The factors of a batch from those of its parts, in order."""
        ...

    def update(self, factors: Factors, rate: float, step: int, marks: I64, moment: int) -> float:
        """Moves the weights; `step` counts from 1. Sets the marks (n,) of the latents that are active in the batch,
        AuxK's left out, to `moment`. Returns the norm of the gradient by W_enc, b_enc and W_dec, before clipping."""
        ...

    def state(self) -> dict[str, NDArray[Any]]:
        """Parameters and moments, as arrays on the host."""
        ...


BETA1, BETA2 = 0.7, 0.99
"""Decays of the moments. Measured: a latent's own second moment, and only of batches in which it was active."""


TORCH_EXTRA = "pip install 'prisma-suite[trainer-gpu]'"


def device_of(requested: str = "auto") -> str:
    """The device to train on: the requested one; for `auto` CUDA, MPS or the CPU, the first that is there.

    Without torch that is the CPU, with a warning if there seems to be a GPU. Raises ValueError for a device that is not
    there.
    """
    if requested == "cpu":
        return "cpu"
    gpu = sys.platform == "darwin" or any(Path("/dev", name).exists() for name in ("nvidiactl", "dxg", "kfd"))
    if requested == "auto" and not gpu:
        return "cpu"  # without importing torch, which takes two seconds
    if not torch_is_installed():
        if requested == "auto":
            _log.warning("training on the CPU, since a GPU needs torch: `%s`", TORCH_EXTRA)
            return "cpu"
        raise ValueError(f"the device {requested!r} needs torch, which is not installed: `{TORCH_EXTRA}`")
    from services.trainer.sae.gpu.devices import available_devices

    available = available_devices()
    if requested == "auto":
        return next(iter(available.values()), "cpu")
    if requested.split(":")[0] in available:
        return requested
    raise ValueError(
        f"expected auto, cpu, or a device that is available, got {requested!r}; available: {list(available.values())}"
    )


def torch_is_installed() -> bool:
    """Whether the extra `trainer-gpu` is there; without it the CPU trains, in one process."""
    return find_spec("torch") is not None


def engine_for(device: str, plan: Plan, state: Mapping[str, NDArray[Any]]) -> Engine:
    """The engine for a device, with parameters (and moments, where it goes on) taken from `state`."""
    if device == "cpu":
        from services.trainer.sae.kernels.numba_engine import NumbaEngine

        return NumbaEngine(plan, state)
    from services.trainer.sae.gpu.torch_engine import TorchEngine

    return TorchEngine(device, plan, state)
