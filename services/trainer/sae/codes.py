"""Codes in files: shards in compressed sparse row form, arrays only."""

from __future__ import annotations

import io
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prisma_common.wire import Codes
from services.chassis.files import whole

_ARRAYS = ("rows", "indptr", "indices", "values", "latent_count")
_LENGTHS, _HEADER = 26, 30
"""Bytes of a member's header in a zip file: where the lengths of its name and extra field stand, and all of it."""
_ARRAY_HEADER = 1024
"""Bytes that hold the header of an array of one dimension."""


@dataclass(frozen=True)
class CodeShard:
    """One file of codes."""

    name: str
    """File name within the folder of the weights that encoded it."""
    first_row: int | None = None
    """Smallest row number in the file; None for a file of an older version, which has to be opened to know."""
    last_row: int | None = None
    """Largest row number in the file; None as above."""
    row_count: int | None = None
    """Rows in the file; None as above."""

    def may_hold(self, start: int, end: int) -> bool:
        """Whether the file may have rows of the half-open range."""
        if self.first_row is None or self.last_row is None:
            return True
        return self.first_row < end and start <= self.last_row


def save_codes(path: Path, codes: Codes) -> None:
    """Writes codes to a file, completely or not at all. Raises OSError."""
    with whole(path) as file:
        np.savez(
            file,
            rows=codes.rows,
            indptr=codes.indptr,
            indices=codes.indices,
            values=codes.values,
            latent_count=np.array([codes.latent_count]),
        )


def load_codes(path: Path) -> Codes:
    """Opens a file of codes; its arrays are mapped, so that what is not looked at is not read.

    Raises OSError, ValueError, KeyError and zipfile.BadZipFile for a damaged one.
    """
    contents = np.memmap(path, np.uint8, "r")
    with zipfile.ZipFile(path) as archive:
        arrays = {name: _array(contents, archive.getinfo(f"{name}.npy")) for name in _ARRAYS}
    return Codes(
        rows=arrays["rows"],
        indptr=arrays["indptr"],
        indices=arrays["indices"],
        values=arrays["values"],
        latent_count=int(arrays["latent_count"][0]),
    )


def _array(contents: NDArray[np.uint8], member: zipfile.ZipInfo) -> NDArray[Any]:
    """An array of one dimension in a mapped `.npz` file. Raises ValueError for one that is compressed or cut short."""
    lengths = contents[member.header_offset + _LENGTHS : member.header_offset + _HEADER]
    name_bytes, extra_bytes = struct.unpack("<HH", lengths.tobytes())
    start = member.header_offset + _HEADER + name_bytes + extra_bytes
    end = start + member.file_size
    if member.compress_type != zipfile.ZIP_STORED or end > len(contents):
        raise ValueError(f"{member.filename} is compressed, or cut short")
    header = io.BytesIO(contents[start : min(end, start + _ARRAY_HEADER)].tobytes())
    if np.lib.format.read_magic(header) != (1, 0):
        raise ValueError(f"{member.filename} is of another version")
    (count,), _fortran_order, dtype = np.lib.format.read_array_header_1_0(header)
    if start + header.tell() + count * dtype.itemsize != end:
        raise ValueError(f"{member.filename} is not as long as its header says")
    return np.frombuffer(contents.data, dtype, count, start + header.tell())
