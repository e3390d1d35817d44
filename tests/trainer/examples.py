"""Small autoencoders, vectors and files that the trainer's tests are run on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from services.trainer.sae.activations import BatchTopK, RowTopK
from services.trainer.sae.config import Config
from services.trainer.sae.engines import Plan
from services.trainer.sae.training import Training
from services.trainer.sae.weights import Weights


def example(
    rng: np.random.Generator, *, rows: int, d: int, n: int, k: int, levels: int = 1, batch: bool = False
) -> tuple[Plan, dict[str, np.ndarray], np.ndarray]:
    """A plan, a state with biases, and vectors, some of them equal, zero, or constant in a dimension."""
    ends = tuple(sorted({max(1, n >> level) for level in range(levels)}))
    weights = tuple(float(weight) for weight in rng.random(len(ends)) + 0.5)
    plan = Plan(
        latents=n,
        k=min(k, n),
        activation=BatchTopK() if batch else RowTopK(),
        ends=ends,
        weights=weights,
        k_aux=min(2 * k, n),
        aux_coefficient=0.5,
        gradient_clip=1e3,
        threads=1,
    )

    def noise(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    W_dec = noise(n, d)
    W_dec /= np.linalg.norm(W_dec, axis=1, keepdims=True)
    state = {
        "W_enc": W_dec + 0.1 * noise(n, d),
        "b_enc": 0.1 * noise(n),
        "W_dec": W_dec,
        "b_dec": 0.1 * noise(d),
        "mean": noise(d),
        "scale": np.exp(noise(d) / 4),
    }
    vectors = noise(rows, d) * 2 + 1
    if rows > 2:
        vectors[1] = vectors[0]
        vectors[2] = 0
    vectors[:, 0] = 3
    return plan, state, vectors


def clusters(rows: int, d: int, seed: int = 0) -> np.ndarray:
    """Vectors that are sums of a few of 3d directions, as embeddings are."""
    rng = np.random.default_rng(seed)
    directions = rng.standard_normal((3 * d, d))
    strengths = rng.exponential(size=(rows, 3 * d)) * (rng.random((rows, 3 * d)) < 4 / (3 * d))
    return (strengths @ directions + 0.05 * rng.standard_normal((rows, d)) + 1).astype(np.float32)


def begun(vectors: np.ndarray, threads: int = 1, **config: Any) -> Training:
    """A training before its first step."""
    return Training(vectors, Config.resolve(len(vectors), vectors.shape[1], threads, **config))


def trained(vectors: np.ndarray, **config: Any) -> Training:
    """A training at its end."""
    training = begun(vectors, **config)
    while training.step < training.total_steps:
        training.advance()
    return training


def dense(weights: Weights, vectors: np.ndarray) -> np.ndarray:
    """Codes as a matrix (B, n)."""
    indices, values = weights.encode_dense(vectors)
    codes = np.zeros((len(vectors), weights.latent_count), dtype=np.float32)
    row, slot = np.nonzero(indices >= 0)
    codes[row, indices[row, slot]] = values[row, slot]
    return codes


def mutated(files: list[bytes], seed: int, count: int) -> Iterator[bytes]:
    """Damaged copies of files: cut, with flipped bits, and with parts removed, repeated or replaced by text."""
    rng = np.random.default_rng(seed)
    texts = [b"\xff" * 8, b"\x00" * 8, b"NaN", b"-1", b"1e400", b"true", b"null", b'"x"', b"[" * 64, b"9" * 40, b"BF16"]
    for number in range(count):
        data = bytearray(files[number % len(files)])
        for _ in range(rng.integers(1, 4)):
            # Headers and directories are more interesting than numbers: most damage is done near both ends.
            distance = int(len(data) * rng.random() ** 4)
            place = min(distance if rng.random() < 0.7 else len(data) - distance, max(len(data) - 1, 0))
            match int(rng.integers(6)):
                case 0:
                    del data[place:]
                case 1 if data:
                    data[place] ^= 1 << int(rng.integers(8))
                case 2:
                    del data[place : place + int(rng.integers(1, 64))]
                case 3:
                    data[place:place] = data[place : place + int(rng.integers(1, 64))]
                case 4:
                    text = texts[rng.integers(len(texts))]
                    data[place : place + len(text)] = text
                case _:
                    data[place:place] = texts[rng.integers(len(texts))]
        yield bytes(data)
