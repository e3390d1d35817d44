"""Products of a few rows of a matrix with a vector: where decode, gradients and screening spend their time."""

from __future__ import annotations

import numpy as np

from services.trainer.sae.kernels.compiling import inner
from services.trainer.sae.kernels.dtypes import F32, I32, Integer, Real

# Sums may be split into vector lanes, always in the same way; NaN and infinity keep their meaning.
FAST = {"reassoc", "contract", "arcp", "nsz"}


@inner(fastmath=FAST)
def add_rows(target: F32, matrix: F32, rows: I32, weights: F32, first: Integer, last: Integer) -> None:
    """target (d,) += Σ weights · matrix[rows], over places first to last; eight rows at a time."""
    d = len(target)
    place = first
    while place + 8 <= last:
        a, b, c, e = matrix[rows[place]], matrix[rows[place + 1]], matrix[rows[place + 2]], matrix[rows[place + 3]]
        f, g, h, i = matrix[rows[place + 4]], matrix[rows[place + 5]], matrix[rows[place + 6]], matrix[rows[place + 7]]
        p, q, r, s = weights[place], weights[place + 1], weights[place + 2], weights[place + 3]
        t, u, v, w = weights[place + 4], weights[place + 5], weights[place + 6], weights[place + 7]
        for column in range(d):
            target[column] += (
                p * a[column] + q * b[column] + r * c[column] + s * e[column]
                + t * f[column] + u * g[column] + v * h[column] + w * i[column]
            )  # fmt: skip
        place += 8
    while place < last:
        a, p = matrix[rows[place]], weights[place]
        for column in range(d):
            target[column] += p * a[column]
        place += 1


@inner(fastmath=FAST)
def dots(result: F32, matrix: F32, rows: I32, vector: F32, first: Integer, last: Integer) -> None:
    """result = matrix[rows] · vector (d,), over places first to last; eight rows at a time."""
    d = len(vector)
    zero = np.float32(0.0)
    place = first
    while place + 8 <= last:
        a, b, c, e = matrix[rows[place]], matrix[rows[place + 1]], matrix[rows[place + 2]], matrix[rows[place + 3]]
        f, g, h, i = matrix[rows[place + 4]], matrix[rows[place + 5]], matrix[rows[place + 6]], matrix[rows[place + 7]]
        p, q, r, s = zero, zero, zero, zero
        t, u, v, w = zero, zero, zero, zero
        for column in range(d):
            value = vector[column]
            p += a[column] * value
            q += b[column] * value
            r += c[column] * value
            s += e[column] * value
            t += f[column] * value
            u += g[column] * value
            v += h[column] * value
            w += i[column] * value
        result[place], result[place + 1], result[place + 2], result[place + 3] = p, q, r, s
        result[place + 4], result[place + 5], result[place + 6], result[place + 7] = t, u, v, w
        place += 8
    while place < last:
        a, p = matrix[rows[place]], zero
        for column in range(d):
            p += a[column] * vector[column]
        result[place] = p
        place += 1


@inner(fastmath=FAST)
def squared_norm(vector: F32) -> Real:
    """|vector|², of (d,)."""
    total = np.float32(0.0)
    for column in range(len(vector)):
        total += vector[column] * vector[column]
    return total
