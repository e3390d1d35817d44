"""The engine on the CPU."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.trainer.sae.kernels import BETA1, BETA2, F32, I64, Factors, Plan, screening, stepping
from services.trainer.sae.kernels.threads import set_threads, spread

_EMPTY = np.empty(0, dtype=np.int32)


def room(*shape: int) -> F32:
    """Zeros (float32) that begin at a cache line: a row's vector loads don't cross lines then."""
    size = math.prod(shape)
    raw = np.zeros(size + 16, dtype=np.float32)
    first = -(raw.ctypes.data // 4) % 16
    return raw[first : first + size].reshape(shape)


def zero_moments(n: int, d: int) -> stepping.Moments:
    """Moments before the first step."""
    return stepping.Moments(room(n, d), room(n), room(n, d), room(d), room(n), room(n), room(n), room(1))


class NumbaEngine:
    """Training on the CPU."""

    name = "numba"
    device = "cpu"

    def __init__(self, plan: Plan, state: Mapping[str, NDArray[Any]], screened: bool | None = None) -> None:
        """`screened`: whether by screening; None for where it pays."""
        set_threads(plan.threads)
        self._plan = plan
        self._sae = stepping.Sae(*(room(*state[name].shape) for name in stepping.Sae._fields))
        for name in stepping.Sae._fields:
            getattr(self._sae, name)[...] = state[name]
        n, d = self._sae.W_enc.shape
        self._moments = zero_moments(n, d)
        for name in stepping.Moments._fields:
            if name in state:
                getattr(self._moments, name)[...] = state[name]
        wanted = screening.pays(n, d) if screened is None else screened
        self._screen = screening.screen_for(n, d, plan.scope == "row" and wanted)
        spread(screening.take_tiles, len(self._screen.panels), self._sae.W_enc, self._screen)
        self._ends = np.array(plan.ends, dtype=np.int32)
        self._weights = np.array(plan.weights, dtype=np.float32)
        self._starts = np.empty(n + 1, dtype=np.int32)
        self._by_b_dec = room(stepping.CHUNKS, d)
        self._squares = np.empty(stepping.CHUNKS, dtype=np.float64)
        self._floor = 0.0
        self._shape = (0, -1)

    def forward(self, pool: F32, picked: I64, batch_rows: int, dead: NDArray[np.int32]) -> Factors:
        plan, rows, d = self._plan, len(picked), pool.shape[1]
        k_aux = min(plan.k_aux, len(dead)) if plan.aux_coefficient > 0 else 0
        dead = dead if k_aux else _EMPTY
        losses = stepping.Losses(
            self._ends, self._weights, dead, self._sae.W_enc[dead], k_aux, plan.aux_coefficient, batch_rows
        )
        if self._shape != (rows, k_aux):
            self._make_room(rows, d, k_aux)
            self._shape = (rows, k_aux)
        slots, centered, residuals, block = self._slots, self._centered, self._residuals, self._block
        sums = np.empty((-(-rows // block), 4), dtype=np.float64)
        bar = 0.0
        if plan.scope == "row":
            stepping.forward_rows(
                pool, picked, self._sae, self._screen, self._desk, plan.k, losses, block, self._workspace, slots,
                self._begins, self._counts, centered, residuals, sums,
            )  # fmt: skip
        else:
            pre = np.empty((rows, plan.latents), dtype=np.float32)
            stepping.score(pool, picked, self._sae, block, centered, pre)
            begins, bar = self._choose(pre, slots)
            stepping.forward_chosen(
                begins[:-1], np.diff(begins), rows * plan.k, self._sae, losses, block, slots, centered, residuals, sums
            )
        loss, unexplained, total, revived = sums.sum(axis=0)
        active = stepping.filled(slots.indices[: rows * plan.k])
        return Factors(
            {**slots._asdict(), "residuals": residuals, "centered": centered},
            rows,
            float(loss + plan.aux_coefficient * revived) / (batch_rows * d),
            float(unexplained),
            float(total),
            active,
            bar,
        )

    def _make_room(self, rows: int, d: int, k_aux: int) -> None:
        """Arrays for factors, filled anew by each forward, and what they are made in."""
        plan = self._plan
        size = rows * (plan.k + k_aux)
        self._block = stepping.block_for(rows, plan.threads, self._screen)
        self._desk = screening.desk_for(plan.threads, self._block, plan.latents, d)
        self._workspace = room(plan.threads, self._block * screening.padded(plan.latents))
        self._begins = plan.k * np.arange(rows)
        self._counts = np.zeros(rows, dtype=np.int64)
        self._slots = stepping.Slots(
            np.empty(size, dtype=np.int32),
            np.empty(size, dtype=np.float32),
            np.zeros(size, dtype=np.int32),
            np.empty(size, dtype=np.float32),
        )
        self._centered = room(rows, d)
        self._residuals = room(len(self._ends) + bool(k_aux), rows, d)
        self._order = np.empty(size, dtype=np.int32)

    def _choose(self, pre: F32, slots: stepping.Slots) -> tuple[I64, float]:
        """The B·k largest positive of all rows, ties to the lower row and latent; where each row's begin."""
        rows, wanted = len(pre), len(pre) * self._plan.k
        counts = np.empty(rows, dtype=np.int64)
        stepping.count_above(pre, self._sae.b_enc, np.float32(self._floor), counts)
        if counts.sum() < wanted and self._floor > 0:
            self._floor = 0.0
            stepping.count_above(pre, self._sae.b_enc, np.float32(0.0), counts)
        begins = np.concatenate([[0], np.cumsum(counts)])
        indices = np.empty(begins[-1], dtype=np.int32)
        values = np.empty(begins[-1], dtype=np.float32)
        stepping.take_above(pre, self._sae.b_enc, np.float32(self._floor), begins, indices, values)
        slots.indices[: rows * self._plan.k] = -1
        if len(values) > wanted:
            bar = np.partition(values, len(values) - wanted)[len(values) - wanted]
            keep = values > bar
            keep[np.flatnonzero(values == bar)[: wanted - int(keep.sum())]] = True
            begins = np.concatenate([[0], np.cumsum(keep)])[begins]
            indices, values = indices[keep], values[keep]
        slots.indices[: len(indices)] = indices
        slots.values[: len(values)] = values
        least = float(values.min()) if len(values) else 0.0
        self._floor = 0.8 * least  # next time only what may be taken is looked at
        return begins, least

    def join(self, parts: list[Factors]) -> Factors:
        rows = sum(part.rows for part in parts)
        residuals = np.concatenate([part.arrays["residuals"] for part in parts], axis=1)
        sources: list[NDArray[np.int32]] = []
        first = 0
        for part in parts:
            prefix, row = np.divmod(part.arrays["sources"], np.int32(part.rows))
            sources.append(prefix * np.int32(rows) + row + np.int32(first))
            first += part.rows
        # Main slots of all parts come first, then AuxK's: each latent's sum runs in the order of one batch.
        main = [part.rows * self._plan.k for part in parts]

        def lay(arrays: list[NDArray[Any]]) -> NDArray[Any]:
            heads = [array[:size] for array, size in zip(arrays, main, strict=True)]
            tails = [array[size:] for array, size in zip(arrays, main, strict=True)]
            return np.concatenate([*heads, *tails])

        slots = {name: lay([part.arrays[name] for part in parts]) for name in ("indices", "values", "gradients")}
        return Factors(
            {
                **slots,
                "sources": lay(list(sources)),
                "residuals": residuals,
                "centered": np.concatenate([part.arrays["centered"] for part in parts]),
            },
            rows,
            sum(part.loss for part in parts),
            sum(part.unexplained for part in parts),
            sum(part.total for part in parts),
            sum(part.active for part in parts),
            min(part.bar for part in parts),
        )

    def update(self, factors: Factors, rate: float, step: int, marks: I64, moment: int) -> float:
        slots = stepping.Slots(*(factors.arrays[name] for name in stepping.Slots._fields))
        residuals, centered = factors.arrays["residuals"], factors.arrays["centered"]
        flat = residuals.reshape(-1, residuals.shape[2])
        order = self._order if len(self._order) == len(slots.indices) else np.empty(len(slots.indices), dtype=np.int32)
        stepping.by_latent(slots.indices, self._starts, order, factors.rows * self._plan.k, marks, moment)
        rates = stepping.Rates(rate / (1 - BETA1**step), 1 / (1 - BETA2**step), BETA1, BETA2, self._plan.gradient_clip)
        latents = len(self._starts) - 1
        size = stepping.chunk_size(latents, self._screen)
        chunks = -(-latents // size)
        self._by_b_dec[chunks:], self._squares[chunks:] = 0.0, 0.0
        stepping.update(
            size, order, self._starts, slots, flat, centered, self._sae, self._screen, self._moments, rates,
            self._by_b_dec, self._squares,
        )  # fmt: skip
        moments = self._moments
        stepping.move_b_dec(
            self._by_b_dec, residuals[0], self._sae.b_dec, moments.first_b_dec, moments.second_b_dec, rates
        )
        return float(np.sqrt(self._squares.sum()))

    def state(self) -> dict[str, NDArray[Any]]:
        return {**self._sae._asdict(), **self._moments._asdict()}
