"""Encode and decode on the CPU, in numba: the one encode that all use."""

from __future__ import annotations

from functools import cache

import numpy as np

from services.trainer.sae.kernels import screening
from services.trainer.sae.kernels.compiling import inner, kernel
from services.trainer.sae.kernels.dtypes import F32, I32, I64, Real
from services.trainer.sae.kernels.forward import Sae, clear_unused, select_largest, select_rows
from services.trainer.sae.kernels.products import COLUMNS, FEW_COLUMNS, add_rows, multiply, multiply_few
from services.trainer.sae.kernels.screening import Scratch, Screen
from services.trainer.sae.kernels.selecting import space_for
from services.trainer.sae.kernels.threads import spread, threads

BLOCK = COLUMNS
"""Rows of a block, which is zero-padded."""


def screen_of(W_enc: F32) -> Screen:
    """The encoder (n, d) in bytes, where screening pays; otherwise a screen without tiles."""
    n, d = W_enc.shape
    screen = screening.screen_for(n, d, screening.pays(n, d))
    spread(screening.quantise_tiles, len(screen.panels), W_enc, screen)
    return screen


def encode(sae: Sae, screen: Screen, vectors: F32, k: int) -> tuple[I32, F32]:
    """Exact Top-K of vectors (B, d): indices (B, k), rising, −1 where fewer are positive, and values, 0 there."""
    return encode_padded(sae, screen, vectors, k, few_rows())


def encode_padded(sae: Sae, screen: Screen, vectors: F32, k: int, few: int) -> tuple[I32, F32]:
    """As `encode`; up to `few` rows of a block are padded to FEW_COLUMNS only."""
    n, d = sae.W_enc.shape
    indices, values = _empty_codes(len(vectors), k)
    counts = np.empty(len(vectors), dtype=np.int64)
    scratch = screening.scratch_for(threads(), BLOCK, n, d)
    spread(
        encode_rows, _blocks(vectors), vectors, few, sae, screen, scratch, k, _workspace(n),
        indices.reshape(-1), values.reshape(-1), counts,
    )  # fmt: skip
    return indices, values


def encode_with_threshold(sae: Sae, vectors: F32, threshold: float, width: int) -> tuple[I32, F32]:
    """All latents above a threshold: indices and values (B, w), as `encode`'s; w is `width`, or more if needed."""
    counts = np.empty(len(vectors), dtype=np.int64)
    workspace = _workspace(len(sae.b_enc))
    while True:
        indices, values = _empty_codes(len(vectors), width)
        spread(
            encode_above, _blocks(vectors), vectors, few_rows(), sae, np.float32(threshold), workspace, indices,
            values, counts,
        )  # fmt: skip
        most = int(counts.max(initial=0))
        if most <= width:
            return indices, values
        width = most


@cache
def few_rows() -> int:
    """Up to so many rows are padded to FEW_COLUMNS only: 0 where that would give them other bits on this processor.

    Both multiplications are compiled from one source, but it is up to the compiler how it orders the sums.
    """
    rows, d, n = FEW_COLUMNS, 3 * 8 + 5, 300
    numbers = np.random.default_rng(0).standard_normal((n + rows + 1, d), dtype=np.float32)
    zeros, ones = np.zeros(d, dtype=np.float32), np.ones(d, dtype=np.float32)
    sae = Sae(
        W_enc=numbers[:n],
        b_enc=np.zeros(n, dtype=np.float32),
        W_dec=numbers[:n],
        b_dec=zeros,
        mean=zeros,
        scale=ones,
    )
    unscreened = screening.screen_for(n, d, screened=False)
    few, padded = (encode_padded(sae, unscreened, numbers[n : n + rows], n, count) for count in (rows, 0))
    return rows if all(one.tobytes() == other.tobytes() for one, other in zip(few, padded, strict=True)) else 0


def decode(W_dec: F32, b_dec: F32, indices: I32, values: F32) -> F32:
    """Reconstructions (B, d) of codes (B, k)."""
    result = np.empty((len(indices), len(b_dec)), dtype=np.float32)
    spread(decode_rows, len(indices), indices, values, W_dec, b_dec, result)
    return result


