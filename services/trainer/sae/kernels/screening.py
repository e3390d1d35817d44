"""Which latents may be among a row's k largest, by 8-bit integers; float32 decides.

With x̂ and ŵ the nearest multiples of a vector's and a latent's own step, |x·w − x̂·ŵ| ≤ |x − x̂|·|w| + |x̂|·|w − ŵ|
(Cauchy and Schwarz), and all four lengths are known. So x̂·ŵ, which integers give exactly, bounds a pre-activation from
above; what cannot reach the k-th largest that was found needs no product of its own. What can, two for each of k on
real embeddings, is multiplied in float32: the result is the exact Top-K, and no value in it comes from integers.

The instruction is AVX-512 VNNI's VPDPBUSD: 64 products of bytes in the time of 16 of float32. Where the processor has
none, pre-activations are computed by BLAS.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from services.trainer.sae.kernels.compiling import inner, kernel
from services.trainer.sae.kernels.products import FAST, dots
from services.trainer.sae.kernels.selecting import (
    F32,
    I32,
    TINY,
    Real,
    Space,
    Whole,
    bar_of,
    keep,
    kth_largest,
    lane_count,
    reaching,
)

AVAILABLE = bool(llvmlite.binding.get_host_cpu_features().get("avx512vnni"))
TILE_ROWS, TILE_VECTORS, LANES = 8, 3, 16
"""What is summed in registers at once: 24 of the 32 hold sums."""
WIDTH = TILE_VECTORS * LANES
"""Latents of a tile."""
WIDEST_MARGIN = 2.0
"""In standard deviations of a random pre-activation: beyond it too many latents may be among the k."""


class Screen(NamedTuple):
    """The encoder in bytes: four weights of a latent to a word (tiles, words, WIDTH), and for each latent (n,) the
    step, the length of its row, and that of what rounding left. Without tiles there is no screening."""

    panels: I32
    steps: F32
    lengths: F32
    errors: F32


class Desk(NamedTuple):
    """Working space of each thread: a block's rows in bytes (threads, rows, 4 · words); for each row (threads, rows)
    the step, the length, that of what rounding left, and what the sums are too high by; a latent's mean length and
    error (threads, 2); a row's bounds (threads, n); and latents that may be among the k, those with a high bound and
    those with a lower one, with their values (threads, n + 8)."""

    bytes: NDArray[np.int8]
    steps: F32
    lengths: F32
    errors: F32
    shifts: I32
    latent: F32
    bounds: F32
    high: I32
    high_values: F32
    low: I32
    low_values: F32


def pays(n: int, d: int) -> bool:
    """Whether screening n latents of d weights is faster than BLAS, on this machine."""
    return AVAILABLE and n * d > 1 << 17


def screen_for(n: int, d: int, wanted: bool) -> Screen:
    """Room for n latents of d weights; without tiles if it isn't wanted."""
    tiles = -(-n // WIDTH) if wanted else 0
    panels = np.zeros(tiles * _words(d) * WIDTH + 16, dtype=np.int32)
    first = -(panels.ctypes.data // 4) % 16
    panels = panels[first : first + tiles * _words(d) * WIDTH].reshape(tiles, _words(d), WIDTH)
    return Screen(panels, *(np.zeros(n, dtype=np.float32) for _ in range(3)))


def desk_for(threads: int, rows: int, n: int, d: int) -> Desk:
    """Room for each thread's blocks of at most so many rows, a multiple of TILE_ROWS."""

    def floats(width: int) -> F32:
        return np.empty((threads, width), dtype=np.float32)

    def integers(width: int) -> I32:
        return np.empty((threads, width), dtype=np.int32)

    return Desk(
        bytes=np.zeros((threads, rows, 4 * _words(d)), dtype=np.int8),
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
    """Sums that `score` writes for each row."""
    return -(-n // WIDTH) * WIDTH


def _words(d: int) -> int:
    return -(-d // 4)


def _sum_tile(
    _typing: Any, rows: Any, row_bytes: Any, panel: Any, sums: Any, sums_bytes: Any, words: Any
) -> tuple[Any, Any]:
    """Addresses of TILE_ROWS rows of signed bytes and of a panel of unsigned ones → their products' sums."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: list[Any]) -> Any:
        if not AVAILABLE:  # nobody calls it then: there are no panels
            return context.get_dummy_value()
        rows, row_bytes, panel, sums, sums_bytes, words = arguments
        word, size = ir.IntType(32), ir.IntType(64)
        vector = ir.VectorType(word, LANES)
        multiply = builder.module.declare_intrinsic(
            "llvm.x86.avx512.vpdpbusd.512", (), ir.FunctionType(vector, [vector] * 3)
        )
        before = builder.block
        loop, after = builder.append_basic_block("words"), builder.append_basic_block("sums")
        begins = [builder.add(rows, builder.mul(row_bytes, size(row))) for row in range(TILE_ROWS)]
        builder.branch(loop)
        builder.position_at_end(loop)
        place = builder.phi(size)
        totals = [[builder.phi(vector) for _ in range(TILE_VECTORS)] for _ in range(TILE_ROWS)]
        column = builder.add(panel, builder.mul(place, size(4 * WIDTH)))
        weights = [
            builder.load(builder.inttoptr(builder.add(column, size(4 * LANES * each)), vector.as_pointer()), align=64)
            for each in range(TILE_VECTORS)
        ]
        nowhere, first = ir.Constant(vector, ir.Undefined), ir.Constant(vector, [0] * LANES)
        added: list[list[Any]] = []
        for row in range(TILE_ROWS):
            address = builder.add(begins[row], builder.mul(place, size(4)))
            one = builder.load(builder.inttoptr(address, word.as_pointer()), align=4)
            spread = builder.shuffle_vector(builder.insert_element(nowhere, one, word(0)), nowhere, first)
            added.append(
                [builder.call(multiply, [totals[row][each], weights[each], spread]) for each in range(TILE_VECTORS)]
            )
        following = builder.add(place, size(1))
        for row in range(TILE_ROWS):
            for each in range(TILE_VECTORS):
                totals[row][each].add_incoming(ir.Constant(vector, [0] * LANES), before)
                totals[row][each].add_incoming(added[row][each], loop)
        place.add_incoming(size(0), before)
        place.add_incoming(following, loop)
        builder.cbranch(builder.icmp_signed("<", following, words), loop, after)
        builder.position_at_end(after)
        for row in range(TILE_ROWS):
            for each in range(TILE_VECTORS):
                address = builder.add(sums, builder.add(builder.mul(sums_bytes, size(row)), size(64 * each)))
                builder.store(added[row][each], builder.inttoptr(address, vector.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 6), generate


_tile: Any = intrinsic(_sum_tile)


@inner(fastmath=FAST)
def _round(vector: F32, into: NDArray[np.int8]) -> tuple[Real, Real, Real, int]:
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
        into[:] = 0
        return np.float32(0.0), np.sqrt(square), np.sqrt(square), 0
    step, inverse = top / np.float32(127.0), np.float32(127.0) / top
    total, half = np.int32(0), np.float32(0.5)
    for column in range(len(vector)):
        value = vector[column]
        nearest = np.int32(value * inverse + (half if value > 0.0 else -half))
        into[column] = nearest
        total = np.int32(total + nearest)  # numba's sums are of 64 bits else
        rest = value - np.float32(nearest) * step
        left += rest * rest
    return step, np.sqrt(square), np.sqrt(left), total  # pyright: ignore[reportReturnType]


@inner()
def take(latent: int, weights: F32, screen: Screen, tile: NDArray[np.int8]) -> None:
    """Takes over a latent's weights (d,): step and lengths, and its bytes, for `lay`, into tile (WIDTH, 4 · words)."""
    step, length, error, _total = _round(weights, tile[latent % WIDTH])
    # A thousandth more than was computed, in float32, is more than it is.
    screen.steps[latent] = step
    screen.lengths[latent] = length * np.float32(1.001)
    screen.errors[latent] = error * np.float32(1.001)


@inner()
def lay(latent: int, screen: Screen, tile: NDArray[np.int8]) -> None:
    """Lays a latent's bytes into its panel. Done for all of a tile at once: their words share cache lines."""
    words = tile[latent % WIDTH].view(np.int32)
    for word in range(len(words)):
        # 128 more for each byte, which makes it unsigned
        screen.panels[latent // WIDTH, word, latent % WIDTH] = words[word] ^ np.int32(-2139062144)


@kernel()
def take_tiles(_thread: int, first: int, end: int, weights: F32, screen: Screen) -> None:
    """Takes over these tiles' weights, of (n, d)."""
    for each in range(first, end):
        tile = np.zeros((WIDTH, 4 * screen.panels.shape[1]), dtype=np.int8)
        for latent in range(each * WIDTH, min(len(weights), (each + 1) * WIDTH)):
            take(latent, weights[latent], screen, tile)
            lay(latent, screen, tile)


@inner()
def _round_rows(centered: F32, desk: Desk, thread: int) -> tuple[Real, Real]:
    """Lays the rows (B, d) on the desk; returns the sums of their lengths and of what rounding left of them."""
    lengths, errors = np.float32(0.0), np.float32(0.0)
    slack = np.float32((centered.shape[1] + 16) * 2.0**-22)  # what sums in float32 lose
    for row in range(len(centered)):
        step, length, left, total = _round(centered[row], desk.bytes[thread, row])
        error = np.float32(1.001) * left + slack * length
        desk.steps[thread, row], desk.shifts[thread, row] = step, np.int32(128) * total
        desk.lengths[thread, row], desk.errors[thread, row] = np.float32(1.001) * (length + left), error
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
def score(centered: F32, screen: Screen, desk: Desk, thread: int, sums: I32, widest: Real) -> bool:
    """Products of a block's rows (B, d) with all latents, in integers (rows, padded(n)), and what `choose` needs of the
    rows; nothing, and False, where margins are wider than `widest`."""
    lengths, left = _round_rows(centered, desk, thread)
    norms, errors = _sum(screen.lengths), _sum(screen.errors)
    # Of a row and a latent of mean lengths, in standard deviations of their product, were they random.
    margin = (left * norms + lengths * errors) * np.sqrt(np.float32(centered.shape[1]))
    if not margin <= np.float32(widest) * lengths * norms:
        return False
    desk.latent[thread, 0], desk.latent[thread, 1] = norms / len(screen.lengths), errors / len(screen.lengths)
    tiles, words = screen.panels.shape[:2]
    rows, panels, result = desk.bytes[thread].ctypes.data, screen.panels.ctypes.data, sums.ctypes.data
    for tile in range(tiles):
        for row in range(0, len(centered), TILE_ROWS):
            place = (row * tiles + tile) * WIDTH * 4
            _tile(
                rows + row * words * 4, words * 4, panels + tile * words * WIDTH * 4, result + place, tiles * WIDTH * 4,
                words,
            )  # fmt: skip
    return True


@inner(fastmath=FAST)
def _bound(
    sums: I32, shift: Real, step: Real, length: Real, error: Real, bias: F32, screen: Screen, into: F32
) -> None:  # fmt: skip
    """Upper bounds of a row's pre-activations (n,)."""
    for latent in range(len(into)):
        product = step * np.float32(sums[latent] - shift) * screen.steps[latent]
        margin = error * screen.lengths[latent] + length * screen.errors[latent]
        own = bias[latent]
        into[latent] = product + margin + own + np.float32(2.0**-21) * abs(own)


@inner()
def _multiply(matrix: F32, bias: F32, vector: F32, latents: I32, count: Whole, values: F32) -> None:
    """Pre-activations of so many latents, into values; both have room for seven more.

    Eight are multiplied at a time, the last ones filled up: so that a value's bits don't depend on its place.
    """
    for place in range(count, count + 7):
        latents[place] = latents[0]
    dots(values, matrix, latents, vector, np.int64(0), (count + 7) // 8 * 8)
    for place in range(count):
        values[place] += bias[latents[place]]


@inner()
def choose(
    row: int, vector: F32, sums: I32, W_enc: F32, bias: F32, screen: Screen, desk: Desk, thread: int, k: int,
    guess: Real, space: Space, indices: I32, values: F32,
) -> tuple[Whole, Real]:  # fmt: skip
    """As `select_row`, for a row of the block that was scored: vector (d,), its sums (padded(n),)."""
    bounds, length, error = desk.bounds[thread], desk.lengths[thread, row], desk.errors[thread, row]
    _bound(sums, desk.shifts[thread, row], desk.steps[thread, row], length, error, bias, screen, bounds)
    bar = bar_of(bounds, k, guess, space)
    found, places = space.found, space.places
    # The k-th largest value of those whose bounds reach the bar is at most the k-th largest of all. As bounds lie above
    # values by about a margin, what reaches it is likely to be found in one go.
    margin = error * desk.latent[thread, 0] + length * desk.latent[thread, 1]
    floor = max(np.float32(bar - np.float32(1.3) * margin), TINY)
    high, high_values = desk.high[thread], desk.high_values[thread]
    low, low_values = desk.low[thread], desk.low_values[thread]
    while True:
        count = reaching(bounds, floor, lane_count(len(bounds), k), space)
        first = np.uint32(0)
        for place in range(count):
            high[first] = places[place]
            first += np.uint32(found[place] >= bar)
        _multiply(W_enc, bias, vector, high, np.int64(first), high_values)
        lowest = TINY
        if first >= k:
            space.scratch[:first] = high_values[:first]
            lowest = max(kth_largest(space.scratch, np.int64(first), k), TINY)
        if lowest >= floor or floor <= TINY:
            break
        floor = lowest
    second = np.uint32(0)
    for place in range(count):
        low[second] = places[place]
        second += np.uint32((found[place] < bar) & (found[place] >= lowest))
    _multiply(W_enc, bias, vector, low, np.int64(second), low_values)
    kept, from_high, from_low = np.int64(0), 0, 0
    for place in range(count):
        value = np.float32(0.0)
        if found[place] >= bar:
            value = high_values[from_high]
            from_high += 1
        elif found[place] >= lowest:
            value = low_values[from_low]
            from_low += 1
        if value >= lowest:
            places[kept], found[kept] = places[place], value
            kept += 1
    return keep(found, places, kept, k, space.scratch, indices, values), bar
