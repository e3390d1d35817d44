"""CPU kernels. Only k of n latents are active, so all but the encoder product costs 8·B·k·d, not 8·B·n·d.

Each kernel sums in an order that does not depend on the number of threads: rows or latents are split among threads,
never a sum.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
# Sums may be split into vector lanes, always in the same way; NaN and infinity keep their meaning.
_FAST = {"reassoc", "contract", "arcp", "nsz"}


@njit(parallel=True, cache=True)
def top_k(pre: F32, k: int, allowed: NDArray[np.bool_]) -> tuple[I32, F32]:
    """The k largest positive pre-activations of each row, among the latents allowed; ties go to the lower index.

    pre: (B, n). Returns indices (B, k) int32, rising, -1 where fewer than k are positive, and values (B, k).
    """
    rows, n = pre.shape
    indices = np.full((rows, k), -1, dtype=np.int32)
    values = np.zeros((rows, k), dtype=np.float32)
    for row in prange(rows):
        heap = np.empty(k, dtype=np.float32)
        place = np.empty(k, dtype=np.int32)
        size = 0
        for latent in range(n):
            value = pre[row, latent]
            if not value > 0.0 or not allowed[latent]:
                continue
            if size < k:
                child = size
                size += 1
                while child > 0:
                    parent = (child - 1) // 2
                    if heap[parent] < value or (heap[parent] == value and place[parent] > latent):
                        break
                    heap[child], place[child] = heap[parent], place[parent]
                    child = parent
                heap[child], place[child] = value, latent
            elif value > heap[0]:
                parent = 0
                while True:
                    child = 2 * parent + 1
                    if child >= k:
                        break
                    other = child + 1
                    if other < k and (
                        heap[other] < heap[child] or (heap[other] == heap[child] and place[other] > place[child])
                    ):
                        child = other
                    if heap[child] > value or (heap[child] == value and place[child] < latent):
                        break
                    heap[parent], place[parent] = heap[child], place[child]
                    parent = child
                heap[parent], place[parent] = value, latent
        order = np.argsort(place[:size])
        for slot in range(size):
            indices[row, slot] = place[order[slot]]
            values[row, slot] = heap[order[slot]]
    return indices, values


@njit(parallel=True, cache=True, fastmath=_FAST)
def decode(indices: I32, values: F32, W_dec: F32, bias: F32) -> F32:
    """Σ value · W_dec[latent] + bias: (B, k), (B, k), (n, d), (d,) → (B, d)."""
    rows, k = indices.shape
    d = W_dec.shape[1]
    result = np.empty((rows, d), dtype=np.float32)
    for row in prange(rows):
        for column in range(d):
            result[row, column] = bias[column]
        for slot in range(k):
            latent = indices[row, slot]
            if latent < 0:
                break
            value = values[row, slot]
            for column in range(d):
                result[row, column] += value * W_dec[latent, column]
    return result


@njit(parallel=True, cache=True, fastmath=_FAST)
def code_gradient(indices: I32, W_dec: F32, gradient: F32) -> F32:
    """What each active value's gradient is, W_dec[latent] · gradient[row]: (B, k), (n, d), (B, d) → (B, k)."""
    rows, k = indices.shape
    d = W_dec.shape[1]
    result = np.zeros((rows, k), dtype=np.float32)
    for row in prange(rows):
        for slot in range(k):
            latent = indices[row, slot]
            if latent < 0:
                break
            total = np.float32(0.0)
            for column in range(d):
                total += W_dec[latent, column] * gradient[row, column]
            result[row, slot] = total
    return result


@njit(cache=True)
def by_latent(indices: I32, n: int) -> tuple[I32, I32]:
    """The active slots (row · k + slot) by latent, then row, (nnz,); and where each latent begins, (n + 1,)."""
    rows, k = indices.shape
    starts = np.zeros(n + 1, dtype=np.int32)
    for row in range(rows):
        for slot in range(k):
            if indices[row, slot] >= 0:
                starts[indices[row, slot] + 1] += 1
    for latent in range(n):
        starts[latent + 1] += starts[latent]
    slots = np.empty(starts[n], dtype=np.int32)
    filled = starts[:n].copy()
    for row in range(rows):
        for slot in range(k):
            latent = indices[row, slot]
            if latent >= 0:
                slots[filled[latent]] = row * k + slot
                filled[latent] += 1
    return slots, starts


