"""The CPU's kernels for the update of a training step, in numba: gradients are summed and at once move the weights.

Latents are cut into chunks. Each latent's gradients are summed from its slots and used in the same place, so that no
gradient of n x d exists. A chunk belongs to one thread, and does not depend on which.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from services.trainer.sae.kernels import screening
from services.trainer.sae.kernels.compiling import inner, kernel, prange
from services.trainer.sae.kernels.dtypes import F32, F64, I32, I64, Integer, Real
from services.trainer.sae.kernels.forward import Sae, Slots
from services.trainer.sae.kernels.products import FAST, squared_norm
from services.trainer.sae.kernels.screening import Screen
from services.trainer.sae.kernels.vnni import WIDTH

CHUNKS = 64
"""Parts that the latents are cut into."""


class Moments(NamedTuple):
    """Adam's moments: first ones like the parameters; second ones one per latent, (n,), and one for b_dec, (1,)."""

    first_W_enc: F32  # noqa: N815
    first_b_enc: F32
    first_W_dec: F32  # noqa: N815
    first_b_dec: F32
    second_W_enc: F32  # noqa: N815
    second_b_enc: F32
    second_W_dec: F32  # noqa: N815
    second_b_dec: F32


class Rates(NamedTuple):
    """An update's numbers."""

    rate: float
    """Learning rate over the first moment's bias correction."""
    correction: float
    """Inverse of the second moment's bias correction."""
    beta1: float
    """Decay of the first moment."""
    beta2: float
    """Decay of the second moment."""
    clip: float
    """Largest norm of a latent's gradient: a longer one is scaled down to it."""


@kernel()
def sort_by_latent(indices: I32, starts: I32, order: I32, main: int, marks: I64, moment: int) -> None:
    """Sorts the filled slots by latent, then place, into order (S,), and into starts (n + 1,) where each latent begins.

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
def _adam(
    weights: F32, gradient: F32, first: F32, second: F32, latent: Integer, square: Real, clip: Real, rates: Rates
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
def _update_latent(
    latent: int, by_bias: Real, by_dec: F32, by_enc: F32, sae: Sae, moments: Moments, rates: Rates, shift: F32
) -> Real:  # fmt: skip
    """Moves one latent, and adds its part of b_dec's gradient to shift (d,); returns the gradients' squared norm."""
    d = len(by_dec)
    row = sae.W_enc[latent]
    for column in range(d):
        shift[column] -= by_bias * row[column]
    dec, enc = squared_norm(by_dec), squared_norm(by_enc)
    square = dec + enc + by_bias * by_bias
    clip = np.float32(rates.clip) / np.sqrt(square) if square > rates.clip * rates.clip else np.float32(1.0)
    _adam(sae.W_enc, by_enc, moments.first_W_enc, moments.second_W_enc, latent, enc, clip, rates)
    norm = _adam(sae.W_dec, by_dec, moments.first_W_dec, moments.second_W_dec, latent, dec, clip, rates)
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
    return -(-size // WIDTH) * WIDTH if len(screen.panels) else size


@kernel(parallel=True, fastmath=FAST)
def update_latents(
    size: int, order: I32, starts: I32, slots: Slots, residuals: F32, centered: F32, sae: Sae, screen: Screen,
    moments: Moments, rates: Rates, by_b_dec: F32, result: F64,
) -> None:  # fmt: skip
    """Moves the latents that have a gradient; the others and their moments stay as they are.

    They are taken in chunks of `size`. residuals is flat, (P·B or more, d). by_b_dec (CHUNKS, d) gets what the
    encoder's side of b_dec's gradient is made of, −Σ ∂b_enc · W_enc; result (CHUNKS,) the gradients' squared norm
    before clipping.
    """
    n, d = sae.W_enc.shape
    screened = len(screen.panels) > 0
    for chunk in prange((n + size - 1) // size):
        by_dec, by_enc = np.empty(d, dtype=np.float32), np.empty(d, dtype=np.float32)
        tile = np.zeros((WIDTH, 4 * screen.panels.shape[1]), dtype=np.int8)
        shift = by_b_dec[chunk]
        shift[:] = 0.0
        result[chunk] = 0.0
        for begin in range(chunk * size, min(n, (chunk + 1) * size), WIDTH):
            end = min(n, begin + WIDTH, (chunk + 1) * size)
            for latent in range(begin, end):
                if starts[latent] == starts[latent + 1]:
                    continue
                by_bias = _gradient(latent, order, starts, slots, residuals, centered, sae, by_dec, by_enc)
                result[chunk] += _update_latent(latent, by_bias, by_dec, by_enc, sae, moments, rates, shift)
                if screened:
                    screening.quantise(latent, sae.W_enc[latent], screen, tile)
            if screened:
                for latent in range(begin, end):
                    if starts[latent] < starts[latent + 1]:
                        screening.pack(latent, screen, tile)


@kernel(fastmath=FAST)
def update_b_dec(by_b_dec: F32, residuals: F32, b_dec: F32, first: F32, second: F32, rates: Rates) -> None:
    """Moves b_dec (d,), by the parts of its gradient from `update_latents` (CHUNKS, d) and from the residuals (B, d).

    The gradient is clipped; Adam has one second moment for all of it, as for a latent.
    """
    d = len(b_dec)
    gradient = np.zeros(d, dtype=np.float32)
    for row in range(len(residuals)):
        for column in range(d):
            gradient[column] += residuals[row, column]
    for chunk in range(len(by_b_dec)):
        for column in range(d):
            gradient[column] += by_b_dec[chunk, column]
    square = squared_norm(gradient)
    clip = np.float32(rates.clip) / np.sqrt(square) if square > rates.clip * rates.clip else np.float32(1.0)
    _adam(b_dec.reshape((1, d)), gradient, first.reshape((1, d)), second, np.int64(0), square, clip, rates)
