"""How a sparse autoencoder is trained."""

from __future__ import annotations

import math
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any, Literal

from services.trainer.sae.architectures import ARCHITECTURES, Name
from services.trainer.sae.engines import Plan
from services.trainer.sae.normalization import Normalization

Goal = Literal["interpretable", "faithful"]
"""What a size is chosen for: features that people name, or codes that keep much of their vectors."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that shapes a training. What has no default is chosen for the data by `resolve`."""

    architecture: Name = "top_k"
    """Which latents are active."""
    expansion: int = 4
    """Latents for each dimension: n = expansion · d."""
    latent_count: int | None = None
    """n, instead of by expansion."""
    k: int = 32
    """Active latents for each vector."""
    k_aux: int
    """Dead latents that explain the residual; 2k by `resolve`."""
    aux_coefficient: float = 1 / 8
    """Weight of the auxiliary loss (Gao et al. 2024, section A.2, who take 1/32)."""
    learning_rate: float
    """Peak learning rate of Adam; `learning_rate_for` by `resolve`."""
    batch_size: int = 512
    """Vectors in a batch."""
    epochs: int = 20
    """Passes over the training rows."""
    cycles: int
    """Parts of the training, each of which begins with the encoder set to the decoder and a new optimiser; by
    `resolve` as many as `cycles_for` gives."""
    warmup_fraction: float = 0.05
    """Share of a cycle's steps over which the learning rate rises."""
    decay_fraction: float = 0.3
    """Share of a cycle's steps over which it falls to zero."""
    held_out_fraction: float = 0.1
    """Share of the rows to measure on, at most 65,536 rows."""
    patience: int | None = None
    """Epochs without .5 % less held-out FVU after which the learning rate begins to fall to zero; None: as planned."""
    dead_window: int
    """Vectors after which a silent latent counts as dead; by `resolve` a 20th of the training, within 4,096 and
    10,000,000."""
    gradient_clip: float = 1.0
    """Largest norm of a latent's gradient, by encoder row, decoder row and bias; a longer one is scaled to it."""
    seed: int = 0
    """Starts all random numbers."""
    normalization: Normalization = "standard"
    """How vectors are normalised."""
    siblings: int = 2
    """Trainings with other random numbers on halves of the rows, which tell how well each latent is found again."""
    threads: int
    """Threads on the CPU; all cores by `resolve`."""

    @classmethod
    def resolve(cls, rows: int, dimension: int, cores: int, **settings: Any) -> Config:
        """These settings, defaults, and values that are automatic for so many vectors (rows, dimension)."""
        values = {**cls.defaults(), **settings}
        k, epochs = values["k"], values["epochs"]
        train_rows = round(rows * (1 - values["held_out_fraction"]))
        cycles = values.get("cycles") or cycles_for(batch_size=values["batch_size"], rows=train_rows, epochs=epochs)
        automatic: dict[str, Any] = {
            "cycles": cycles,
            "learning_rate": learning_rate_for(
                dimension=dimension, k=k, batch_size=values["batch_size"], rows=train_rows, epochs=epochs / cycles
            ),
            "k_aux": 2 * k,
            "dead_window": min(max(rows * epochs // 20, 4096), 10_000_000),
            "threads": cores,
        }
        return cls(**{**automatic, **values})

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """The settings that do not depend on the data."""
        return {field.name: field.default for field in fields(cls) if field.default is not MISSING}

    def latents(self, dimension: int) -> int:
        """n, for vectors of d numbers."""
        return self.latent_count or self.expansion * dimension

    @property
    def title(self) -> str:
        """A short name: `n512-k8`, `x4-k32`."""
        return f"n{self.latent_count}-k{self.k}" if self.latent_count else f"x{self.expansion}-k{self.k}"

    def plan(self, dimension: int) -> Plan:
        """What an engine must know. Raises ValueError for a k beyond n."""
        latents = self.latents(dimension)
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
        """From JSON values; unknown names are left out. Older trainings had one cycle, and no siblings."""
        names = {field.name for field in fields(cls)}
        older: dict[str, Any] = {"cycles": 1, "siblings": 0}
        return cls(**older | {name: value for name, value in values.items() if name in names})


def cycles_for(*, batch_size: int, rows: int, epochs: int) -> int:
    """Cycles of at least 100 steps, at most 12, for so many training rows; docs/explanation/recipe.md."""
    steps = epochs * max(rows // batch_size, 1)
    return min(max(steps // 100, 1), 12)


def learning_rate_for(*, dimension: int, k: int, batch_size: int, rows: int, epochs: float) -> float:
    """A peak learning rate near the best for a cycle on so many training rows; docs/explanation/recipe.md.

    A step moves each number of a unit decoder row by about the learning rate, the row by √d times that: so the rule is
    for rate · √d. Sizes beyond those that it was fitted on count as the nearest of them.
    """
    steps = min(max(epochs * max(rows // batch_size, 1), 160), 5000)
    fitted_rows = min(max(rows, 4000), 64_000)
    scaled = 0.14 * (k / 32) ** 0.335 * (steps / 640) ** -0.268 * (fitted_rows / 16_589) ** -0.316
    return min(max(scaled, 0.03), 0.32) / math.sqrt(dimension)
