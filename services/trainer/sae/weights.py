"""Weights of a trained autoencoder, and the one encode that all use."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save

from prisma_client.wire import Codes
from services.trainer.sae import kernels
from services.trainer.sae.config import Normalization

BLOCK = 64
"""Encode runs in blocks of so many rows, zero-padded: BLAS gives other bits for other shapes."""
F32 = NDArray[np.float32]
_TENSORS = ("W_enc", "b_enc", "W_dec", "b_dec", "mean", "scale")


class InvalidVectors(ValueError):
    """Vectors of a wrong dimension, or with NaN or infinity; `row` is the place of the first wrong one."""

    def __init__(self, message: str, row: int) -> None:
        super().__init__(message)
        self.row = row


@dataclass(frozen=True)
class Weights:
    """A sparse autoencoder.

    W_enc (n, d), b_enc (n,), W_dec (n, d) with unit rows, b_dec (d,); mean and scale (d,) normalise a vector:
    (x − mean) / scale. All float32.
    """

    W_enc: F32
    b_enc: F32
    W_dec: F32
    b_dec: F32
    mean: F32
    scale: F32
    k: int

    @property
    def latent_count(self) -> int:
        return self.W_enc.shape[0]

    @property
    def dimension(self) -> int:
        return self.W_enc.shape[1]

    def normalized(self, vectors: F32) -> F32:
        """(B, d) vectors as the autoencoder sees them."""
        return (vectors - self.mean) / self.scale

    def encode_dense(self, vectors: F32) -> tuple[NDArray[np.int32], F32]:
        """Indices (B, k), rising, -1 where fewer are active, and values (B, k). Raises InvalidVectors."""
        check(vectors, self.dimension)
        indices = np.empty((len(vectors), self.k), dtype=np.int32)
        values = np.empty((len(vectors), self.k), dtype=np.float32)
        everywhere = np.ones(self.latent_count, dtype=bool)
        block = np.zeros((BLOCK, self.dimension), dtype=np.float32)
        for start in range(0, len(vectors), BLOCK):
            part = vectors[start : start + BLOCK]
            block[:] = 0
            block[: len(part)] = self.normalized(part) - self.b_dec
            pre = block @ self.W_enc.T + self.b_enc
            found = kernels.top_k(pre, self.k, everywhere)
            indices[start : start + len(part)] = found[0][: len(part)]
            values[start : start + len(part)] = found[1][: len(part)]
        return indices, values

    def encode(self, vectors: F32, rows: NDArray[np.uint64]) -> Codes:
        """The exact Top-K activations of (B, d) vectors, under these row numbers. Raises InvalidVectors.

        The same vector gives the same bits in any batch, on one machine with the same number of threads.
        """
        return self.sparse(*self.encode_dense(vectors), rows)

    def sparse(self, indices: NDArray[np.int32], values: F32, rows: NDArray[np.uint64]) -> Codes:
        """What `encode_dense` gave, (B, k), as codes under these row numbers."""
        active = indices >= 0
        indptr = np.concatenate([[0], np.cumsum(active.sum(axis=1))]).astype(np.uint32)
        return Codes(rows, indptr, indices[active].astype(np.uint32), values[active], self.latent_count)

    def decode_dense(self, indices: NDArray[np.int32], values: F32) -> F32:
        """(B, d) vectors of codes, in the vectors' own space."""
        return kernels.decode(indices, values, self.W_dec, self.b_dec) * self.scale + self.mean

    def unexplained(self, vectors: F32, indices: NDArray[np.int32], values: F32) -> F32:
        """For each (B, d) vector |x − x̂|² / |x − mean|², x̂ from its code (B, k); the mean is the training rows'."""
        residual = vectors - self.decode_dense(indices, values)
        total = np.square(vectors - self.mean).sum(axis=1)
        return np.square(residual).sum(axis=1) / np.maximum(total, np.finfo(np.float32).tiny)

    def fvu(self, vectors: F32) -> float:
        """Fraction of variance unexplained: Σ|x − x̂|² / Σ|x − x̄|² over these (B, d) vectors, in their own space."""
        residual = vectors - self.decode_dense(*self.encode_dense(vectors))
        around = vectors - vectors.mean(axis=0)
        return float(
            np.square(residual, dtype=np.float64).sum() / max(np.square(around, dtype=np.float64).sum(), 1e-30)
        )

    def to_bytes(self, card: dict[str, Any]) -> bytes:
        """As a safetensors file, with `card` in its metadata."""
        tensors = {name: np.ascontiguousarray(getattr(self, name)) for name in _TENSORS}
        return save(tensors, metadata={"prisma": json.dumps({**card, "k": self.k}, sort_keys=True)})

    @classmethod
    def load(cls, path: Path) -> Weights:
        """From a safetensors file."""
        with safe_open(path, framework="numpy") as file:
            card = json.loads(file.metadata()["prisma"])
            return cls(*(file.get_tensor(name) for name in _TENSORS), k=card["k"])


def check(vectors: F32, dimension: int) -> None:
    """Raises InvalidVectors for a wrong dimension, NaN or infinity."""
    if vectors.ndim != 2 or vectors.shape[1] != dimension:
        raise InvalidVectors(f"expected vectors of {dimension} numbers, got {vectors.shape[-1]}", 0)
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        row = int(np.flatnonzero(~finite)[0])
        raise InvalidVectors(f"vector {row} holds NaN or infinity", row)


def normalization(vectors: F32, how: Normalization) -> tuple[F32, F32]:
    """Mean (d,) and scale (d,) of the training rows. A dimension whose deviation is about 0 is only centred."""
    d = vectors.shape[1]
    if how == "none":
        return np.zeros(d, dtype=np.float32), np.ones(d, dtype=np.float32)
    mean = vectors.mean(axis=0, dtype=np.float64)
    deviation = vectors.std(axis=0, dtype=np.float64)
    if how == "scale":
        deviation = np.full(d, np.sqrt(np.square(deviation).mean()))
    near_zero = deviation < 1e-6 * max(float(np.abs(mean).max()), float(deviation.max()), 1e-30)
    return mean.astype(np.float32), np.where(near_zero, 1.0, deviation).astype(np.float32)
