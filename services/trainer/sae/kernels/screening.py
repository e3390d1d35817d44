"""Which latents may be among a row's k largest, by 8-bit integers; float32 decides.

With x̂ and ŵ the nearest multiples of a vector's and a latent's own step, |x·w − x̂·ŵ| ≤ |x − x̂|·|w| + |x̂|·|w − ŵ|
(Cauchy and Schwarz), and all four lengths are known. So x̂·ŵ, which integers give exactly, bounds a pre-activation from
above; a latent whose bound does not reach the k-th largest needs no product of its own. The others, two for each of k
on real embeddings, are multiplied in float32: the result is the exact Top-K, and no value in it comes from integers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from services.trainer.sae.kernels.compiling import inner, kernel
from services.trainer.sae.kernels.dtypes import F32, I8, I32, Integer, Real
from services.trainer.sae.kernels.products import FAST, copy_numbers, dots
from services.trainer.sae.kernels.selecting import (
    TINY,
    Space,
    collect,
    keep_largest,
    kth_largest,
    lane_count,
    lower_threshold,
)
from services.trainer.sae.kernels.vnni import AVAILABLE, TILE_ROWS, WIDTH, sum_products, word_count

WIDEST_MARGIN = 2.0
"""In standard deviations of a random pre-activation: beyond it too many latents may be among the k."""


class Screen(NamedTuple):
    """The encoder in bytes, for n latents. Without tiles there is no screening."""

    panels: I32
    """Four weights of a latent to a word: (tiles, words, WIDTH)."""
    steps: F32
    """Of which each latent's bytes are multiples, (n,)."""
    lengths: F32
    """Of each latent's row of the encoder, (n,)."""
    errors: F32
    """Length of what rounding left of it, (n,)."""


class Scratch(NamedTuple):
    """Working space of each thread, for a block of rows."""

    bytes: I8
    """The rows in bytes, (threads, rows, 4 · words)."""
    steps: F32
    """Of which each row's bytes are multiples, (threads, rows)."""
    lengths: F32
    """Of each row, (threads, rows)."""
    errors: F32
    """Length of what rounding left of it, (threads, rows)."""
    shifts: I32
    """What a row's sums are too high by, since the latents' bytes are unsigned, (threads, rows)."""
    latent: F32
    """A latent's mean length and error, (threads, 2)."""
    bounds: F32
    """Upper bounds of a row's pre-activations, (threads, n)."""
    high: I32
    """Latents that may be among the k, with a high bound, (threads, n + 8)."""
    high_values: F32
    """Their pre-activations, (threads, n + 8)."""
    low: I32
    """Latents that may be among the k, with a lower bound, (threads, n + 8)."""
    low_values: F32
    """Their pre-activations, (threads, n + 8)."""


def pays(n: int, d: int) -> bool:
    """Whether screening n latents of d weights is faster than BLAS, on this machine."""
    return AVAILABLE and n * d > 1 << 17


