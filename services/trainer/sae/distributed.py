"""Several processes train one autoencoder: each takes a part of every batch, all make the same update.

What they tell each other of a batch is not the gradients, n x d, but the factors that these are sums of products of:
B·k slots and 2·B·d numbers. Since all join the same factors in the same order, weights stay equal without being sent,
and the training is that of one process with the whole batch. torchrun starts the processes and starts them again when
one dies; see `torch.distributed`.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import numpy as np

from services.trainer.sae.kernels import Factors
from services.trainer.sae.training import Share

_SLOTS = ("indices", "values", "sources", "gradients", "residuals", "centered")
_WHOLE = ("indices", "sources")


def processes() -> int:
    """How many processes torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def agree(told: str) -> str:
    """What one of the processes was told, for all: the others give an empty string."""
    import torch
    import torch.distributed as dist

    _join()
    size = torch.tensor([len(told.encode())])
    dist.all_reduce(size, dist.ReduceOp.MAX)
    said = torch.zeros(int(size), dtype=torch.uint8)
    if told:
        said[:] = torch.frombuffer(bytearray(told.encode()), dtype=torch.uint8)
    dist.all_reduce(said, dist.ReduceOp.MAX)
    return said.numpy().tobytes().decode()


def share() -> Share:
    """This process's share, by torchrun's environment. Without it, all of each batch."""
    if processes() == 1:
        return Share()
    import torch
    import torch.distributed as dist

    _join()
    rank, count = dist.get_rank(), dist.get_world_size()

    def exchange(own: Factors) -> list[Factors]:
        numbers = torch.tensor([own.loss, own.unexplained, own.total, float(own.active), own.bar], dtype=torch.float64)
        parts = [torch.as_tensor(own.arrays[name]) for name in _SLOTS]
        shapes = [part.shape for part in parts]
        # Integers travel as the bits of floats: one message for all.
        flat = [
            (part.int().view(torch.float32) if name in _WHOLE else part).reshape(-1)
            for name, part in zip(_SLOTS, parts, strict=True)
        ]
        packed = torch.cat([*flat, numbers.to(flat[0].device).view(torch.float32)])
        gathered = [torch.empty_like(packed) for _ in range(count)]
        dist.all_gather(gathered, packed)
        return [_unpack(each, shapes, own) for each in gathered]

    return Share(rank, count, exchange)


def _join() -> None:
    import torch
    import torch.distributed as dist

    if not dist.is_initialized():
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")


def _unpack(packed: Any, shapes: list[Any], own: Factors) -> Factors:
    import torch

    arrays: dict[str, Any] = {}
    host = isinstance(own.arrays["values"], np.ndarray)
    for name, shape in zip(_SLOTS, shapes, strict=True):
        part, packed = packed[: shape.numel()], packed[shape.numel() :]
        part = part.reshape(shape)
        if name in _WHOLE:
            part = part.contiguous().view(torch.int32)
        arrays[name] = part.numpy() if host else part.to(own.arrays[name].dtype)
    loss, unexplained, total, active, bar = packed.clone().view(torch.float64).tolist()
    return replace(own, arrays=arrays, loss=loss, unexplained=unexplained, total=total, active=int(active), bar=bar)
