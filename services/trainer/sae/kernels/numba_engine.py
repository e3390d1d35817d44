"""The engine on the CPU."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from services.trainer.sae.engines import BETA1, BETA2, NO_LATENTS, Factors, Plan
from services.trainer.sae.kernels import forward, screening, update
from services.trainer.sae.kernels.dtypes import F32, F64, I32, I64
from services.trainer.sae.kernels.forward import Losses, Sae, Slots
from services.trainer.sae.kernels.screening import Scratch, Screen
from services.trainer.sae.kernels.threads import set_threads, spread
from services.trainer.sae.kernels.update import CHUNKS, Moments, Rates


def aligned_zeros(*shape: int) -> F32:
    """Zeros (float32) that begin at a cache line: a row's vector loads don't cross lines then."""
    size = math.prod(shape)
    raw = np.zeros(size + 16, dtype=np.float32)
    first = -(raw.ctypes.data // 4) % 16
    return raw[first : first + size].reshape(shape)


@dataclass(frozen=True)
class _Buffers:
    """Arrays for the factors of a batch, overwritten by each forward, and what they are computed in."""

    block: int
    """Rows of a block."""
    scratch: Scratch
    workspace: F32
    """Pre-activations of each thread's block, (threads, block · padded(n))."""
    slots: Slots
    begins: I64
    """Where each row's slots begin, (B,)."""
    counts: I64
    """How many are filled, (B,)."""
    centered: F32
    residuals: F32
    order: I32
    """Of the slots by latent, (S,)."""

    @classmethod
    def of(cls, plan: Plan, screen: Screen, *, rows: int, d: int, k_aux: int) -> _Buffers:
        """For batches of so many rows of d numbers, with so many slots for AuxK in each."""
        size = rows * (plan.k + k_aux)
        block = forward.block_for(rows, plan.threads, screen)
        return cls(
            block=block,
            scratch=screening.scratch_for(plan.threads, block, plan.latents, d),
            workspace=aligned_zeros(plan.threads, block * screening.padded(plan.latents)),
            slots=Slots(
                indices=np.empty(size, dtype=np.int32),
                values=np.empty(size, dtype=np.float32),
                sources=np.zeros(size, dtype=np.int32),
                gradients=np.empty(size, dtype=np.float32),
            ),
            begins=plan.k * np.arange(rows),
            counts=np.zeros(rows, dtype=np.int64),
            centered=aligned_zeros(rows, d),
            residuals=aligned_zeros(len(plan.ends) + bool(k_aux), rows, d),
            order=np.empty(size, dtype=np.int32),
        )


class _Selection(Protocol):
    """The kernels of an activation: codes of a batch, their loss and gradients, into buffers."""

    def forward(self, pool: F32, positions: I64, losses: Losses, buffers: _Buffers, sums: F64) -> float:
        """Fills buffers, and sums (blocks, 4) as `forward.forward_rows` does; returns the least active value or 0."""
        ...


class _RowSelection:
    """The k largest of each row, selected while its block's pre-activations are in the cache."""

    def __init__(self, sae: Sae, screen: Screen, k: int) -> None:
        self._sae = sae
        self._screen = screen
        self._k = k

    def forward(self, pool: F32, positions: I64, losses: Losses, buffers: _Buffers, sums: F64) -> float:
        forward.forward_rows(
            pool, positions, self._sae, self._screen, buffers.scratch, self._k, losses, buffers.block,
            buffers.workspace, buffers.slots, buffers.begins, buffers.counts, buffers.centered, buffers.residuals, sums,
        )  # fmt: skip
        return 0.0


class _BatchSelection:
    """The B·k largest of a batch, from the pre-activations of all its rows."""

    def __init__(self, sae: Sae, k: int) -> None:
        self._sae = sae
        self._k = k
        self._floor = 0.0
        """Values below it are not looked at: they were far from active in the batch before."""

    def forward(self, pool: F32, positions: I64, losses: Losses, buffers: _Buffers, sums: F64) -> float:
        rows = len(positions)
        pre = np.empty((rows, len(self._sae.b_enc)), dtype=np.float32)
        forward.pre_activations(pool, positions, self._sae, buffers.block, buffers.centered, pre)
        begins, least = self._select(pre, buffers.slots)
        forward.forward_selected(
            begins[:-1], np.diff(begins), rows * self._k, self._sae, losses, buffers.block, buffers.slots,
            buffers.centered, buffers.residuals, sums,
        )  # fmt: skip
        return least

    def _select(self, pre: F32, slots: Slots) -> tuple[I64, float]:
        """The B·k largest positive of all rows, ties to the lower row and latent; where each row's begin."""
        rows, most, bias = len(pre), len(pre) * self._k, self._sae.b_enc
        counts = np.empty(rows, dtype=np.int64)
        forward.count_above(pre, bias, np.float32(self._floor), counts)
        if counts.sum() < most and self._floor > 0:
            self._floor = 0.0
            forward.count_above(pre, bias, np.float32(0.0), counts)
        begins = np.concatenate([[0], np.cumsum(counts)])
        indices = np.empty(begins[-1], dtype=np.int32)
        values = np.empty(begins[-1], dtype=np.float32)
        forward.gather_above(pre, bias, np.float32(self._floor), begins, indices, values)
        slots.indices[:most] = -1
        if len(values) > most:
            threshold = np.partition(values, len(values) - most)[len(values) - most]
            keep = values > threshold
            keep[np.flatnonzero(values == threshold)[: most - int(keep.sum())]] = True
            begins = np.concatenate([[0], np.cumsum(keep)])[begins]
            indices, values = indices[keep], values[keep]
        slots.indices[: len(indices)] = indices
        slots.values[: len(values)] = values
        least = float(values.min()) if len(values) else 0.0
        self._floor = 0.8 * least
        return begins, least