def screen_for(n: int, d: int, screened: bool) -> Screen:
    """Zeros for n latents of d weights; without tiles if they are not screened."""
    tiles = -(-n // WIDTH) if screened else 0
    panels = np.zeros(tiles * word_count(d) * WIDTH + 16, dtype=np.int32)
    first = -(panels.ctypes.data // 4) % 16
    panels = panels[first : first + tiles * word_count(d) * WIDTH].reshape(tiles, word_count(d), WIDTH)
    return Screen(panels, *(np.zeros(n, dtype=np.float32) for _ in range(3)))


def scratch_for(threads: int, rows: int, n: int, d: int) -> Scratch:
    """Working space for blocks of at most so many rows, a multiple of TILE_ROWS."""

    def floats(width: int) -> F32:
        return np.empty((threads, width), dtype=np.float32)

    def integers(width: int) -> I32:
        return np.empty((threads, width), dtype=np.int32)

    return Scratch(
        bytes=np.zeros((threads, rows, 4 * word_count(d)), dtype=np.int8),
        steps=floats(rows),
        lengths=floats(rows),
        errors=floats(rows),
        shifts=integers(rows),
        latent=floats(2),
        bounds=floats(n),
        high=integers(n + 8),
        high_values=floats(n + 8),
        low=integers(n + 8),
        low_values=floats(n + 8),
    )


def padded(n: int) -> int:
    """Sums that `sum_block` writes for each row."""
    return -(-n // WIDTH) * WIDTH


@inner(fastmath=FAST)
def _quantise(vector: F32, quantised: I8) -> tuple[Real, Real, Real, int]:
    """The vector (d,) as multiples of a step; the step, the vector's length, that of what is left, and the sum."""
    square, left = np.float32(0.0), np.float32(0.0)
    highest, bits = np.int32(0), vector.view(np.int32)
    for column in range(len(vector)):
        square += vector[column] * vector[column]
        # Positive floats are ordered as their bits are, and a largest integer, unlike a float, is found by vectors.
        size = np.int32(bits[column] & np.int32(0x7FFFFFFF))
        highest = size if size > highest else highest
    top = np.int32(highest).view(np.float32)
    if not top > 1e-30:
        quantised[:] = 0
        return np.float32(0.0), np.sqrt(square), np.sqrt(square), 0
    step, inverse = top / np.float32(127.0), np.float32(127.0) / top
    total, half = np.int32(0), np.float32(0.5)
    for column in range(len(vector)):
        value = vector[column]
        nearest = np.int32(value * inverse + (half if value > 0.0 else -half))
        quantised[column] = nearest
        total = np.int32(total + nearest)  # otherwise numba sums in 64 bits
        rest = value - np.float32(nearest) * step
        left += rest * rest
    return step, np.sqrt(square), np.sqrt(left), total  # pyright: ignore[reportReturnType]


@inner()
def quantise(latent: int, weights: F32, screen: Screen, tile: I8) -> None:
    """A latent's weights (d,): step and lengths into the screen, bytes into tile (WIDTH, 4 · words), for `pack`."""
    step, length, error, _total = _quantise(weights, tile[latent % WIDTH])
    # A thousandth more than was computed, in float32, is more than it is.
    screen.steps[latent] = step
    screen.lengths[latent] = length * np.float32(1.001)
    screen.errors[latent] = error * np.float32(1.001)


@inner()
def pack(latent: int, screen: Screen, tile: I8) -> None:
    """Copies a latent's bytes into its panel. Done for all of a tile together: their words share cache lines."""
    words = tile[latent % WIDTH].view(np.int32)
    for word in range(len(words)):
        # 128 more for each byte, which makes it unsigned
        screen.panels[latent // WIDTH, word, latent % WIDTH] = words[word] ^ np.int32(-2139062144)


@kernel()
def quantise_tiles(_thread: int, first: int, end: int, weights: F32, screen: Screen) -> None:
    """The weights (n, d) of these tiles, into the screen."""
    for tile in range(first, end):
        rows = np.zeros((WIDTH, 4 * screen.panels.shape[1]), dtype=np.int8)
        for latent in range(tile * WIDTH, min(len(weights), (tile + 1) * WIDTH)):
            quantise(latent, weights[latent], screen, rows)
            pack(latent, screen, rows)


@inner()
def _quantise_rows(centered: F32, scratch: Scratch, thread: int) -> tuple[Real, Real]:
    """Quantises the rows (B, d); returns the sums of their lengths and of the lengths of what rounding left."""
    lengths, errors = np.float32(0.0), np.float32(0.0)
    slack = np.float32((centered.shape[1] + 16) * 2.0**-22)  # what sums in float32 lose
    for row in range(len(centered)):
        step, length, left, total = _quantise(centered[row], scratch.bytes[thread, row])
        error = np.float32(1.001) * left + slack * length
        scratch.steps[thread, row], scratch.shifts[thread, row] = step, np.int32(128) * total
        scratch.lengths[thread, row], scratch.errors[thread, row] = np.float32(1.001) * (length + left), error
        lengths += length
        errors += error
    return lengths, errors


@inner(fastmath=FAST)
def _sum(vector: F32) -> Real:
    total = np.float32(0.0)
    for place in range(len(vector)):
        total += vector[place]
    return total


@inner()
def sum_block(centered: F32, screen: Screen, scratch: Scratch, thread: int, sums: I32, widest: Real) -> bool:
    """Products of a block's rows (B, d) with all latents, in integers (B, padded(n)), for `select_screened`.

    False, and no products, where margins are wider than `widest`.
    """
    lengths, left = _quantise_rows(centered, scratch, thread)
    norms, errors = _sum(screen.lengths), _sum(screen.errors)
    # Of a row and a latent of mean lengths, in standard deviations of their product, were they random.
    margin = (left * norms + lengths * errors) * np.sqrt(np.float32(centered.shape[1]))
    if not margin <= np.float32(widest) * lengths * norms:
        return False
    scratch.latent[thread, 0], scratch.latent[thread, 1] = norms / len(screen.lengths), errors / len(screen.lengths)
    rows = (len(centered) + TILE_ROWS - 1) // TILE_ROWS * TILE_ROWS
    sum_products(scratch.bytes[thread, :rows], screen.panels, sums)
    return True


@inner(fastmath=FAST)
def _bound(
    sums: I32, shift: Real, step: Real, length: Real, error: Real, bias: F32, screen: Screen, bounds: F32
) -> None:  # fmt: skip
    """Upper bounds of a row's pre-activations (n,)."""
    for latent in range(len(bounds)):
        product = step * np.float32(sums[latent] - shift) * screen.steps[latent]
        margin = error * screen.lengths[latent] + length * screen.errors[latent]
        own = bias[latent]
        bounds[latent] = product + margin + own + np.float32(2.0**-21) * abs(own)


@inner()
def _multiply(matrix: F32, bias: F32, vector: F32, latents: I32, count: Integer, values: F32) -> None:
    """Pre-activations of so many latents, into values; both have space for seven more.

    Eight are multiplied at a time, the last ones filled up: so that a value's bits don't depend on its place.
    """
    for place in range(count, count + 7):
        latents[place] = latents[0]
    dots(values, matrix, latents, vector, np.int64(0), (count + 7) // 8 * 8)
    for place in range(count):
        values[place] += bias[latents[place]]


@inner()
def select_screened(
    row: int, vector: F32, sums: I32, W_enc: F32, bias: F32, screen: Screen, scratch: Scratch, thread: int, k: int,
    guess: Real, space: Space, indices: I32, values: F32,
) -> tuple[Integer, Real]:  # fmt: skip
    """As `select_row`, for a row of the block that was summed: vector (d,), its sums (padded(n),)."""
    bounds, length, error = scratch.bounds[thread], scratch.lengths[thread, row], scratch.errors[thread, row]
    _bound(sums, scratch.shifts[thread, row], scratch.steps[thread, row], length, error, bias, screen, bounds)
    threshold = lower_threshold(bounds, k, guess, space)
    candidates, places = space.values, space.places
    # The k-th largest value of those whose bounds reach the threshold is at most the k-th largest of all. As bounds lie
    # above values by about a margin, one pass is likely to collect all that reach it.
    margin = error * scratch.latent[thread, 0] + length * scratch.latent[thread, 1]
    floor = max(np.float32(threshold - np.float32(1.3) * margin), TINY)
    high, high_values = scratch.high[thread], scratch.high_values[thread]
    low, low_values = scratch.low[thread], scratch.low_values[thread]
    while True:
        count = collect(bounds, floor, lane_count(len(bounds), k), space)
        first = np.uint32(0)
        for place in range(count):
            high[first] = places[place]
            first += np.uint32(candidates[place] >= threshold)
        _multiply(W_enc, bias, vector, high, np.int64(first), high_values)
        lowest = TINY
        if first >= k:
            copy_numbers(space.scratch, high_values, np.int64(first))
            lowest = max(kth_largest(space.scratch, np.int64(first), k), TINY)
        if lowest >= floor or floor <= TINY:
            break
        floor = lowest
    second = np.uint32(0)
    for place in range(count):
        low[second] = places[place]
        second += np.uint32((candidates[place] < threshold) & (candidates[place] >= lowest))
    _multiply(W_enc, bias, vector, low, np.int64(second), low_values)
    size, from_high, from_low = np.int64(0), 0, 0
    for place in range(count):
        value = np.float32(0.0)
        if candidates[place] >= threshold:
            value = high_values[from_high]
            from_high += 1
        elif candidates[place] >= lowest:
            value = low_values[from_low]
            from_low += 1
        if value >= lowest:
            places[size], candidates[size] = places[place], value
            size += 1
    return keep_largest(candidates, places, size, k, space.scratch, indices, values), threshold
