"""Vectors for the trainer's benchmarks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from prisma_client import sample
from services.embedder.providers import Embedding
from services.embedder.providers.builtin import BuiltinProvider

F32 = NDArray[np.float32]


def sample_vectors() -> F32:
    """Built-in embeddings of the docstrings of Python's standard library, (about 5,300, 256)."""
    return embedded([document["text"] for document in sample.documents()])


def embedded(texts: Sequence[str]) -> F32:
    """Built-in embeddings of texts, (at most len(texts), 256): without those in which the model knows no word."""
    results = BuiltinProvider().embed_now(texts)
    return np.stack([result.vector for result in results if isinstance(result, Embedding)])


def synthetic(rows: int = 18_432, d: int = 384, features: int = 1536, active: float = 16.0) -> tuple[F32, F32]:
    """Vectors (rows, d) that are sums of few of known unit directions, and these (features, d).

    How often a direction is active falls with the square root of its rank; its strength is 1 + |normal|; noise has a
    tenth of the signal's deviation.
    """
    rng = np.random.default_rng(7)
    directions = rng.standard_normal((features, d), dtype=np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    often = 1 / np.sqrt(np.arange(features) + 10.0)
    often *= active / often.sum()
    strengths = (1 + np.abs(rng.standard_normal((rows, features), dtype=np.float32))) * (
        rng.random((rows, features), dtype=np.float32) < often
    )
    vectors = strengths.astype(np.float32) @ directions
    vectors += 0.1 * vectors.std() * rng.standard_normal(vectors.shape, dtype=np.float32)
    return vectors, directions
