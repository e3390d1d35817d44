"""How a sparse autoencoder is trained."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

Normalization = Literal["standard", "scale", "none"]


@dataclass(frozen=True)
class Config:
    """All that shapes a training. The defaults were measured on static and on transformer embeddings."""

    expansion: int = 4
    """Latents for each dimension: n = expansion · d."""
    k: int = 32
    """Active latents for each vector."""
    k_aux: int = 0
    """Dead latents that explain the residual; 0 for 2k."""
    aux_coefficient: float = 1 / 32
    """Weight of the auxiliary loss (Gao et al. 2024, section A.2)."""
    learning_rate: float = 6e-3
    """Peak learning rate of Adam."""
    batch_size: int = 512
    """Vectors in a batch."""
    epochs: int = 20
    """Passes over the training rows."""
    warmup_fraction: float = 0.05
    """Share of the steps over which the learning rate rises."""
    decay_fraction: float = 0.3
    """Share of the steps over which it falls to zero."""
    held_out_fraction: float = 0.1
    """Share of the rows to measure on."""
    dead_window: int = 0
    """Vectors after which a silent latent counts as dead; 0 for four epochs' worth, within 4,096 and 10,000,000."""
    gradient_clip: float = 1.0
    """Largest norm of the gradient."""
    seed: int = 0
    """Starts all random numbers."""
    normalization: Normalization = "standard"
    """How vectors are normalised."""
    threads: int = 0
    """Threads on the CPU; 0 for all cores."""

    def resolved(self, rows: int, cores: int) -> Config:
        """With all zeros that stand for "by itself" filled in."""
        return replace(
            self,
            k_aux=self.k_aux or 2 * self.k,
            dead_window=self.dead_window or min(max(4 * rows, 4096), 10_000_000),
            threads=self.threads or cores,
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Config:
        """From JSON values; what is unknown is left out."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})
