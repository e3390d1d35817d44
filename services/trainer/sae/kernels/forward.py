"""The CPU's kernels for the forward pass of a training step, in numba: codes, loss, and what gradients are made of.

Only k of n latents are active, so all but the encoder product costs 8·B·k·d. A batch is cut into blocks of rows: a
thread takes each from the vectors to the gradients of its codes, with the block's pre-activations in its cache and
never all of them in memory. `reference.py` has the same mathematics without any of this.

Blocks do not depend on which thread takes them, and no sum is split between threads. Inside a parallel loop numba takes
a write to an array of a named tuple for dead code: such writes stand in functions of their own.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba.np.ufunc import get_thread_id

from services.trainer.sae.kernels import screening
from services.trainer.sae.kernels.compiling import inner, kernel, prange
from services.trainer.sae.kernels.dtypes import F32, F64, I32, I64, Real
from services.trainer.sae.kernels.products import FAST, add_rows, copy_numbers, dots, squared_norm
from services.trainer.sae.kernels.screening import Scratch, Screen
from services.trainer.sae.kernels.selecting import Space, select_row, space_for
from services.trainer.sae.kernels.vnni import TILE_ROWS


class Sae(NamedTuple):
    """The autoencoder's arrays."""

    W_enc: F32
    """(n, d)."""
    b_enc: F32
    """(n,)."""
    W_dec: F32
    """(n, d), of norm 1 by row."""
    b_dec: F32
    """(d,)."""
    mean: F32
    """(d,): a vector v is normalised to (v − mean) / scale."""
    scale: F32
    """(d,)."""


class Slots(NamedTuple):
    """Active latents of a batch, (S,)."""

    indices: I32
    """Which latent; −1: an empty slot."""
    values: F32
    """Its activation."""
    sources: I32
    """The row of the flat residuals (P·B or more, d) that it explains."""
    gradients: F32
    """Of the loss by its activation."""


class Losses(NamedTuple):
    """What is summed into the loss. P, the number of nested prefixes of the latents, is 1 but for Matryoshka."""

    ends: I32
    """Of the prefixes, (P,)."""
    weights: F32
    """Of their losses, (P,)."""
    dead: I32
    """The dead latents that AuxK revives, (m,)."""
    W_dead: F32
    """Their rows of W_enc, (m, d)."""
    k_aux: int
    """How many of them a row may use."""
    aux: float
    """Weight of AuxK's loss."""
    rows: int
    """Of the whole batch, which losses are means over."""


@inner(fastmath=FAST)
def _reconstruct(row: int, centered: F32, sae: Sae, slots: Slots, count: int, losses: Losses, residuals: F32) -> Real:
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
        loss += losses.weights[prefix] * squared_norm(left)
        if prefix < prefixes - 1:
            copy_numbers(residuals[prefix, row], left, len(left))
    return loss


@inner(fastmath=FAST)
def _reconstruct_from_dead(
    row: int, dead_pre: F32, sae: Sae, slots: Slots, losses: Losses, residuals: F32, space: Space
) -> Real:
    """AuxK: dead latents reconstruct what the live ones left, e = x − x̂, held fixed; returns |ê − e|².

    dead_pre (m,) are their pre-activations, without b_enc, which is added. residuals[P, row] gets the gradient by ê,
    scaled; slots are the row's own for AuxK.
    """
    batch, d = residuals.shape[1:]
    prefixes = len(losses.ends)
    for place in range(len(dead_pre)):
        dead_pre[place] += sae.b_enc[losses.dead[place]]
    count, _threshold = select_row(dead_pre, losses.k_aux, np.float32(0.0), space, slots.indices, slots.values)
    for slot in range(losses.k_aux):
        slots.indices[slot] = losses.dead[slots.indices[slot]] if slot < count else -1
        slots.sources[slot] = prefixes * batch + row
    left = residuals[prefixes, row]
    copy_numbers(left, residuals[prefixes - 1, row], d)
    add_rows(left, sae.W_dec, slots.indices, slots.values, np.int64(0), count)
    square = squared_norm(left)
    scale = np.float32(2.0 * losses.aux / (losses.rows * d))
    for column in range(d):
        left[column] *= scale
    dots(slots.gradients, sae.W_dec, slots.indices, left, np.int64(0), count)
    return square


