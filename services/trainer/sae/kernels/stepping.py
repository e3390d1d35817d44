"""The CPU's kernels for a training step, in numba.

Only k of n latents are active, so all but the encoder product costs 8·B·k·d. A batch is cut into blocks of rows: each
is taken by one thread from the vectors to the gradients of its codes, with the block's pre-activations in its cache
and never all of them in memory. Then the latents are cut into chunks: each latent's gradients are summed, and at once
used to move its weights, so that no gradient of n x d exists.

Blocks and chunks do not depend on which thread takes them, and no sum is split between threads.

Inside a parallel loop numba takes a write to an array of a named tuple for dead code: such writes stand in functions of
their own.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba.np.ufunc import get_thread_id
from numpy.typing import NDArray

from services.trainer.sae.kernels import screening
from services.trainer.sae.kernels.compiling import inner, kernel, prange
from services.trainer.sae.kernels.products import FAST, add_rows, dots
from services.trainer.sae.kernels.screening import Desk, Screen
from services.trainer.sae.kernels.selecting import F32, I32, Real, Space, Whole, select_row, space_for

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
CHUNKS = 64
"""Parts that the latents are cut into."""


class Sae(NamedTuple):
    """The autoencoder's arrays: W_enc (n, d), b_enc (n,), W_dec (n, d), b_dec, mean and scale (d,)."""

    W_enc: F32
    b_enc: F32
    W_dec: F32
    b_dec: F32
    mean: F32
    scale: F32


class Slots(NamedTuple):
    """Active latents of a batch (S,): which (−1: an empty slot), their values, the rows of residuals that they
    explain, and the gradients of the loss by the values."""

    indices: I32
    values: F32
    sources: I32
    gradients: F32


class Losses(NamedTuple):
    """What is summed into the loss: nested prefixes of the latents (P,), their weights (P,), the dead latents (m,) that
    AuxK revives, how many of them a row may use, its weight, and the rows of the whole batch that losses are means
    over; W_dead (m, d) are the dead latents' rows of W_enc. P is 1 but for Matryoshka."""

    ends: I32
    weights: F32
    dead: I32
    W_dead: F32
    k_aux: int
    aux: float
    rows: int


@inner(fastmath=FAST)
def _square(vector: F32) -> Real:
    total = np.float32(0.0)
    for column in range(len(vector)):
        total += vector[column] * vector[column]
    return total


@inner(fastmath=FAST)
def _explain(row: int, centered: F32, sae: Sae, slots: Slots, count: int, losses: Losses, residuals: F32) -> Real:
    """Leaves x̂ − x of each prefix in residuals[:P, row]; returns Σ over prefixes of weight · |x̂ − x|²."""
    batch, d = centered.shape
    prefixes = len(losses.ends)
    left = residuals[prefixes - 1, row]
    for column in range(d):
        left[column] = -centered[row, column]
    loss = 0.0
    slot = np.int64(0)
    for prefix in range(prefixes):
        first = slot
        while slot < count and slots.indices[slot] < losses.ends[prefix]:
            slots.sources[slot] = prefix * batch + row
            slot += 1
        add_rows(left, sae.W_dec, slots.indices, slots.values, first, slot)
        loss += losses.weights[prefix] * _square(left)
        if prefix < prefixes - 1:
            residuals[prefix, row] = left
    return loss


