"""Products of a few rows of a matrix with a vector: where decode, gradients and screening spend their time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from services.trainer.sae.kernels.compiling import inner
from services.trainer.sae.kernels.dtypes import F32, I32, Integer, Real

# Sums may be split into vector lanes, always in the same way; NaN and infinity keep their meaning.
FAST = {"reassoc", "contract", "arcp", "nsz"}


@inner()
def copy_numbers(target: F32, source: F32, count: Integer) -> None:
    """target[:count] = source[:count], without the text of numpy's error message, whose compilation takes seconds."""
    for place in range(count):
        target[place] = source[place]


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


COLUMNS = 64
"""Of a block that `multiply` takes: whole vectors on every processor."""
FEW_COLUMNS = 16
"""Of a block that `multiply_few` takes."""
_TILE = 256
"""Rows of the matrix whose sums with a block stay in the processor's cache."""


def _multiplication(count: int) -> Callable[[F32, F32, F32], None]:
    """Compiled for blocks of so many columns, as a constant."""

    @inner(fastmath=FAST)
    def multiply(result: F32, matrix: F32, columns: F32) -> None:
        """result (count, n) = (matrix (n, d) · columns (d, count))ᵀ, eight dimensions at a time.

        Every column goes through the same instructions in the same order, wherever it stands; BLAS gives other bits at
        other places.
        """
        d, n = len(columns), len(matrix)
        sums = np.empty((min(n, _TILE), count), dtype=np.float32)
        for first in range(0, n, _TILE):
            tile = matrix[first : first + _TILE]
            sums[:] = 0.0
            place = 0
            while place + 8 <= d:
                a, b, c, e = columns[place], columns[place + 1], columns[place + 2], columns[place + 3]
                f, g, h, i = columns[place + 4], columns[place + 5], columns[place + 6], columns[place + 7]
                for row in range(len(tile)):
                    p, q, r, s = tile[row, place], tile[row, place + 1], tile[row, place + 2], tile[row, place + 3]
                    t, u, v, w = tile[row, place + 4], tile[row, place + 5], tile[row, place + 6], tile[row, place + 7]
                    for column in range(count):
                        sums[row, column] += (
                            p * a[column] + q * b[column] + r * c[column] + s * e[column]
                            + t * f[column] + u * g[column] + v * h[column] + w * i[column]
                        )  # fmt: skip
                place += 8
            while place < d:
                for row in range(len(tile)):
                    for column in range(count):
                        sums[row, column] += tile[row, place] * columns[place, column]
                place += 1
            for column in range(count):
                for row in range(len(tile)):
                    result[column, first + row] = sums[row, column]

    return multiply


multiply = _multiplication(COLUMNS)
multiply_few = _multiplication(FEW_COLUMNS)


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
