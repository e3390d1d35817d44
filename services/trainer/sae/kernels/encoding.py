"""Encode and decode on the CPU, in numba: the one encode that all use."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.trainer.sae.kernels.compiling import inner, kernel
from services.trainer.sae.kernels.products import add_rows
from services.trainer.sae.kernels.screening import Desk, Screen
from services.trainer.sae.kernels.selecting import F32, I32, Real, space_for
from services.trainer.sae.kernels.stepping import Sae, choose_rows

BLOCK = 64
"""Rows of a block; zero-padded for BLAS, which gives other bits for other shapes."""


@inner()
def _center(vectors: F32, begin: int, end: int, sae: Sae, centered: F32) -> None:
    centered[:] = 0.0
    for row in range(begin, end):
        for column in range(vectors.shape[1]):
            normalized = (vectors[row, column] - sae.mean[column]) / sae.scale[column]
            centered[row - begin, column] = normalized - sae.b_dec[column]


@kernel()
def encode_rows(
    thread: int, first: int, last: int, vectors: F32, sae: Sae, screen: Screen, desk: Desk, k: int, workspace: F32,
    indices: I32, values: F32, counts: NDArray[np.int64],
) -> None:  # fmt: skip
    """Exact Top-K of these blocks of (B, d) vectors: indices (B·k,), rising, −1 where fewer are positive, values
    (B·k,), zeroed, and counts (B,). workspace is (threads, BLOCK · n or more)."""
    rows = len(vectors)
    for part in range(first, last):
        begin, end = part * BLOCK, min(rows, (part + 1) * BLOCK)
        size = end - begin if len(screen.panels) else BLOCK
        centered = np.empty((size, vectors.shape[1]), dtype=np.float32)
        _center(vectors, begin, end, sae, centered)
        space = space_for(len(sae.b_enc), k)
        choose_rows(
            centered, end - begin, sae, screen, desk, np.inf, thread, workspace[thread], k, space,
            indices[begin * k :], values[begin * k :], counts[begin:end],
        )  # fmt: skip


@kernel()
def encode_above(
    thread: int, first: int, last: int, vectors: F32, sae: Sae, threshold: Real, workspace: F32, indices: I32,
    values: F32, counts: NDArray[np.int64],
) -> None:  # fmt: skip
    """All latents above a threshold, the first of them as far as there is room; counts (B,) says how many there are."""
    rows, room = indices.shape
    n = len(sae.b_enc)
    for part in range(first, last):
        begin, end = part * BLOCK, min(rows, (part + 1) * BLOCK)
        pre = workspace[thread, : BLOCK * n].reshape((BLOCK, n))
        centered = np.empty((BLOCK, vectors.shape[1]), dtype=np.float32)
        _center(vectors, begin, end, sae, centered)
        np.dot(centered, sae.W_enc.T, pre)
        for row in range(begin, end):
            count = 0
            for latent in range(n):
                value = pre[row - begin, latent] + sae.b_enc[latent]
                if value > threshold:
                    if count < room:
                        indices[row, count] = latent
                        values[row, count] = value
                    count += 1
            counts[row] = count
            for slot in range(count, room):
                indices[row, slot] = -1


@kernel()
def decode_rows(
    _thread: int, first: int, last: int, indices: I32, values: F32, W_dec: F32, bias: F32, result: F32
) -> None:
    """Σ value · W_dec[latent] + bias of these rows: (B, k), (B, k), (n, d), (d,) → (B, d). −1 ends a row."""
    k = indices.shape[1]
    for row in range(first, last):
        count = 0
        while count < k and indices[row, count] >= 0:
            count += 1
        for column in range(len(bias)):
            result[row, column] = bias[column]
        add_rows(result[row], W_dec, indices[row], values[row], np.int64(0), count)
