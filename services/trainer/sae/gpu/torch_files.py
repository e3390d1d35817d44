"""Torch files, read without running what their pickles would."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.trainer.sae.tensor_files import UnreadableFile, first_line


def read_torch(data: bytes) -> dict[str, Any]:
    """The dictionary in a torch file: plain values, dictionaries, and float32 arrays in place of its tensors.

    Whatever else the file's pickle would create is refused before it is created. Raises UnreadableFile.
    """
    try:
        content: Any = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:
        raise UnreadableFile(
            f"expected a torch file that contains only tensors and plain values: {first_line(error)}"
        ) from error
    if not isinstance(content, dict):
        raise UnreadableFile(f"expected a torch file that contains a dictionary, got {type(content).__name__}")
    # A few bytes may claim to be a tensor of any size: its numbers must be in the file.
    return {str(name): _plain(value, max_numbers=len(data)) for name, value in content.items()}


def _plain(value: Any, max_numbers: int, depth: int = 0) -> Any:
    if isinstance(value, Tensor):
        return _array(value, max_numbers)
    if isinstance(value, Mapping):
        if depth == 2:
            raise UnreadableFile("expected tensors at most two dictionaries deep")
        return {str(name): _plain(item, max_numbers, depth + 1) for name, item in value.items()}
    return value


def _array(tensor: Tensor, max_numbers: int) -> NDArray[np.float32]:
    if tensor.layout != torch.strided or tensor.is_meta or tensor.is_quantized or tensor.is_complex():
        raise UnreadableFile("expected dense tensors of real numbers, with their data")
    if tensor.numel() > max_numbers:
        raise UnreadableFile(f"a tensor of the shape {tuple(tensor.shape)} does not fit into the file")
    return tensor.detach().to(torch.float32).contiguous().numpy()
