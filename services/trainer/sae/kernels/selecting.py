"""Exact Top-K of positive pre-activations on the CPU, ties to the lower index.

A row is first reduced to the maxima of a few lanes, strided over it. A threshold that at least k lanes' maxima reach is
one that at least k values reach: only the lanes that reach it are read again, and the k largest of their values that
reach it are selected exactly. Nearly all of the work is one pass of vector maxima.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from services.trainer.sae.kernels.compiling import inner, kernel
from services.trainer.sae.kernels.dtypes import F32, I32, U32, Integer, Real

TINY = np.float32(1e-45)
"""The smallest positive float32."""


class Space(NamedTuple):
    """Working space of `select_row`, for rows of at most n values."""

    maxima: F32
    """The largest value of each lane, (lanes,)."""
    lanes: U32
    """Lanes whose maximum reaches the threshold, (lanes + 1,)."""
    values: F32
    """Candidates: values that reach the threshold, (n + 8,)."""
    places: I32
    """Where in the row they are, (n + 8,)."""
    scratch: F32
    """Values that are reordered to find the k-th largest, (n + 1,)."""


@inner()
def lane_count(n: int, k: int) -> int:
    """Lanes that a row of n is strided into: about eight for each of k, in whole vector registers."""
    lanes = max(64, 8 * k // 16 * 16)
    return lanes if lanes < n else n


@inner()
def kth_largest(values: F32, size: Integer, k: int) -> Real:
    """The k-th largest of values[:size], which it reorders (Hoare's quickselect). Values hold no NaN."""
    low, high, place = 0, size - 1, k - 1
    while low < high:
        pivot = values[(low + high) >> 1]
        left, right = low, high
        while left <= right:
            while values[left] > pivot:
                left += 1
            while values[right] < pivot:
                right -= 1
            if left <= right:
                values[left], values[right] = values[right], values[left]
                left += 1
                right -= 1
        if place <= right:
            high = right
        elif place >= left:
            low = left
        else:
            break
    return values[place]


@inner(fastmath={"reassoc", "nsz"})
def _count_reaching(values: F32, threshold: Real) -> Real:
    count = np.float32(0.0)
    for place in range(len(values)):
        count += np.float32(1.0) if values[place] >= threshold else np.float32(0.0)
    return count


@inner()
def _threshold_of_maxima(maxima: F32, k: int, guess: Real) -> Real:
    """A positive number that at least k of the maxima reach, near the highest such; the smallest if fewer are."""
    if _count_reaching(maxima, TINY) <= k:
        return TINY
    low, high = np.float32(0.0), np.float32(0.0)
    for lane in range(len(maxima)):
        high = max(high, maxima[lane])
    enough = k + k // 8 + 2
    threshold = np.float32(guess)
    for _ in range(20):
        if not low < threshold < high:
            threshold = np.float32(0.5) * (low + high)
        count = _count_reaching(maxima, threshold)
        if count >= k:
            low = threshold
            if count <= enough:
                break
        else:
            high = threshold
        threshold = np.float32(0.5) * (low + high)
    return max(low, TINY)


@kernel()
def space_for(n: int, k: int) -> Space:
    """Space for rows of at most n values."""
    lanes = lane_count(n, k)
    return Space(
        np.empty(lanes, dtype=np.float32),
        np.empty(lanes + 1, dtype=np.uint32),
        np.empty(n + 8, dtype=np.float32),
        np.empty(n + 8, dtype=np.int32),
        np.empty(n + 1, dtype=np.float32),
    )


@inner()
def lower_threshold(row: F32, k: int, guess: Real, space: Space) -> Real:
    """A positive number that at least k of a row (n,) reach, if so many are positive; leaves the lanes' maxima.

    `guess` is where it may lie, from the row before; it changes the time, and which number it is.
    """
    n = len(row)
    size = lane_count(n, k)
    chunks = n // size
    grid = row[: chunks * size].reshape((chunks, size))
    tops = space.maxima[:size]
    tops[:] = -np.inf
    for chunk in range(chunks):
        for lane in range(size):
            value = grid[chunk, lane]
            top = tops[lane]
            tops[lane] = value if value > top else top
    tail = row[chunks * size :]
    for lane in range(len(tail)):
        value = tail[lane]
        top = tops[lane]
        tops[lane] = value if value > top else top
    return _threshold_of_maxima(tops, k, guess)


@inner()
def collect(row: F32, threshold: Real, size: int, space: Space) -> Integer:
    """All values of a row (n,) that reach the threshold, into space.values and space.places, by rising place.

    Returns how many there are. `size` lanes' maxima stand in the space, from `lower_threshold`.
    """
    n = len(row)
    chunks = n // size
    rest = n - chunks * size
    grid = row[: chunks * size].reshape((chunks, size))
    tail = row[chunks * size :]
    tops, lanes, values, places = space.maxima, space.lanes, space.values, space.places
    used = np.uint32(0)
    for lane in range(size):
        lanes[used] = lane
        used += np.uint32(tops[lane] >= threshold)
    count = np.uint32(0)
    for chunk in range(chunks):
        for place in range(used):
            lane = lanes[place]
            value = grid[chunk, lane]
            values[count] = value
            places[count] = chunk * size + lane
            count += np.uint32(value >= threshold)
    for place in range(used):
        lane = lanes[place]
        if lane < rest:
            value = tail[lane]
            values[count] = value
            places[count] = chunks * size + lane
            count += np.uint32(value >= threshold)
    return np.int64(count)


@kernel()
def select_row(row: F32, k: int, guess: Real, space: Space, indices: I32, values: F32) -> tuple[Integer, Real]:
    """The k largest positive of a row (n,), into indices and values (k,), by rising index.

    Returns how many are positive, at most k, and the threshold, as the next row's guess.
    """
    threshold = lower_threshold(row, k, guess, space)
    count = collect(row, threshold, lane_count(len(row), k), space)
    return keep_largest(space.values, space.places, count, k, space.scratch, indices, values), threshold


@inner()
def keep_largest(
    candidates: F32, places: I32, count: Integer, k: int, scratch: F32, indices: I32, values: F32
) -> Integer:
    """Of count candidates by rising place, the k largest, ties to the lower place."""
    if count <= k:
        for place in range(count):
            indices[place] = places[place]
            values[place] = candidates[place]
        return count
    for place in range(count):
        scratch[place] = candidates[place]
    least = kth_largest(scratch, count, k)
    equal = k
    for place in range(count):
        equal -= 1 if candidates[place] > least else 0
    size = 0
    for place in range(count):
        value = candidates[place]
        if value > least or (value == least and equal > 0):
            equal -= 1 if value == least else 0
            indices[size] = places[place]
            values[size] = value
            size += 1
    return size