@inner(fastmath=FAST)
def _revive(row: int, dead_pre: F32, sae: Sae, slots: Slots, losses: Losses, residuals: F32, space: Space) -> Real:
    """AuxK: dead latents explain what the live ones left, x − x̂, held fixed; returns |ê − e|².

    dead_pre (m,) are their pre-activations, without b_enc, which is added. residuals[P, row] gets the gradient by ê,
    scaled; slots are the row's own for AuxK.
    """
    batch, d = residuals.shape[1:]
    prefixes = len(losses.ends)
    for place in range(len(dead_pre)):
        dead_pre[place] += sae.b_enc[losses.dead[place]]
    count, _bar = select_row(dead_pre, losses.k_aux, np.float32(0.0), space, slots.indices, slots.values)
    for slot in range(losses.k_aux):
        slots.indices[slot] = losses.dead[slots.indices[slot]] if slot < count else -1
        slots.sources[slot] = prefixes * batch + row
    left = residuals[prefixes, row]
    left[:] = residuals[prefixes - 1, row]
    add_rows(left, sae.W_dec, slots.indices, slots.values, np.int64(0), count)
    square = _square(left)
    scale = np.float32(2.0 * losses.aux / (losses.rows * d))
    for column in range(d):
        left[column] *= scale
    dots(slots.gradients, sae.W_dec, slots.indices, left, np.int64(0), count)
    return square


@inner(fastmath=FAST)
def _carry_back(row: int, sae: Sae, slots: Slots, count: int, losses: Losses, residuals: F32) -> None:
    """Makes gradients of what `_explain` left, summed over all prefixes that hold a latent, and of the codes."""
    d = residuals.shape[2]
    slot = count
    for prefix in range(len(losses.ends) - 1, -1, -1):
        own = residuals[prefix, row]
        scale = np.float32(2.0 / (losses.rows * d)) * losses.weights[prefix]
        for column in range(d):
            own[column] *= scale
        if prefix < len(losses.ends) - 1:
            wider = residuals[prefix + 1, row]
            for column in range(d):
                own[column] += wider[column]
        last = slot
        begin = losses.ends[prefix - 1] if prefix else 0
        while slot > 0 and slots.indices[slot - 1] >= begin:
            slot -= 1
        dots(slots.gradients, sae.W_dec, slots.indices, own, slot, last)


@inner(fastmath=FAST)
def _row(
    row: int, dead_pre: F32, begin: int, count: int, aux_begin: int, sae: Sae, slots: Slots, losses: Losses,
    centered: F32, residuals: F32, space: Space, sums: F64,
) -> None:  # fmt: skip
    """All of a row after its latents were chosen: slots from `begin` on, AuxK's from `aux_begin`."""
    own = Slots(slots.indices[begin:], slots.values[begin:], slots.sources[begin:], slots.gradients[begin:])
    sums[0] += _explain(row, centered, sae, own, count, losses, residuals)
    error = residuals[len(losses.ends) - 1, row]
    left, total = np.float32(0.0), np.float32(0.0)
    for column in range(centered.shape[1]):
        a = error[column] * sae.scale[column]
        b = (centered[row, column] + sae.b_dec[column]) * sae.scale[column]
        left += a * a
        total += b * b
    sums[1] += left
    sums[2] += total
    if len(losses.dead):
        mine = Slots(
            slots.indices[aux_begin:], slots.values[aux_begin:], slots.sources[aux_begin:], slots.gradients[aux_begin:]
        )
        sums[3] += _revive(row, dead_pre, sae, mine, losses, residuals, space)
    _carry_back(row, sae, own, count, losses, residuals)


@inner(fastmath=FAST)
def _finish(
    begin: int, end: int, begins: I64, counts: I64, aux_begin: int, sae: Sae, slots: Slots, losses: Losses,
    centered: F32, residuals: F32, space: Space, sums: F64,
) -> None:  # fmt: skip
    """All of a block of rows after their latents were chosen: each row's slots from begins[row] on, counts[row] of
    them; AuxK's from aux_begin + row · k_aux on. sums (4,) gets the block's."""
    sums[:] = 0.0
    dead_pre = np.dot(centered[begin:end], losses.W_dead.T)
    for row in range(begin, end):
        _row(
            row, dead_pre[row - begin], begins[row], counts[row], aux_begin + row * losses.k_aux, sae, slots, losses,
            centered, residuals, space, sums,
        )  # fmt: skip


