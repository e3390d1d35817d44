"""The architectures: which latents of a vector are active, and what is summed into the loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from services.trainer.sae.kernels import Scope

Name = Literal["top_k", "batch_top_k", "matryoshka"]


@dataclass(frozen=True)
class TopK:
    """The k largest of each vector. Gao et al. 2024, Scaling and evaluating sparse autoencoders, section 2.3."""

    scope: ClassVar[Scope] = "row"

    def ends(self, latents: int, k: int) -> tuple[int, ...]:
        """Nested prefixes of the latents that are reconstructed from; the last is all of them."""
        return (latents,)


@dataclass(frozen=True)
class BatchTopK(TopK):
    """The B·k largest of a batch of B, so that vectors that need more latents have more. Afterwards a latent is active
    above one threshold, the running mean of the least value taken. Bussmann et al. 2024, BatchTopK sparse
    autoencoders, section 3."""

    scope: ClassVar[Scope] = "batch"


@dataclass(frozen=True)
class Matryoshka(TopK):
    """Top-K whose latents are nested: the first sixteenth must reconstruct by themselves, then the first eighth, and so
    on, so that general ideas come first and are not split. Bussmann et al. 2025, Learning multi-level features with
    Matryoshka sparse autoencoders, section 3."""

    levels: ClassVar[int] = 5

    def ends(self, latents: int, k: int) -> tuple[int, ...]:
        halves = {max(latents >> level, min(k, latents)) for level in range(self.levels)}
        return tuple(sorted(halves))


ARCHITECTURES: dict[Name, TopK] = {
    "top_k": TopK(),
    "batch_top_k": BatchTopK(),
    "matryoshka": Matryoshka(),
}