def _blocks(vectors: F32) -> int:
    return -(-len(vectors) // BLOCK)


def _workspace(n: int) -> F32:
    return np.empty((threads(), BLOCK * screening.padded(n)), dtype=np.float32)


def _empty_codes(rows: int, width: int) -> tuple[I32, F32]:
    return np.empty((rows, width), dtype=np.int32), np.zeros((rows, width), dtype=np.float32)


@inner()
def _center(vectors: F32, begin: int, end: int, sae: Sae, centered: F32) -> None:
    """x − b_dec of these rows, zero-padded; in plain arithmetic, unlike the training's."""
    centered[:] = 0.0
    for row in range(begin, end):
        for column in range(vectors.shape[1]):
            normalized = (vectors[row, column] - sae.mean[column]) / sae.scale[column]
            centered[row - begin, column] = normalized - sae.b_dec[column]


@inner()
def _pre_activations(vectors: F32, begin: int, end: int, few: int, sae: Sae, workspace: F32) -> F32:
    """Pre-activations of these rows without b_enc, zero-padded to (BLOCK, n), or to (FEW_COLUMNS, n) if there are at
    most `few`. No other row changes a row's bits."""
    width = FEW_COLUMNS if end - begin <= few else BLOCK
    pre = workspace[: width * len(sae.b_enc)].reshape((width, len(sae.b_enc)))
    centered = np.empty((width, vectors.shape[1]), dtype=np.float32)
    _center(vectors, begin, end, sae, centered)
    columns = np.ascontiguousarray(centered.T)
    if width == FEW_COLUMNS:
        multiply_few(pre, sae.W_enc, columns)
    else:
        multiply(pre, sae.W_enc, columns)
    return pre


@kernel()
def encode_rows(
    thread: int, first: int, last: int, vectors: F32, few: int, sae: Sae, screen: Screen, scratch: Scratch, k: int,
    workspace: F32, indices: I32, values: F32, counts: I64,
) -> None:  # fmt: skip
    """Exact Top-K of these blocks of (B, d) vectors: indices (B·k,), rising, −1 where fewer are positive, values
    (B·k,), zeroed, and counts (B,). workspace is (threads, BLOCK · n or more)."""
    rows = len(vectors)
    for part in range(first, last):
        begin, end = part * BLOCK, min(rows, (part + 1) * BLOCK)
        space = space_for(len(sae.b_enc), k)
        if len(screen.panels):
            centered = np.empty((end - begin, vectors.shape[1]), dtype=np.float32)
            _center(vectors, begin, end, sae, centered)
            select_rows(
                centered, end - begin, sae, screen, scratch, np.inf, thread, workspace[thread], k, space,
                indices[begin * k :], values[begin * k :], counts[begin:end],
            )  # fmt: skip
        else:
            pre = _pre_activations(vectors, begin, end, few, sae, workspace[thread])
            select_largest(
                pre, end - begin, sae.b_enc, k, space, indices[begin * k :], values[begin * k :], counts[begin:end]
            )
            clear_unused(end - begin, k, indices[begin * k :], counts[begin:end])


@kernel()
def encode_above(
    thread: int, first: int, last: int, vectors: F32, few: int, sae: Sae, threshold: Real, workspace: F32,
    indices: I32, values: F32, counts: I64,
) -> None:  # fmt: skip
    """All latents above a threshold into indices and values (B, w), of a row the first w; how many into counts (B,)."""
    rows, width = indices.shape
    n = len(sae.b_enc)
    for part in range(first, last):
        begin, end = part * BLOCK, min(rows, (part + 1) * BLOCK)
        pre = _pre_activations(vectors, begin, end, few, sae, workspace[thread])
        for row in range(begin, end):
            count = 0
            for latent in range(n):
                value = pre[row - begin, latent] + sae.b_enc[latent]
                if value > threshold:
                    if count < width:
                        indices[row, count] = latent
                        values[row, count] = value
                    count += 1
            counts[row] = count
            for slot in range(count, width):
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
