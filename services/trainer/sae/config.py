"""How a sparse autoencoder is trained."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from services.trainer.sae.architectures import ARCHITECTURES, Name
from services.trainer.sae.engines import Plan
from services.trainer.sae.normalization import Normalization


@dataclass(frozen=True)
class Config:
    """Everything that shapes a training. `resolved` replaces zeros by values for the data."""

    architecture: Name = "top_k"
    """Which latents are active."""
    expansion: int = 4
    """Latents for each dimension: n = expansion · d."""
    k: int = 32
    """Active latents for each vector."""
    k_aux: int = 0
    """Dead latents that explain the residual; 0 for 2k."""
    aux_coefficient: float = 1 / 8
    """Weight of the auxiliary loss (Gao et al. 2024, section A.2, who take 1/32)."""
    learning_rate: float = 0.0
    """Peak learning rate of Adam; 0 for `learning_rate_for`."""
    batch_size: int = 512
    """Vectors in a batch."""
    epochs: int = 20
    """Passes over the training rows."""
    warmup_fraction: float = 0.05
    """Share of the steps over which the learning rate rises."""
    decay_fraction: float = 0.3
    """Share of the steps over which it falls to zero."""
    held_out_fraction: float = 0.1
    """Share of the rows to measure on, at most 65,536 rows."""
    patience: int = 0
    """Epochs without .5 % less held-out FVU after which the learning rate begins to fall to zero; 0: as planned."""
    dead_window: int = 0
    """Vectors after which a silent latent counts as dead; 0 for a 20th of the training, within 4,096 and 10,000,000."""
    gradient_clip: float = 1.0
    """Largest norm of a latent's gradient, by encoder row, decoder row and bias; a longer one is scaled to it."""
    seed: int = 0
    """Starts all random numbers."""
    normalization: Normalization = "standard"
    """How vectors are normalised."""
    threads: int = 0
    """Threads on the CPU; 0 for all cores."""

    def resolved(self, rows: int, dimension: int, cores: int) -> Config:
        """With values in place of all zeros that mean "by itself", for so many vectors (rows, dimension)."""
        train_rows = round(rows * (1 - self.held_out_fraction))
        return replace(
            self,
            learning_rate=self.learning_rate
            or learning_rate_for(
                dimension=dimension, k=self.k, batch_size=self.batch_size, rows=train_rows, epochs=self.epochs
            ),
            k_aux=self.k_aux or 2 * self.k,
            dead_window=self.dead_window or min(max(rows * self.epochs // 20, 4096), 10_000_000),
            threads=self.threads or cores,
        )

    @classmethod
    def for_data(cls, rows: int, dimension: int) -> dict[str, int]:
        """Expansion, k, epochs and patience for so many vectors (rows, dimension)."""
        # A latent needs some hundred rows in which it is active to be worth having: n such that rows · k / n ≥ 100.
        k = 32 if rows >= 4096 else 16
        expansion = max(1, min(32, rows * k // (100 * dimension)))
        # The steps count, not the passes: about 2,000 of 512 for small data, two passes for what is large.
        epochs = max(2, min(100, 2000 * 512 // max(rows, 1)))
        return {"expansion": expansion, "k": min(k, expansion * dimension), "epochs": epochs, "patience": 5}

    def plan(self, dimension: int) -> Plan:
        """What an engine must know. `self` must be resolved. Raises ValueError for a k beyond n."""
        latents = self.expansion * dimension
        if self.k > latents:
            raise ValueError(f"k is {self.k}, but there are only {latents} latents")
        architecture = ARCHITECTURES[self.architecture]
        ends = architecture.ends(latents, self.k)
        return Plan(
            latents=latents,
            k=self.k,
            activation=architecture.activation,
            ends=ends,
            weights=(1 / len(ends),) * len(ends),
            k_aux=self.k_aux,
            aux_coefficient=self.aux_coefficient,
            gradient_clip=self.gradient_clip,
            threads=self.threads,
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Config:
        """From JSON values; unknown names are left out."""
        names = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in names})


def learning_rate_for(*, dimension: int, k: int, batch_size: int, rows: int, epochs: int) -> float:
    """A peak learning rate near the best for so many training rows (rows, dimension); docs/explanation/recipe.md.

    A step moves each number of a unit decoder row by about the learning rate, the row by √d times that: so the rule is
    for rate · √d. Sizes beyond those that it was fitted on count as the nearest of them.
    """
    steps = min(max(epochs * max(rows // batch_size, 1), 160), 5000)
    fitted_rows = min(max(rows, 4000), 64_000)
    scaled = 0.14 * (k / 32) ** 0.335 * (steps / 640) ** -0.268 * (fitted_rows / 16_589) ** -0.316
    return min(max(scaled, 0.03), 0.32) / math.sqrt(dimension)
