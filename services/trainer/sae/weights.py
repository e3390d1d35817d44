"""Weights of a trained autoencoder, and the one encode that all use."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save

from prisma_common.wire import Codes
from services.trainer.sae.kernels import F32, screening
from services.trainer.sae.kernels.encoding import BLOCK, decode_rows, encode_above, encode_rows
from services.trainer.sae.kernels.stepping import Sae
from services.trainer.sae.kernels.threads import spread, threads
from services.trainer.sae.vectors import check, mean_of, variation

_TENSORS = ("W_enc", "b_enc", "W_dec", "b_dec", "mean", "scale")


@dataclass(frozen=True)
class Weights:
    """A sparse autoencoder.

    W_enc (n, d), b_enc (n,), W_dec (n, d) with unit rows, b_dec (d,); mean and scale (d,) normalise a vector:
    (x − mean) / scale. All float32. Active are the k largest positive pre-activations, or with a threshold, as
    BatchTopK learns one, all above it.
    """

    W_enc: F32
    b_enc: F32
    W_dec: F32
    b_dec: F32
    mean: F32
    scale: F32
    k: int
    threshold: float = 0.0

    @property
    def latent_count(self) -> int:
        return self.W_enc.shape[0]

    @property
    def dimension(self) -> int:
        return self.W_enc.shape[1]

    def encode_dense(self, vectors: F32) -> tuple[NDArray[np.int32], F32]:
        """Indices (B, w), rising, -1 where fewer are active, and values (B, w), 0 there; w is k, or with a threshold
        the largest number of active latents. Raises InvalidVectors."""
        check(vectors, self.dimension)
        vectors = np.require(vectors, np.float32, ["C", "W"])  # of one type for the kernel: one is compiled
        sae = Sae(self.W_enc, self.b_enc, self.W_dec, self.b_dec, self.mean, self.scale)
        workspace = np.empty((threads(), BLOCK * screening.padded(self.latent_count)), dtype=np.float32)
        counts = np.empty(len(vectors), dtype=np.int64)
        width, blocks = self.k, -(-len(vectors) // BLOCK)
        if not self.threshold:
            indices, values = _room(len(vectors), width)
            desk = screening.desk_for(threads(), BLOCK, self.latent_count, self.dimension)
            spread(
                encode_rows, blocks, vectors, sae, self._screen, desk, self.k, workspace, indices.reshape(-1),
                values.reshape(-1), counts,
            )  # fmt: skip
            return indices, values
        while True:
            indices, values = _room(len(vectors), width)
            spread(encode_above, blocks, vectors, sae, np.float32(self.threshold), workspace, indices, values, counts)
            most = int(counts.max(initial=0))
            if most <= width:
                return indices, values
            width = most

    @cached_property
    def _screen(self) -> screening.Screen:
        n, d = self.W_enc.shape
        screen = screening.screen_for(n, d, screening.pays(n, d))
        spread(screening.take_tiles, len(screen.panels), self.W_enc, screen)
        return screen

    def encode(self, vectors: F32, rows: NDArray[np.uint64]) -> Codes:
        """The activations of (B, d) vectors, under these row numbers. Raises InvalidVectors.

        The same vector gives the same bits in any batch, on one machine, with any number of threads.
        """
        return self.sparse(*self.encode_dense(vectors), rows)

    def sparse(self, indices: NDArray[np.int32], values: F32, rows: NDArray[np.uint64]) -> Codes:
        """What `encode_dense` gave, (B, k), as codes under these row numbers."""
        active = indices >= 0
        indptr = np.concatenate([[0], np.cumsum(active.sum(axis=1))]).astype(np.uint32)
        return Codes(rows, indptr, indices[active].astype(np.uint32), values[active], self.latent_count)

    def decode_dense(self, indices: NDArray[np.int32], values: F32) -> F32:
        """(B, d) vectors of codes, in the vectors' own space."""
        result = np.empty((len(indices), self.dimension), dtype=np.float32)
        spread(decode_rows, len(indices), indices, values, self.W_dec, self.b_dec, result)
        return result * self.scale + self.mean

    def unexplained(self, vectors: F32, indices: NDArray[np.int32], values: F32) -> F32:
        """For each (B, d) vector |x − x̂|² / |x − mean|², x̂ from its code (B, k); the mean is the training rows'."""
        residual = vectors - self.decode_dense(indices, values)
        total = np.square(vectors - self.mean).sum(axis=1)
        return np.square(residual).sum(axis=1) / np.maximum(total, np.finfo(np.float32).tiny)

    def fvu(self, vectors: F32, mean: F32 | None = None) -> float | None:
        """Fraction of variance unexplained: Σ|x − x̂|² / Σ|x − mean|² over these (B, d) vectors, in their own space.

        mean: (d,), that of the training rows; by default that of these vectors. None for fewer than two vectors, or
        without variance.
        """
        total = variation(vectors, mean_of(vectors) if mean is None else mean)
        if total is None:
            return None
        residual = vectors - self.decode_dense(*self.encode_dense(vectors))
        return float(np.square(residual, dtype=np.float64).sum()) / total

    def to_bytes(self, card: dict[str, Any]) -> bytes:
        """As a safetensors file, with `card` in its metadata."""
        tensors = {name: np.ascontiguousarray(getattr(self, name)) for name in _TENSORS}
        return save(
            tensors, metadata={"prisma": json.dumps({**card, "k": self.k, "threshold": self.threshold}, sort_keys=True)}
        )

    @classmethod
    def load(cls, path: Path) -> Weights:
        """From a safetensors file."""
        with safe_open(path, framework="numpy") as file:
            card = json.loads(file.metadata()["prisma"])
            return cls(*(file.get_tensor(name) for name in _TENSORS), k=card["k"], threshold=card.get("threshold", 0.0))


def _room(rows: int, width: int) -> tuple[NDArray[np.int32], F32]:
    return np.empty((rows, width), dtype=np.int32), np.zeros((rows, width), dtype=np.float32)
