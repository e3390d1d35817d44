"""Activations on disk, divided into ranges of latents that are small enough for memory.

A range has three files, all in the order of the rows: how many of the range's latents are active in a row, which
ones, and their activations. With up to 4,096 latents that is 5 bytes for each activation and 32 for each row, with up
to a million latents 6 bytes and 32 or 64.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from prisma_common.wire import Codes

ENTRY = np.dtype([("latent", "<u4"), ("value", "<f4"), ("row", "<u8")])
_RANGE_COUNT = 16


@dataclass(frozen=True)
class _Range:
    """The files of `width` latents from `start` on."""

    start: int
    counts: BinaryIO
    latents: BinaryIO
    values: BinaryIO

    @classmethod
    def create(cls, folder: Path, start: int) -> Self:
        """Empty files in a folder."""
        counts, latents, values = ((folder / f"{start}.{name}").open("w+b") for name in ("counts", "latents", "values"))
        return cls(start, counts, latents, values)

    def close(self) -> None:
        """Closes the files."""
        for file in (self.counts, self.latents, self.values):
            file.close()


class Spool:
    """Takes codes block by block and returns them by latent. Use as a context manager: it deletes its files."""

    def __init__(self, latent_count: int, folder: Path | None = None) -> None:
        """`folder` is where the files go."""
        self._folder = tempfile.TemporaryDirectory(prefix="statistics-", dir=folder)
        self.width = max(1, -(-latent_count // _RANGE_COUNT))
        """Latents of a range; the last range may have fewer."""
        self._count_type = np.min_scalar_type(self.width)
        self._latent_type = np.min_scalar_type(self.width - 1)
        path = Path(self._folder.name)
        self._ranges = [_Range.create(path, start) for start in range(0, latent_count, self.width)]
        self._rows: list[NDArray[np.uint64]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for part in self._ranges:
            part.close()
        self._folder.cleanup()

    def add(self, codes: Codes) -> None:
        """Writes a block of codes."""
        places = np.repeat(np.arange(len(codes)), np.diff(codes.indptr.astype(np.int64)))
        ranges = codes.indices // self.width
        for number, part in enumerate(self._ranges):
            inside = ranges == number
            counts = np.bincount(places[inside], minlength=len(codes))
            part.counts.write(counts.astype(self._count_type).tobytes())
            part.latents.write((codes.indices[inside] - part.start).astype(self._latent_type).tobytes())
            part.values.write(codes.values[inside].astype("<f4", copy=False).tobytes())
        self._rows.append(codes.rows.copy())

    def rows(self) -> NDArray[np.uint64]:
        """The rows of all blocks, in their order."""
        return np.concatenate(self._rows) if self._rows else np.empty(0, np.uint64)

    def ranges(self) -> Iterator[tuple[int, NDArray[np.void]]]:
        """(first latent, ENTRY array) of all ranges: by latent, the strongest first, ties to the lower row."""
        rows = self.rows()
        for part in self._ranges:
            values = _read(part.values, np.dtype("<f4"))
            entries = np.empty(len(values), ENTRY)
            entries["value"] = values
            entries["latent"] = _read(part.latents, self._latent_type).astype(np.uint32) + np.uint32(part.start)
            entries["row"] = np.repeat(rows, _read(part.counts, self._count_type))
            yield part.start, entries[np.lexsort((entries["row"], -entries["value"], entries["latent"]))]


def _read(file: BinaryIO, dtype: np.dtype[Any]) -> NDArray[Any]:
    file.flush()
    return np.fromfile(file.name, dtype=dtype)