@inner(fastmath=FAST)
def _center(pool: F32, picked: I64, begin: int, end: int, sae: Sae, centered: F32) -> None:
    for row in range(begin, end):
        vector = pool[picked[row]]
        for column in range(len(vector)):
            centered[row, column] = (vector[column] - sae.mean[column]) / sae.scale[column] - sae.b_dec[column]


@inner()
def choose_rows(
    centered: F32, rows: int, sae: Sae, screen: Screen, desk: Desk, widest: Real, thread: int, workspace: F32, k: int,
    space: Space, indices: I32, values: F32, counts: I64,
) -> None:  # fmt: skip
    """The k largest positive of the first rows of centered (b, d): into indices and values (rows · k,), unused ones −1,
    and how many into counts (rows,). workspace holds b · n pre-activations, or the sums that stand for them."""
    n = len(sae.b_enc)
    guess = np.float32(0.0)
    if len(screen.panels) and screening.score(centered, screen, desk, thread, workspace.view(np.int32), widest):
        stride = screen.panels.shape[0] * screen.panels.shape[2]
        sums = workspace.view(np.int32)[: rows * stride].reshape((rows, stride))
        for row in range(rows):
            counts[row], guess = screening.choose(
                row, centered[row], sums[row], sae.W_enc, sae.b_enc, screen, desk, thread, k, guess, space,
                indices[row * k :], values[row * k :],
            )  # fmt: skip
    else:
        pre = workspace[: len(centered) * n].reshape((len(centered), n))
        np.dot(centered, sae.W_enc.T, pre)
        for row in range(rows):
            own = pre[row]
            for latent in range(n):
                own[latent] += sae.b_enc[latent]
            counts[row], guess = select_row(own, k, guess, space, indices[row * k :], values[row * k :])
    for row in range(rows):
        for slot in range(row * k + counts[row], (row + 1) * k):
            indices[slot] = -1


