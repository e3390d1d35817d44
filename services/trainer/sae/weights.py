"""Weights of a trained autoencoder, and the one encode that all use."""

from __future__ import annotations

import hashlib
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
from services.trainer.sae.kernels import encoding
from services.trainer.sae.kernels.dtypes import F32, I32
from services.trainer.sae.kernels.forward import Sae
from services.trainer.sae.kernels.screening import Screen
from services.trainer.sae.vectors import blocks, check, mean_of, variation

_TENSORS = ("W_enc", "b_enc", "W_dec", "b_dec", "mean", "scale")


@dataclass(frozen=True)
class Weights:
    """A sparse autoencoder of n latents for vectors of d numbers. `reference.py` says what is computed with it."""

    W_enc: F32
    """(n, d)."""
    b_enc: F32
    """(n,)."""
    W_dec: F32
    """(n, d). Trained rows are of norm 1."""
    b_dec: F32
    """(d,)."""
    mean: F32
    """(d,): a vector v is normalised to (v − mean) / scale."""
    scale: F32
    """(d,)."""
    k: int
    """Active are the k largest positive pre-activations."""
    threshold: float = 0.0
    """If not 0, active are instead all pre-activations above it, as BatchTopK learns it."""

    @property
    def latent_count(self) -> int:
        """n."""
        return self.W_enc.shape[0]

    @property
    def dimension(self) -> int:
        """d."""
        return self.W_enc.shape[1]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that codes depend on, in hexadecimal: weights with the same one have the same latents."""
        digest = hashlib.sha256(f"{self.k} {self.threshold} {self.W_enc.shape}".encode())
        for name in _TENSORS:
            digest.update(np.ascontiguousarray(getattr(self, name), "<f4").data)
        return digest.hexdigest()

    def encode_dense(self, vectors: F32) -> tuple[I32, F32]:
        """The active latents of (B, d) vectors: indices (B, w), rising, −1 where fewer are active, and values, 0 there.

        w is k, or with a threshold the largest number of active latents, at least k. Raises InvalidVectors.
        """
        check(vectors, self.dimension)
        vectors = np.require(vectors, np.float32, ["C", "W"])  # of one type: the kernel is compiled once
        sae = Sae(
            W_enc=self.W_enc,
            b_enc=self.b_enc,
            W_dec=self.W_dec,
            b_dec=self.b_dec,
            mean=self.mean,
            scale=self.scale,
        )
        if self.threshold:
            return encoding.encode_with_threshold(sae, vectors, self.threshold, width=self.k)
        return encoding.encode(sae, self._screen, vectors, self.k)

    @cached_property
    def _screen(self) -> Screen:
        return encoding.screen_of(self.W_enc)

    def encode(self, vectors: F32, rows: NDArray[np.uint64]) -> Codes:
        """The activations of (B, d) vectors, under these row numbers. Raises InvalidVectors.

        The same vector has the same bits in any batch, on one machine, with any number of threads.
        """
        return self.sparse(*self.encode_dense(vectors), rows)

    def sparse(self, indices: I32, values: F32, rows: NDArray[np.uint64]) -> Codes:
        """The result of `encode_dense`, (B, w), as codes under these row numbers."""
        active = indices >= 0
        indptr = np.concatenate([[0], np.cumsum(active.sum(axis=1))]).astype(np.uint32)
        return Codes(
            rows=rows,
            indptr=indptr,
            indices=indices[active].astype(np.uint32),
            values=values[active],
            latent_count=self.latent_count,
        )

    def decode_dense(self, indices: I32, values: F32) -> F32:
        """(B, d) vectors of codes, in the vectors' own space."""
        return encoding.decode(self.W_dec, self.b_dec, indices, values) * self.scale + self.mean

    def unexplained(self, vectors: F32, indices: I32, values: F32) -> F32:
        """For each (B, d) vector |x − x̂|² / |x − mean|², x̂ from its code (B, k); the mean is the training rows'."""
        residual = vectors - self.decode_dense(indices, values)
        total = np.square(vectors - self.mean).sum(axis=1)
        return np.square(residual).sum(axis=1) / np.maximum(total, np.finfo(np.float32).tiny)

    def fvu(self, vectors: F32, mean: F32 | None = None) -> float | None:
        """Fraction of variance unexplained: Σ|x − x̂|² / Σ|x − mean|² over these (B, d) vectors, in their own space.

        mean: (d,), that of the training rows; by default that of these vectors. None for fewer than two vectors, or
        without variance. Raises InvalidVectors.
        """
        check(vectors, self.dimension)
        total = variation(vectors, mean_of(vectors) if mean is None else mean)
        if total is None:
            return None
        residuals = (part - self.decode_dense(*self.encode_dense(part)) for part in blocks(vectors))
        return sum(float(np.square(residual, dtype=np.float64).sum()) for residual in residuals) / total

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
