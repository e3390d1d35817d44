"""What the trainer's benchmark measures, one interface for all: train an epoch, reconstruct, return the decoder."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from services.trainer.sae.config import Config
from services.trainer.sae.training import Training

F32 = NDArray[np.float32]
BATCH = 512


class Subject(Protocol):
    """A training that can be measured at any moment. All numbers are in the vectors' own space."""

    name: str

    def epoch(self) -> None:
        """One pass over the training rows."""
        ...

    def reconstruct(self, vectors: F32) -> tuple[F32, NDArray[np.bool_]]:
        """Reconstructions (B, d), and which latents are active (B, n)."""
        ...

    def decoder(self) -> F32:
        """The latents' directions (n, d)."""
        ...


class Prisma:
    """This suite's trainer with its defaults."""

    name = "prisma"

    def __init__(self, vectors: F32, *, expansion: int, k: int, epochs: int, threads: int, **settings: Any) -> None:
        settings = {"expansion": expansion, "k": k, "epochs": epochs, "batch_size": BATCH, **settings}
        self.training = Training(vectors, Config.resolve(len(vectors), vectors.shape[1], threads, **settings))

    def epoch(self) -> None:
        for _ in range(self.training.steps_per_epoch):
            self.training.advance()

    def reconstruct(self, vectors: F32) -> tuple[F32, NDArray[np.bool_]]:
        weights = self.training.weights
        indices, values = weights.encode_dense(vectors)
        active = np.zeros((len(vectors), weights.latent_count), dtype=bool)
        row, slot = np.nonzero(indices >= 0)
        active[row, indices[row, slot]] = True
        return weights.decode_dense(indices, values), active

    def decoder(self) -> F32:
        return self.training.weights.W_dec * self.training.weights.scale