class NumbaEngine:
    """Training on the CPU."""

    name = "numba"
    device = "cpu"

    def __init__(self, plan: Plan, state: Mapping[str, NDArray[Any]], screened: bool | None = None) -> None:
        """`screened`: whether by screening; None for where it pays."""
        set_threads(plan.threads)
        self._plan = plan
        self._sae = Sae(*(aligned_zeros(*state[name].shape) for name in Sae._fields))
        for name in Sae._fields:
            getattr(self._sae, name)[...] = state[name]
        n, d = self._sae.W_enc.shape
        self._moments = zero_moments(n, d)
        for name in Moments._fields:
            if name in state:
                getattr(self._moments, name)[...] = state[name]
        pays = screening.pays(n, d) if screened is None else screened
        self._screen = screening.screen_for(n, d, plan.activation.rowwise and pays)
        spread(screening.quantise_tiles, len(self._screen.panels), self._sae.W_enc, self._screen)
        self._selection: _Selection = (
            _RowSelection(self._sae, self._screen, plan.k)
            if plan.activation.rowwise
            else _BatchSelection(self._sae, plan.k)
        )
        self._ends = np.array(plan.ends, dtype=np.int32)
        self._weights = np.array(plan.weights, dtype=np.float32)
        self._starts = np.empty(n + 1, dtype=np.int32)
        self._by_b_dec = aligned_zeros(CHUNKS, d)
        self._squares = np.empty(CHUNKS, dtype=np.float64)
        self._buffers: _Buffers | None = None
        self._buffers_shape: tuple[int, int] | None = None

    def forward(self, pool: F32, positions: I64, batch_rows: int, dead: I32) -> Factors:
        plan, rows, d = self._plan, len(positions), pool.shape[1]
        k_aux = min(plan.k_aux, len(dead)) if plan.aux_coefficient > 0 else 0
        dead = dead if k_aux else NO_LATENTS
        losses = Losses(
            ends=self._ends,
            weights=self._weights,
            dead=dead,
            W_dead=self._sae.W_enc[dead],
            k_aux=k_aux,
            aux=plan.aux_coefficient,
            rows=batch_rows,
        )
        if self._buffers is None or self._buffers_shape != (rows, k_aux):
            self._buffers = _Buffers.of(plan, self._screen, rows=rows, d=d, k_aux=k_aux)
            self._buffers_shape = rows, k_aux
        buffers = self._buffers
        sums = np.empty((-(-rows // buffers.block), 4), dtype=np.float64)
        least = self._selection.forward(pool, positions, losses, buffers, sums)
        loss, unexplained, total, revived = sums.sum(axis=0)
        return Factors(
            **buffers.slots._asdict(),
            residuals=buffers.residuals,
            centered=buffers.centered,
            rows=rows,
            loss=float(loss + plan.aux_coefficient * revived) / (batch_rows * d),
            unexplained=float(unexplained),
            total=float(total),
            active=forward.count_filled(buffers.slots.indices[: rows * plan.k]),
            least=least,
        )

    def concatenate(self, arrays: Sequence[Any], axis: int, /) -> Any:
        return np.concatenate(arrays, axis)

    def update(self, factors: Factors, rate: float, step: int, *, last_active: I64, samples: int) -> float:
        slots = Slots(factors.indices, factors.values, factors.sources, factors.gradients)
        residuals, centered = factors.residuals, factors.centered
        flat = residuals.reshape(-1, residuals.shape[2])
        order = self._order(len(slots.indices))
        update.sort_by_latent(slots.indices, self._starts, order, factors.rows * self._plan.k, last_active, samples)
        rates = Rates(
            rate=rate / (1 - BETA1**step),
            correction=1 / (1 - BETA2**step),
            beta1=BETA1,
            beta2=BETA2,
            clip=self._plan.gradient_clip,
        )
        latents = len(self._starts) - 1
        size = update.chunk_size(latents, self._screen)
        chunks = -(-latents // size)
        self._by_b_dec[chunks:], self._squares[chunks:] = 0.0, 0.0
        update.update_latents(
            size, order, self._starts, slots, flat, centered, self._sae, self._screen, self._moments, rates,
            self._by_b_dec, self._squares,
        )  # fmt: skip
        moments = self._moments
        update.update_b_dec(
            self._by_b_dec, residuals[0], self._sae.b_dec, moments.first_b_dec, moments.second_b_dec, rates
        )
        return float(np.sqrt(self._squares.sum()))

    def _order(self, slots: int) -> I32:
        buffers = self._buffers
        if buffers is not None and len(buffers.order) == slots:
            return buffers.order
        return np.empty(slots, dtype=np.int32)

    def state(self) -> dict[str, NDArray[Any]]:
        return {**self._sae._asdict(), **self._moments._asdict()}


def zero_moments(n: int, d: int) -> Moments:
    """Moments before the first step."""
    return Moments(
        first_W_enc=aligned_zeros(n, d),
        first_b_enc=aligned_zeros(n),
        first_W_dec=aligned_zeros(n, d),
        first_b_dec=aligned_zeros(d),
        second_W_enc=aligned_zeros(n),
        second_b_enc=aligned_zeros(n),
        second_W_dec=aligned_zeros(n),
        second_b_dec=aligned_zeros(1),
    )
