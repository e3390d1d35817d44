"""The decoder in a file of weights (`run.export_weights`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prisma_client.matrices import Decoder


def read_decoder(path: Path) -> Decoder:
    """The decoder in the space of the dataset's vectors."""
    tensors = _tensors(path, ("W_dec", "b_dec", "mean", "scale"))
    scale = tensors["scale"]
    return Decoder(components=tensors["W_dec"] * scale, intercept=tensors["b_dec"] * scale + tensors["mean"])


def _tensors(path: Path, names: tuple[str, ...]) -> Mapping[str, NDArray[np.float32]]:
    """Tensors of a safetensors file: the length of its header, a header of JSON, and numbers, little-endian."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header: dict[str, Any] = json.loads(file.read(length))
    tensors: dict[str, NDArray[np.float32]] = {}
    for name in names:
        entry = header[name]
        start, end = entry["data_offsets"]
        numbers = np.fromfile(path, dtype="<f4", count=(end - start) // 4, offset=8 + length + start)
        tensors[name] = numbers.reshape(entry["shape"])
    return tensors
