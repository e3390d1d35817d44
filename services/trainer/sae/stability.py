"""How well each latent is found again by siblings: trainings with other random numbers, on other halves of the rows.

Latents of autoencoders that differ in their seed alone share few directions (Paulo and Belrose 2025, "Sparse
Autoencoders Trained on the Same Data Learn Different Features"). A latent that siblings do not find is a property of
one training; one that they find on other rows is a property of the data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from services.chassis.files import whole
from services.trainer.sae import comparing
from services.trainer.sae.kernels.dtypes import F32, F64, I64
from services.trainer.sae.vectors import Vectors
from services.trainer.sae.weights import Weights

NAME = "stability.npz"
REPRODUCED = comparing.SAME
"""Cosine from which a latent counts as found again."""
CLOSELY = 0.9
"""Cosine from which it counts as found again closely."""
_ROWS = 1 << 14
"""Rows on which activations are compared."""
_BLOCK_NUMBERS = 1 << 22
"""Activations in memory at once."""


@dataclass(frozen=True)
class Stability:
    """Of n latents in S siblings."""

    cosine: F32
    """(S, n) that of the sibling's most similar decoder row."""
    agreement: F32
    """(S, n) cosine of the latent's activations and those of that row's latent, over rows; 0 where either is silent."""

    @property
    def mean(self) -> F32:
        """(n,) cosine, mean over the siblings."""
        return self.cosine.mean(axis=0)

    def save(self, folder: Path) -> None:
        """Writes it, whole or not at all."""
        with whole(folder / NAME) as file:
            np.savez(file, cosine=self.cosine, agreement=self.agreement)

    @classmethod
    def load(cls, path: Path) -> Stability:
        """From a file. Raises OSError, ValueError, KeyError for one that cannot be read."""
        with np.load(path, allow_pickle=False) as arrays:
            return cls(cosine=arrays["cosine"], agreement=arrays["agreement"])


def measure(weights: Weights, siblings: Sequence[Weights], vectors: Vectors, seed: int = 0) -> Stability:
    """Compares with S ≥ 1 siblings, activations on at most 16,384 rows of the vectors."""
    own = comparing.directions(weights)
    matches = [comparing.nearest(own, comparing.directions(sibling)) for sibling in siblings]
    rows = np.sort(np.random.default_rng([seed, 6]).permutation(vectors.rows)[:_ROWS])
    agreements = [
        _agreement(weights, sibling, partner, vectors.take(rows))
        for sibling, (partner, _cosine) in zip(siblings, matches, strict=True)
    ]
    return Stability(
        cosine=np.stack([cosine for _partner, cosine in matches]), agreement=np.stack(agreements).astype(np.float32)
    )


def _agreement(first: Weights, second: Weights, partner: I64, vectors: F32) -> F64:
    """(n,) cosine of each of the first's activations and its partner's."""
    shared, own, other = (np.zeros(first.latent_count) for _ in range(3))
    size = max(1, _BLOCK_NUMBERS // max(first.latent_count, second.latent_count))
    for begin in range(0, len(vectors), size):
        part = vectors[begin : begin + size]
        ours = _dense(first, part)
        theirs = _dense(second, part)[:, partner]
        shared += (ours * theirs).sum(axis=0)
        own += np.square(ours).sum(axis=0)
        other += np.square(theirs).sum(axis=0)
    return shared / np.maximum(np.sqrt(own * other), 1e-30)


def _dense(weights: Weights, vectors: F32) -> F32:
    """(B, n) activations."""
    indices, values = weights.encode_dense(vectors)
    activations = np.zeros((len(vectors), weights.latent_count), dtype=np.float32)
    row, slot = np.nonzero(indices >= 0)
    activations[row, indices[row, slot]] = values[row, slot]
    return activations
