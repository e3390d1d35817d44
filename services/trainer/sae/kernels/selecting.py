"""Exact Top-K of positive pre-activations on the CPU, ties to the lower index.

A row is first reduced to the maxima of a few lanes, strided over it. A bar under which k lanes' maxima lie at most is a
bar under which at least k values lie: only the lanes above it are looked at again, and of what they hold the k largest
are taken exactly. Nearly all of the work is one pass of vector maxima.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from services.trainer.sae.kernels.compiling import inner, kernel

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
Real: TypeAlias = "float | np.floating[Any]"
Whole: TypeAlias = "int | np.integer[Any]"
TINY = np.float32(1e-45)
"""The smallest positive float32."""


class Space(NamedTuple):
    """Working space of `select_row`."""

    maxima: F32
    lanes: NDArray[np.uint32]
    found: F32
    places: I32
    scratch: F32


@inner()
def lane_count(n: int, k: int) -> int:
    """Lanes that a row of n is strided into: about eight for each of k, in whole vector registers."""
    wanted = max(64, 8 * k // 16 * 16)
    return wanted if wanted < n else n


@inner()
def kth_largest(values: F32, size: Whole, k: int) -> Real:
    """The k-th largest of values[:size], which it reorders (Hoare's quickselect). Values hold no NaN."""
    low, high, wanted = 0, size - 1, k - 1
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
        if wanted <= right:
            high = right
        elif wanted >= left:
            low = left
        else:
            break
    return values[wanted]


@inner(fastmath={"reassoc", "nsz"})
def _above(values: F32, bar: Real) -> Real:
    count = np.float32(0.0)
    for place in range(len(values)):
        count += np.float32(1.0) if values[place] >= bar else np.float32(0.0)
    return count


@inner()
def _bar(maxima: F32, k: int, guess: Real) -> Real:
    """A positive number that at least k of the maxima reach, near the highest such; the smallest if fewer are."""
    if _above(maxima, TINY) <= k:
        return TINY
    low, high = np.float32(0.0), np.float32(0.0)
    for lane in range(len(maxima)):
        high = max(high, maxima[lane])
    enough = k + k // 8 + 2
    bar = np.float32(guess)
    for _ in range(20):
        if not low < bar < high:
            bar = np.float32(0.5) * (low + high)
        count = _above(maxima, bar)
        if count >= k:
            low = bar
            if count <= enough:
                break
        else:
            high = bar
        bar = np.float32(0.5) * (low + high)
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
def bar_of(row: F32, k: int, guess: Real, space: Space) -> Real:
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
    return _bar(tops, k, guess)


@inner()
def reaching(row: F32, bar: Real, size: int, space: Space) -> Whole:
    """All of a row (n,) that reach the bar, into space.found and space.places, by rising place; how many there are.

    `size` lanes' maxima stand in the space, from `bar_of`.
    """
    n = len(row)
    chunks = n // size
    rest = n - chunks * size
    grid = row[: chunks * size].reshape((chunks, size))
    tail = row[chunks * size :]
    tops, lanes, found, places = space.maxima, space.lanes, space.found, space.places
    used = np.uint32(0)
    for lane in range(size):
        lanes[used] = lane
        used += np.uint32(tops[lane] >= bar)
    count = np.uint32(0)
    for chunk in range(chunks):
        for place in range(used):
            lane = lanes[place]
            value = grid[chunk, lane]
            found[count] = value
            places[count] = chunk * size + lane
            count += np.uint32(value >= bar)
    for place in range(used):
        lane = lanes[place]
        if lane < rest:
            value = tail[lane]
            found[count] = value
            places[count] = chunks * size + lane
            count += np.uint32(value >= bar)
    return np.int64(count)


@kernel()
def select_row(row: F32, k: int, guess: Real, space: Space, indices: I32, values: F32) -> tuple[Whole, Real]:
    """The k largest positive of a row (n,), into indices and values (k,), by rising index.

    Returns how many are positive, at most k, and the bar, for the next row's guess.
    """
    bar = bar_of(row, k, guess, space)
    count = reaching(row, bar, lane_count(len(row), k), space)
    return keep(space.found, space.places, count, k, space.scratch, indices, values), bar


@inner()
def keep(found: F32, places: I32, count: Whole, k: int, scratch: F32, indices: I32, values: F32) -> Whole:
    """Of count candidates by rising place, the k largest, ties to the lower place."""
    if count <= k:
        for place in range(count):
            indices[place] = places[place]
            values[place] = found[place]
        return count
    for place in range(count):
        scratch[place] = found[place]
    bar = kth_largest(scratch, count, k)
    equal = k
    for place in range(count):
        equal -= 1 if found[place] > bar else 0
    kept = 0
    for place in range(count):
        value = found[place]
        if value > bar or (value == bar and equal > 0):
            equal -= 1 if value == bar else 0
            indices[kept] = places[place]
            values[kept] = value
            kept += 1
    return kept