def block_for(rows: int, threads: int, screen: Screen) -> int:
    """Rows of a block: all threads have some, and BLAS enough at once; integers' sums should stay in the cache."""
    least, most = (screening.TILE_ROWS, 64) if len(screen.panels) else (64, 256)
    wanted = min(max(-(-rows // threads), least), most)
    return -(-wanted // screening.TILE_ROWS) * screening.TILE_ROWS


@kernel(parallel=True, fastmath=FAST)
def forward_rows(
    pool: F32, picked: I64, sae: Sae, screen: Screen, desk: Desk, k: int, losses: Losses, block: int, workspace: F32,
    slots: Slots, begins: I64, counts: I64, centered: F32, residuals: F32, sums: F64,
) -> None:  # fmt: skip
    """Codes of a batch by exact Top-K of each row, its loss, and all that the gradients are made of.

    pool (M, d) holds raw vectors, picked (B,) says which are the batch. Of the slots the first B·k are the rows', the
    next B·k_aux AuxK's; begins (B,) says where each row's begin, counts (B,) gets how many are filled. centered (B, d)
    gets x − b_dec, residuals (P + 1, B, d) the gradients by the reconstructions. sums (blocks, 4) gets loss,
    Σ|s(x̂ − x)|², Σ|s·x|² and Σ|ê − e|² of each block; workspace is (threads, block · n or more).
    """
    batch = len(picked)
    for part in prange((batch + block - 1) // block):
        begin, end = part * block, min(batch, (part + 1) * block)
        thread = get_thread_id()
        _center(pool, picked, begin, end, sae, centered)
        space = space_for(len(sae.b_enc), max(k, losses.k_aux))
        choose_rows(
            centered[begin:end], end - begin, sae, screen, desk, screening.WIDEST_MARGIN, thread, workspace[thread], k,
            space, slots.indices[begin * k :], slots.values[begin * k :], counts[begin:end],
        )  # fmt: skip
        _finish(begin, end, begins, counts, batch * k, sae, slots, losses, centered, residuals, space, sums[part])


@kernel(parallel=True, fastmath=FAST)
def score(pool: F32, picked: I64, sae: Sae, block: int, centered: F32, pre: F32) -> None:
    """Pre-activations (B, n) of a batch, without b_enc, for codes that are chosen among all rows."""
    batch = len(picked)
    for part in prange((batch + block - 1) // block):
        begin, end = part * block, min(batch, (part + 1) * block)
        _center(pool, picked, begin, end, sae, centered)
        np.dot(centered[begin:end], sae.W_enc.T, pre[begin:end])


@kernel(parallel=True)
def count_above(pre: F32, bias: F32, bar: Real, counts: I64) -> None:
    """counts (B,): how many of each row of pre + bias (B, n) lie above the bar."""
    for row in prange(len(pre)):
        count = 0
        for latent in range(len(bias)):
            count += 1 if pre[row, latent] + bias[latent] > bar else 0
        counts[row] = count


@kernel(parallel=True)
def take_above(pre: F32, bias: F32, bar: Real, begins: I64, indices: I32, values: F32) -> None:
    """Those above the bar, each row's from begins[row] on, by rising index."""
    for row in prange(len(pre)):
        place = begins[row]
        for latent in range(len(bias)):
            value = pre[row, latent] + bias[latent]
            if value > bar:
                indices[place] = latent
                values[place] = value
                place += 1


@kernel(parallel=True, fastmath=FAST)
def forward_chosen(
    begins: I64, counts: I64, aux_begin: int, sae: Sae, losses: Losses, block: int,
    slots: Slots, centered: F32, residuals: F32, sums: F64,
) -> None:  # fmt: skip
    """As forward_rows, after codes were chosen: counts[row] slots of each row from begins[row] on."""
    batch = len(counts)
    for part in prange((batch + block - 1) // block):
        begin, end = part * block, min(batch, (part + 1) * block)
        space = space_for(max(len(losses.dead), 1), max(losses.k_aux, 1))
        _finish(begin, end, begins, counts, aux_begin, sae, slots, losses, centered, residuals, space, sums[part])


@kernel()
def by_latent(indices: I32, starts: I32, order: I32, main: int, marks: I64, moment: int) -> None:
    """The filled slots by latent, then place, into order (S,); where each latent begins, into starts (n + 1,).

    Sets the marks (n,) of the latents in the first `main` slots to `moment`.
    """
    n = len(starts) - 1
    starts[:] = 0
    for slot in range(len(indices)):
        latent = indices[slot]
        if latent >= 0:
            starts[latent + 1] += 1
            if slot < main:
                marks[latent] = moment
    for latent in range(n):
        starts[latent + 1] += starts[latent]
    for slot in range(len(indices)):
        latent = indices[slot]
        if latent >= 0:
            order[starts[latent]] = slot
            starts[latent] += 1
    for latent in range(n, 0, -1):
        starts[latent] = starts[latent - 1]
    starts[0] = 0


@kernel()
def filled(indices: I32) -> int:
    """Slots that hold a latent."""
    count = 0
    for slot in range(len(indices)):
        count += 1 if indices[slot] >= 0 else 0
    return count


class Moments(NamedTuple):
    """Adam's moments: first ones like the parameters; second ones one a latent, (n,), and one for b_dec, (1,)."""

    first_W_enc: F32  # noqa: N815
    first_b_enc: F32
    first_W_dec: F32  # noqa: N815
    first_b_dec: F32
    second_W_enc: F32  # noqa: N815
    second_b_enc: F32
    second_W_dec: F32  # noqa: N815
    second_b_dec: F32


class Rates(NamedTuple):
    """An update's numbers: learning rate over the first moment's correction, inverse of the second's, decays of both,
    and the largest norm of a latent's gradient: a longer one is scaled down to it."""

    rate: float
    correction: float
    beta1: float
    beta2: float
    clip: float


@inner(fastmath=FAST)
def _gradient(
    latent: int, order: I32, starts: I32, slots: Slots, residuals: F32, centered: F32, sae: Sae, by_dec: F32,
    by_enc: F32,
) -> Real:  # fmt: skip
    """Gradients by the latent's rows of W_dec (d,), without its part along the row, and W_enc (d,); returns b_enc's."""
    batch, d = centered.shape
    by_bias = np.float32(0.0)
    by_dec[:] = 0.0
    by_enc[:] = 0.0
    place, last = starts[latent], starts[latent + 1]
    while place + 4 <= last:
        a, b, c, e = order[place], order[place + 1], order[place + 2], order[place + 3]
        f, g, h, i = slots.sources[a], slots.sources[b], slots.sources[c], slots.sources[e]
        p, q, r, s = slots.values[a], slots.values[b], slots.values[c], slots.values[e]
        t, u, v, w = residuals[f], residuals[g], residuals[h], residuals[i]
        for column in range(d):
            by_dec[column] += p * t[column] + q * u[column] + r * v[column] + s * w[column]
        p, q, r, s = slots.gradients[a], slots.gradients[b], slots.gradients[c], slots.gradients[e]
        t, u, v, w = centered[f % batch], centered[g % batch], centered[h % batch], centered[i % batch]
        for column in range(d):
            by_enc[column] += p * t[column] + q * u[column] + r * v[column] + s * w[column]
        by_bias += p + q + r + s
        place += 4
    while place < last:
        a = order[place]
        p, q = slots.values[a], slots.gradients[a]
        t, u = residuals[slots.sources[a]], centered[slots.sources[a] % batch]
        for column in range(d):
            by_dec[column] += p * t[column]
            by_enc[column] += q * u[column]
        by_bias += q
        place += 1
    unit = sae.W_dec[latent]
    along = np.float32(0.0)
    for column in range(d):
        along += by_dec[column] * unit[column]
    for column in range(d):
        by_dec[column] -= along * unit[column]
    return by_bias  # pyright: ignore[reportReturnType]  # a number: numpy's types think it may be an array


@inner(fastmath=FAST)
def _move(
    weights: F32, gradient: F32, first: F32, second: F32, latent: Whole, square: Real, clip: Real, rates: Rates
) -> Real:  # fmt: skip
    """Adam with one second moment for the row; returns the row's new squared norm."""
    d = len(gradient)
    beta1, beta2 = np.float32(rates.beta1), np.float32(rates.beta2)
    one = np.float32(1.0)
    second[latent] = beta2 * second[latent] + (one - beta2) * clip * clip * square / np.float32(d)
    rate = np.float32(rates.rate) / (np.sqrt(second[latent] * np.float32(rates.correction)) + np.float32(1e-8))
    own, moment = weights[latent], first[latent]
    fresh = (one - beta1) * clip
    total = np.float32(0.0)
    for column in range(d):
        m = beta1 * moment[column] + fresh * gradient[column]
        moment[column] = m
        w = own[column] - rate * m
        own[column] = w
        total += w * w
    return total


@inner(fastmath=FAST)
def _move_latent(
    latent: int, by_bias: Real, by_dec: F32, by_enc: F32, sae: Sae, moments: Moments, rates: Rates, shift: F32
) -> Real:  # fmt: skip
    """Moves one latent, and adds its part of b_dec's gradient to shift (d,); returns the gradients' squared norm."""
    d = len(by_dec)
    row = sae.W_enc[latent]
    for column in range(d):
        shift[column] -= by_bias * row[column]
    dec, enc = _square(by_dec), _square(by_enc)
    square = dec + enc + by_bias * by_bias
    clip = np.float32(rates.clip) / np.sqrt(square) if square > rates.clip * rates.clip else np.float32(1.0)
    _move(sae.W_enc, by_enc, moments.first_W_enc, moments.second_W_enc, latent, enc, clip, rates)
    norm = _move(sae.W_dec, by_dec, moments.first_W_dec, moments.second_W_dec, latent, dec, clip, rates)
    if norm > 0.0:
        unit, inverse = sae.W_dec[latent], np.float32(1.0) / np.sqrt(norm)
        for column in range(d):
            unit[column] *= inverse
    gradient = clip * by_bias
    beta1, beta2, one = np.float32(rates.beta1), np.float32(rates.beta2), np.float32(1.0)
    first = beta1 * moments.first_b_enc[latent] + (one - beta1) * gradient
    second = beta2 * moments.second_b_enc[latent] + (one - beta2) * gradient * gradient
    moments.first_b_enc[latent], moments.second_b_enc[latent] = first, second
    root = np.sqrt(second * np.float32(rates.correction)) + np.float32(1e-8)
    sae.b_enc[latent] -= np.float32(rates.rate) * first / root
    return square


def chunk_size(n: int, screen: Screen) -> int:
    """Latents of a chunk: whole tiles, where there are any."""
    size = -(-n // CHUNKS)
    return -(-size // screening.WIDTH) * screening.WIDTH if len(screen.panels) else size


@kernel(parallel=True, fastmath=FAST)
def update(
    size: int, order: I32, starts: I32, slots: Slots, residuals: F32, centered: F32, sae: Sae, screen: Screen,
    moments: Moments, rates: Rates, by_b_dec: F32, result: F64,
) -> None:  # fmt: skip
    """Moves the latents that have a gradient; the others rest, their moments too.

    They are taken in chunks of `size`. residuals is flat, (P·B or more, d). by_b_dec (CHUNKS, d) gets what the
    encoder's side of b_dec's gradient is made of, −Σ ∂b_enc · W_enc; result (CHUNKS,) the gradients' squared norm
    before clipping.
    """
    n, d = sae.W_enc.shape
    screened = len(screen.panels) > 0
    for chunk in prange((n + size - 1) // size):
        by_dec, by_enc = np.empty(d, dtype=np.float32), np.empty(d, dtype=np.float32)
        tile = np.zeros((screening.WIDTH, 4 * screen.panels.shape[1]), dtype=np.int8)
        shift = by_b_dec[chunk]
        shift[:] = 0.0
        result[chunk] = 0.0
        for begin in range(chunk * size, min(n, (chunk + 1) * size), screening.WIDTH):
            end = min(n, begin + screening.WIDTH, (chunk + 1) * size)
            for latent in range(begin, end):
                if starts[latent] == starts[latent + 1]:
                    continue
                by_bias = _gradient(latent, order, starts, slots, residuals, centered, sae, by_dec, by_enc)
                result[chunk] += _move_latent(latent, by_bias, by_dec, by_enc, sae, moments, rates, shift)
                if screened:
                    screening.take(latent, sae.W_enc[latent], screen, tile)
            if screened:
                for latent in range(begin, end):
                    if starts[latent] < starts[latent + 1]:
                        screening.lay(latent, screen, tile)


@kernel(fastmath=FAST)
def move_b_dec(by_b_dec: F32, residuals: F32, b_dec: F32, first: F32, second: F32, rates: Rates) -> None:
    """Moves b_dec (d,), by the parts of its gradient that `update` left (CHUNKS, d) and the residuals of all latents
    (B, d): clipped, by Adam with one second moment for all of it, as a latent has."""
    d = len(b_dec)
    gradient = np.zeros(d, dtype=np.float32)
    for row in range(len(residuals)):
        for column in range(d):
            gradient[column] += residuals[row, column]
    for chunk in range(len(by_b_dec)):
        for column in range(d):
            gradient[column] += by_b_dec[chunk, column]
    square = _square(gradient)
    clip = np.float32(rates.clip) / np.sqrt(square) if square > rates.clip * rates.clip else np.float32(1.0)
    _move(b_dec.reshape((1, d)), gradient, first.reshape((1, d)), second, np.int64(0), square, clip, rates)