@inner(fastmath=FAST)
def _backward(row: int, sae: Sae, slots: Slots, count: int, losses: Losses, residuals: F32) -> None:
    """Turns what `_reconstruct` left into gradients: by reconstructions, summed over all prefixes, and by codes."""
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
def _forward_row(
    row: int, dead_pre: F32, begin: int, count: int, aux_begin: int, sae: Sae, slots: Slots, losses: Losses,
    centered: F32, residuals: F32, space: Space, sums: F64,
) -> None:  # fmt: skip
    """All of a row after its latents were selected: slots from `begin` on, AuxK's from `aux_begin`."""
    own = Slots(slots.indices[begin:], slots.values[begin:], slots.sources[begin:], slots.gradients[begin:])
    sums[0] += _reconstruct(row, centered, sae, own, count, losses, residuals)
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
        auxiliary = Slots(
            slots.indices[aux_begin:], slots.values[aux_begin:], slots.sources[aux_begin:], slots.gradients[aux_begin:]
        )
        sums[3] += _reconstruct_from_dead(row, dead_pre, sae, auxiliary, losses, residuals, space)
    _backward(row, sae, own, count, losses, residuals)


@inner(fastmath=FAST)
def _forward_block(
    begin: int, end: int, begins: I64, counts: I64, aux_begin: int, sae: Sae, slots: Slots, losses: Losses,
    centered: F32, residuals: F32, space: Space, sums: F64,
) -> None:  # fmt: skip
    """All of a block of rows after their latents were selected: each row's slots from begins[row] on, counts[row] of
    them; AuxK's from aux_begin + row · k_aux on. sums (4,) gets the block's."""
    sums[:] = 0.0
    dead_pre = np.dot(centered[begin:end], losses.W_dead.T)
    for row in range(begin, end):
        _forward_row(
            row, dead_pre[row - begin], begins[row], counts[row], aux_begin + row * losses.k_aux, sae, slots, losses,
            centered, residuals, space, sums,
        )  # fmt: skip


@inner(fastmath=FAST)
def _center(pool: F32, positions: I64, begin: int, end: int, sae: Sae, centered: F32) -> None:
    for row in range(begin, end):
        vector = pool[positions[row]]
        for column in range(len(vector)):
            centered[row, column] = (vector[column] - sae.mean[column]) / sae.scale[column] - sae.b_dec[column]


@inner()
def select_rows(
    centered: F32, rows: int, sae: Sae, screen: Screen, scratch: Scratch, widest: Real, thread: int, workspace: F32,
    k: int, space: Space, indices: I32, values: F32, counts: I64,
) -> None:  # fmt: skip
    """The k largest positive of the first rows of centered (b, d): into indices and values (rows · k,), unused ones −1,
    and how many into counts (rows,). workspace holds b · n pre-activations, or the sums that stand for them."""
    n = len(sae.b_enc)
    if len(screen.panels) and screening.sum_block(centered, screen, scratch, thread, workspace.view(np.int32), widest):
        guess = np.float32(0.0)
        stride = screen.panels.shape[0] * screen.panels.shape[2]
        sums = workspace.view(np.int32)[: rows * stride].reshape((rows, stride))
        for row in range(rows):
            counts[row], guess = screening.select_screened(
                row, centered[row], sums[row], sae.W_enc, sae.b_enc, screen, scratch, thread, k, guess, space,
                indices[row * k :], values[row * k :],
            )  # fmt: skip
    else:
        pre = workspace[: len(centered) * n].reshape((len(centered), n))
        np.dot(centered, sae.W_enc.T, pre)
        select_largest(pre, rows, sae.b_enc, k, space, indices, values, counts)
    clear_unused(rows, k, indices, counts)


@inner()
def select_largest(
    pre: F32, rows: int, bias: F32, k: int, space: Space, indices: I32, values: F32, counts: I64
) -> None:
    """The k largest positive of the first rows of pre + bias (b, n), which is left in pre."""
    guess = np.float32(0.0)
    for row in range(rows):
        own = pre[row]
        for latent in range(len(bias)):
            own[latent] += bias[latent]
        counts[row], guess = select_row(own, k, guess, space, indices[row * k :], values[row * k :])


@inner()
def clear_unused(rows: int, k: int, indices: I32, counts: I64) -> None:
    """Sets the indices behind each row's counted ones to −1."""
    for row in range(rows):
        for slot in range(row * k + counts[row], (row + 1) * k):
            indices[slot] = -1


