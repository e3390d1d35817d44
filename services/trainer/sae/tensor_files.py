"""Tensors from foreign files, as float32 arrays."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from safetensors import deserialize

from services.trainer.sae.devices import INSTALL_TORCH, torch_is_installed
from services.trainer.sae.kernels.dtypes import F32

HEADER_BYTES = 1 << 20
"""Longest header of a safetensors file that is read: some thousand tensors."""


class UnreadableFile(ValueError):
    """The file does not contain tensors that can be read; the message says what was expected."""


class TorchMissing(UnreadableFile):
    """Only torch reads this kind of file, and it is not installed."""

    def __init__(self) -> None:
        super().__init__(
            f"reading a torch file (.pt) needs torch: {INSTALL_TORCH}; or save the tensors as .safetensors"
        )


def _float8_e4m3() -> F32:
    """The 256 values of F8_E4M3: sign, 4 bits of exponent with bias 7, 3 of mantissa; no infinity, NaN is all ones."""
    byte = np.arange(256)
    exponent, mantissa = byte >> 3 & 15, byte & 7
    size = np.where(exponent == 0, mantissa * 2.0**-9, (8 + mantissa) * 2.0 ** (exponent - 10))
    size[(byte & 127) == 127] = np.nan
    return np.where(byte & 128, -size, size).astype(np.float32)


_FLOAT8_E4M3 = _float8_e4m3()


def _as_float32(data: bytes | bytearray, dtype: str) -> F32:
    """The numbers of a safetensors dtype, exactly; those of F64 are rounded to the nearest float32."""
    match dtype:
        case "F32":
            return np.frombuffer(data, "<f4")
        case "F16":
            return np.frombuffer(data, "<f2").astype(np.float32)
        case "F64":
            with np.errstate(over="ignore"):  # becomes infinity, which no weights may contain
                return np.frombuffer(data, "<f8").astype(np.float32)
        case "BF16":  # the upper half of a float32
            return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
        case "F8_E5M2":  # the upper half of a float16
            return (np.frombuffer(data, np.uint8).astype(np.uint16) << 8).view(np.float16).astype(np.float32)
        case "F8_E4M3":
            return _FLOAT8_E4M3[np.frombuffer(data, np.uint8)]
        case _:
            raise UnreadableFile(f"expected tensors of F64, F32, F16, BF16, F8_E4M3 or F8_E5M2, got {dtype}")


class Safetensors(Mapping[str, F32]):
    """The tensors of a safetensors file, each converted to float32 when it is asked for."""

    def __init__(self, data: bytes) -> None:
        """Raises UnreadableFile."""
        size = int.from_bytes(data[:8], "little")
        if len(data) < 8 or size > min(HEADER_BYTES, len(data) - 8):
            raise UnreadableFile(f"expected a safetensors file with a header of at most {HEADER_BYTES:,} bytes")
        try:
            self._tensors: dict[str, dict[str, Any]] = dict(deserialize(data))
            metadata = json.loads(data[8 : 8 + size]).get("__metadata__", {})
        except Exception as error:
            raise UnreadableFile(f"expected a safetensors file: {first_line(error)}") from error
        self.metadata: Mapping[str, str] = metadata

    def __getitem__(self, name: str) -> F32:
        tensor = self._tensors[name]
        return _as_float32(tensor["data"], tensor["dtype"]).reshape(tensor["shape"])

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def read_torch(data: bytes) -> dict[str, Any]:
    """The dictionary in a torch file, with float32 arrays in place of its tensors. Raises UnreadableFile."""
    if not torch_is_installed():
        raise TorchMissing
    from services.trainer.sae.gpu import torch_files

    return torch_files.read_torch(data)


def first_line(error: BaseException) -> str:
    """An error's message in one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
