"""CUDA's kernels, in Triton: what is sparse in a step. With TRITON_INTERPRET=1 they run on the CPU, for tests."""

from __future__ import annotations

from typing import Any

import torch
import triton  # pyright: ignore[reportMissingTypeStubs]
import triton.language as tl
from torch import Tensor

from services.trainer.sae.engines import BETA1, BETA2


@triton.jit
def _decode(indices: Any, values: Any, W_dec: Any, result: Any, k: Any, d: Any, BLOCK: tl.constexpr):  # noqa: ANN202
    row = tl.program_id(0)
    columns = tl.arange(0, BLOCK)
    inside = columns < d
    total = tl.zeros([BLOCK], dtype=tl.float32)
    for slot in range(0, k):
        latent = tl.maximum(tl.load(indices + row * k + slot), 0)
        value = tl.load(values + row * k + slot)
        total += value * tl.load(W_dec + latent * d + columns, mask=inside, other=0.0)
    tl.store(result + row * d + columns, total, mask=inside)


def decode(indices: Tensor, values: Tensor, W_dec: Tensor) -> Tensor:
    """Σ value · W_dec[latent]: (B, k), −1 for none, (B, k), 0 there, (n, d) → (B, d)."""
    rows, k = indices.shape
    d = W_dec.shape[1]
    result = torch.empty(rows, d, device=W_dec.device)
    launch: Any = _decode[(rows,)]
    launch(
        indices=indices.contiguous(),
        values=values.contiguous(),
        W_dec=W_dec,
        result=result,
        k=k,
        d=d,
        BLOCK=triton.next_power_of_2(d),
    )
    return result


@triton.jit
def _update(  # noqa: ANN202
    starts: Any, values: Any, sources: Any, gradients: Any, residuals: Any, centered: Any,
    W_enc: Any, b_enc: Any, W_dec: Any, first_W_enc: Any, first_b_enc: Any, first_W_dec: Any,
    second_W_enc: Any, second_b_enc: Any, second_W_dec: Any, squares: Any,
    batch: Any, d: Any, fast: Any, correction: Any, limit: Any,
    beta1: tl.constexpr, beta2: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    latent = tl.program_id(0)
    begin, end = tl.load(starts + latent), tl.load(starts + latent + 1)
    if begin < end:
        columns = tl.arange(0, BLOCK)
        inside = columns < d
        own = latent * d + columns
        by_dec = tl.zeros([BLOCK], dtype=tl.float32)
        by_enc = tl.zeros([BLOCK], dtype=tl.float32)
        by_bias = 0.0
        for place in range(begin, end):
            source = tl.load(sources + place)
            by_code = tl.load(gradients + place)
            by_dec += tl.load(values + place) * tl.load(residuals + source * d + columns, mask=inside, other=0.0)
            by_enc += by_code * tl.load(centered + (source % batch) * d + columns, mask=inside, other=0.0)
            by_bias += by_code
        decoder = tl.load(W_dec + own, mask=inside, other=0.0)
        by_dec -= tl.sum(by_dec * decoder) * decoder
        dec, enc = tl.sum(by_dec * by_dec), tl.sum(by_enc * by_enc)
        square = dec + enc + by_bias * by_bias
        tl.store(squares + latent, square)
        clip = tl.minimum(1.0, limit / tl.sqrt(tl.maximum(square, 1e-38)))
        # W_enc
        second = beta2 * tl.load(second_W_enc + latent) + (1 - beta2) * clip * clip * enc / d
        tl.store(second_W_enc + latent, second)
        first = beta1 * tl.load(first_W_enc + own, mask=inside, other=0.0) + (1 - beta1) * clip * by_enc
        tl.store(first_W_enc + own, first, mask=inside)
        encoder = tl.load(W_enc + own, mask=inside, other=0.0)
        tl.store(W_enc + own, encoder - fast * first / (tl.sqrt(second * correction) + 1e-8), mask=inside)
        # W_dec, brought back to norm 1
        second = beta2 * tl.load(second_W_dec + latent) + (1 - beta2) * clip * clip * dec / d
        tl.store(second_W_dec + latent, second)
        first = beta1 * tl.load(first_W_dec + own, mask=inside, other=0.0) + (1 - beta1) * clip * by_dec
        tl.store(first_W_dec + own, first, mask=inside)
        decoder -= fast * first / (tl.sqrt(second * correction) + 1e-8)
        decoder = decoder / tl.sqrt(tl.maximum(tl.sum(decoder * decoder), 1e-38))
        tl.store(W_dec + own, decoder, mask=inside)
        # b_enc
        by_bias = by_bias * clip
        second = beta2 * tl.load(second_b_enc + latent) + (1 - beta2) * by_bias * by_bias
        tl.store(second_b_enc + latent, second)
        moment = beta1 * tl.load(first_b_enc + latent) + (1 - beta1) * by_bias
        tl.store(first_b_enc + latent, moment)
        bias = tl.load(b_enc + latent)
        tl.store(b_enc + latent, bias - fast * moment / (tl.sqrt(second * correction) + 1e-8))


def update(
    *,
    indices: Tensor,
    values: Tensor,
    sources: Tensor,
    gradients: Tensor,
    residuals: Tensor,
    centered: Tensor,
    tensors: dict[str, Tensor],
    fast: float,
    correction: float,
    limit: float,
) -> Tensor:
    """Sums each latent's gradients from its slots (S,) and moves its weights; returns the gradients' squared norm."""
    n, d = tensors["W_enc"].shape
    order = indices.argsort(stable=True)
    starts = torch.zeros(n + 1, dtype=torch.int64, device=indices.device)
    starts[1:] = torch.bincount(indices, minlength=n).cumsum(0)
    squares = torch.zeros(n, device=indices.device)
    weights = ("W_enc", "b_enc", "W_dec")
    names = [*weights, *(f"first_{name}" for name in weights), *(f"second_{name}" for name in weights)]
    launch: Any = _update[(n,)]
    launch(
        starts=starts,
        values=values[order],
        sources=sources[order],
        gradients=gradients[order],
        residuals=residuals.contiguous(),
        centered=centered,
        **{name: tensors[name] for name in names},
        squares=squares,
        batch=len(centered),
        d=d,
        fast=fast,
        correction=correction,
        limit=limit,
        beta1=BETA1,
        beta2=BETA2,
        BLOCK=triton.next_power_of_2(d),
    )
    return squares.sum()