def block_for(rows: int, threads: int, screen: Screen) -> int:
    """Rows of a block: some for each thread and enough for BLAS at once; sums of integers should stay in the cache."""
    least, most = (TILE_ROWS, 64) if len(screen.panels) else (64, 256)
    size = min(max(-(-rows // threads), least), most)
    return -(-size // TILE_ROWS) * TILE_ROWS


@kernel(parallel=True, fastmath=FAST)
def forward_rows(
    pool: F32, positions: I64, sae: Sae, screen: Screen, scratch: Scratch, k: int, losses: Losses, block: int,
    workspace: F32, slots: Slots, begins: I64, counts: I64, centered: F32, residuals: F32, sums: F64,
) -> None:  # fmt: skip
    """Codes of a batch by exact Top-K of each row, its loss, and all that the gradients are made of.

    pool (M, d) holds raw vectors, positions (B,) where those of the batch are. Of the slots the first B·k are the
    rows', the next B·k_aux AuxK's; begins (B,) says where each row's begin, counts (B,) gets how many are filled.
    centered (B, d) gets x − b_dec, residuals (P + 1, B, d) the gradients by the reconstructions. sums (blocks, 4) gets
    loss, Σ|s(x̂ − x)|², Σ|s·x|² and Σ|ê − e|² of each block; workspace is (threads, block · n or more).
    """
    batch = len(positions)
    for part in prange((batch + block - 1) // block):
        begin, end = part * block, min(batch, (part + 1) * block)
        thread = get_thread_id()
        _center(pool, positions, begin, end, sae, centered)
        space = space_for(len(sae.b_enc), max(k, losses.k_aux))
        select_rows(
            centered[begin:end], end - begin, sae, screen, scratch, screening.WIDEST_MARGIN, thread,
            workspace[thread], k, space, slots.indices[begin * k :], slots.values[begin * k :], counts[begin:end],
        )  # fmt: skip
        _forward_block(
            begin, end, begins, counts, batch * k, sae, slots, losses, centered, residuals, space, sums[part]
        )


@kernel(parallel=True, fastmath=FAST)
def pre_activations(pool: F32, positions: I64, sae: Sae, block: int, centered: F32, pre: F32) -> None:
    """Pre-activations (B, n) of a batch, without b_enc, for codes that are selected among all rows."""
    batch = len(positions)
    for part in prange((batch + block - 1) // block):
        begin, end = part * block, min(batch, (part + 1) * block)
        _center(pool, positions, begin, end, sae, centered)
        np.dot(centered[begin:end], sae.W_enc.T, pre[begin:end])


@kernel(parallel=True)
def count_above(pre: F32, bias: F32, threshold: Real, counts: I64) -> None:
    """counts (B,): how many of each row of pre + bias (B, n) lie above the threshold."""
    for row in prange(len(pre)):
        count = 0
        for latent in range(len(bias)):
            count += 1 if pre[row, latent] + bias[latent] > threshold else 0
        counts[row] = count


@kernel(parallel=True)
def gather_above(pre: F32, bias: F32, threshold: Real, begins: I64, indices: I32, values: F32) -> None:
    """The indices and values above the threshold, of each row from begins[row] on, by rising index."""
    for row in prange(len(pre)):
        place = begins[row]
        for latent in range(len(bias)):
            value = pre[row, latent] + bias[latent]
            if value > threshold:
                indices[place] = latent
                values[place] = value
                place += 1


@kernel(parallel=True, fastmath=FAST)
def forward_selected(
    begins: I64, counts: I64, aux_begin: int, sae: Sae, losses: Losses, block: int,
    slots: Slots, centered: F32, residuals: F32, sums: F64,
) -> None:  # fmt: skip
    """As forward_rows, after codes were selected: counts[row] slots of each row from begins[row] on."""
    batch = len(counts)
    for part in prange((batch + block - 1) // block):
        begin, end = part * block, min(batch, (part + 1) * block)
        space = space_for(max(len(losses.dead), 1), max(losses.k_aux, 1))
        _forward_block(
            begin, end, begins, counts, aux_begin, sae, slots, losses, centered, residuals, space, sums[part]
        )


@kernel()
def count_filled(indices: I32) -> int:
    """Slots that hold a latent."""
    count = 0
    for slot in range(len(indices)):
        count += 1 if indices[slot] >= 0 else 0
    return count
