"""What processes that train together tell each other, by torch.distributed: gloo on the CPU, NCCL on CUDA."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from services.trainer.sae.engines import Factors
from services.trainer.sae.training import Share

_ARRAYS = ("indices", "values", "sources", "gradients", "residuals", "centered")
_INTEGERS = ("indices", "sources")


def agree(text: str) -> str:
    """The text that one of the processes has, for all: the others pass an empty string."""
    _join()
    size = torch.tensor([len(text.encode())])
    dist.all_reduce(size, dist.ReduceOp.MAX)
    agreed = torch.zeros(int(size), dtype=torch.uint8)
    if text:
        agreed[:] = torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)
    dist.all_reduce(agreed, dist.ReduceOp.MAX)
    return agreed.numpy().tobytes().decode()


def share() -> Share:
    """This process's share of each batch."""
    _join()
    processes = dist.get_world_size()

    def exchange(own: Factors) -> list[Factors]:
        sums = torch.tensor([own.loss, own.unexplained, own.total, float(own.active), own.least], dtype=torch.float64)
        arrays = [torch.as_tensor(getattr(own, name)) for name in _ARRAYS]
        shapes = [array.shape for array in arrays]
        # Integers travel as the bits of floats: one message for all.
        flat = [
            (array.int().view(torch.float32) if name in _INTEGERS else array).reshape(-1)
            for name, array in zip(_ARRAYS, arrays, strict=True)
        ]
        packed = torch.cat([*flat, sums.to(flat[0].device).view(torch.float32)])
        gathered = [torch.empty_like(packed) for _ in range(processes)]
        dist.all_gather(gathered, packed)
        return [_unpack(message, shapes, own) for message in gathered]

    return Share(dist.get_rank(), processes, exchange)


def _join() -> None:
    if not dist.is_initialized():
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")


def _unpack(packed: Tensor, shapes: list[torch.Size], own: Factors) -> Factors:
    arrays: dict[str, Any] = {}
    on_host = isinstance(own.values, np.ndarray)
    for name, shape in zip(_ARRAYS, shapes, strict=True):
        array, packed = packed[: shape.numel()], packed[shape.numel() :]
        array = array.reshape(shape)
        if name in _INTEGERS:
            array = array.contiguous().view(torch.int32)
        arrays[name] = array.numpy() if on_host else array.to(getattr(own, name).dtype)
    loss, unexplained, total, active, least = packed.clone().view(torch.float64).tolist()
    return replace(own, **arrays, loss=loss, unexplained=unexplained, total=total, active=int(active), least=least)