@njit(parallel=True, cache=True, fastmath=_FAST)
def add_outer(slots: I32, starts: I32, weights: F32, rows: F32, result: F32) -> None:
    """result[latent] += Σ weight · rows[row] over the latent's slots: weights (B, k), rows (B, d), result (n, d)."""
    k = weights.shape[1]
    d = rows.shape[1]
    for latent in prange(len(starts) - 1):
        for place in range(starts[latent], starts[latent + 1]):
            row = slots[place] // k
            weight = weights[row, slots[place] - row * k]
            for column in range(d):
                result[latent, column] += weight * rows[row, column]


@njit(cache=True)
def add_counts(slots: I32, starts: I32, weights: F32, result: F32) -> None:
    """result[latent] += Σ weight over the latent's slots: weights (B, k), result (n,)."""
    k = weights.shape[1]
    for latent in range(len(starts) - 1):
        for place in range(starts[latent], starts[latent + 1]):
            row = slots[place] // k
            result[latent] += weights[row, slots[place] - row * k]


@njit(parallel=True, cache=True, fastmath=_FAST)
def remove_parallel(gradient: F32, W_dec: F32) -> None:
    """Takes from each row of the gradient (n, d) its part along the unit row of W_dec (n, d)."""
    n, d = W_dec.shape
    for latent in prange(n):
        along = np.float32(0.0)
        for column in range(d):
            along += gradient[latent, column] * W_dec[latent, column]
        for column in range(d):
            gradient[latent, column] -= along * W_dec[latent, column]


@njit(parallel=True, cache=True, fastmath=_FAST)
def row_squares(matrix: F32) -> NDArray[np.float64]:
    """Sums of squares of the rows (n, d) → (n,), in float64."""
    n, d = matrix.shape
    result = np.empty(n, dtype=np.float64)
    for row in prange(n):
        total = 0.0
        for column in range(d):
            total += matrix[row, column] * matrix[row, column]
        result[row] = total
    return result


@njit(parallel=True, cache=True, fastmath=_FAST)
def adam(
    weights: F32, gradient: F32, first: F32, second: F32, rate: float, scale: float, step: int, unit: bool
) -> None:
    """Adam (Kingma and Ba 2015, algorithm 1) in place on (n, d); with `unit`, rows are brought back to norm 1."""
    n, d = weights.shape
    beta1, beta2, epsilon = np.float32(0.9), np.float32(0.999), np.float32(1e-8)
    correct1 = np.float32(1.0 / (1.0 - 0.9**step))
    correct2 = np.float32(1.0 / (1.0 - 0.999**step))
    rate32, scale32 = np.float32(rate), np.float32(scale)
    for row in prange(n):
        total = np.float32(0.0)
        for column in range(d):
            g = gradient[row, column] * scale32
            m = beta1 * first[row, column] + (np.float32(1.0) - beta1) * g
            v = beta2 * second[row, column] + (np.float32(1.0) - beta2) * g * g
            first[row, column] = m
            second[row, column] = v
            w = weights[row, column] - rate32 * (m * correct1) / (np.sqrt(v * correct2) + epsilon)
            weights[row, column] = w
            total += w * w
        if unit and total > 0.0:
            inverse = np.float32(1.0) / np.sqrt(total)
            for column in range(d):
                weights[row, column] *= inverse


def set_threads(count: int) -> None:
    """Threads of these kernels and of BLAS in this process."""
    import numba
    from threadpoolctl import threadpool_limits

    numba.set_num_threads(min(count, os.cpu_count() or 1))
    _limits.append(threadpool_limits(count, user_api="blas"))


_limits: list[Any] = []  # kept, or the limit would end
