"""The architectures: an activation, and the nested prefixes of the latents that must reconstruct by themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from services.trainer.sae.activations import Activation, BatchTopK, RowTopK

Name = Literal["top_k", "batch_top_k", "matryoshka"]


@dataclass(frozen=True)
class Architecture:
    """An activation and its number of nested prefixes."""

    activation: Activation
    levels: int = 1
    """Prefixes: all latents, half of them, a quarter, and so on."""

    def ends(self, latents: int, k: int) -> tuple[int, ...]:
        """Where the prefixes end, rising; the last is all latents."""
        return tuple(sorted({max(latents >> level, min(k, latents)) for level in range(self.levels)}))


ARCHITECTURES: dict[Name, Architecture] = {
    "top_k": Architecture(RowTopK()),
    "batch_top_k": Architecture(BatchTopK()),
    # The first sixteenth must reconstruct by itself, then the first eighth, and so on, so that general ideas come first
    # and are not split. Bussmann et al. 2025, Learning multi-level features with Matryoshka sparse autoencoders.
    "matryoshka": Architecture(RowTopK(), levels=5),
}
