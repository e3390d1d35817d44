"""The one codec between numpy arrays and the blocks that travel: vectors and sparse codes.

Vectors are packed little-endian; codes are compressed sparse rows (CSR). Both directions check all that can be
wrong with foreign bytes, so that what comes out can be trusted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from prisma.common.v1.block_pb2 import (
    VECTOR_ENCODING_FLOAT16,
    VECTOR_ENCODING_FLOAT32,
    VECTOR_ENCODING_UNSPECIFIED,
    CodeBlock,
    RowRange,
    VectorBlock,
    VectorEncoding,
)

BLOCK_BYTES = 1 << 20
"""Streams send blocks of about this many bytes."""

Rows = NDArray[np.uint64]
Vectors = NDArray[np.float32]

_VECTOR_TYPES = {
    VECTOR_ENCODING_UNSPECIFIED: np.dtype("<f4"),
    VECTOR_ENCODING_FLOAT32: np.dtype("<f4"),
    VECTOR_ENCODING_FLOAT16: np.dtype("<f2"),
}


class WireError(ValueError):
    """A block whose parts contradict each other: what was expected and what came."""


@dataclass(frozen=True)
class Codes:
    """Sparse codes of some rows, in CSR form.

    rows: (R,) uint64, strictly rising; or (R,) 0..R-1 where the codes belong to no dataset.
    indptr: (R + 1,) uint32, from 0, not falling. indices: (nnz,) uint32, strictly rising within a row, < latent_count.
    values: (nnz,) float32, finite and > 0. latent_count: n.
    """

    rows: Rows
    indptr: NDArray[np.uint32]
    indices: NDArray[np.uint32]
    values: NDArray[np.float32]
    latent_count: int

    def __len__(self) -> int:
        return len(self.rows)

    def row(self, position: int) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """Indices and values of the row at `position` (not the row's number)."""
        part = slice(int(self.indptr[position]), int(self.indptr[position + 1]))
        return self.indices[part], self.values[part]

    def slice(self, start: int, stop: int) -> Codes:
        """The codes at positions `start` to `stop`, sharing memory where it can."""
        first, last = int(self.indptr[start]), int(self.indptr[stop])
        indptr = self.indptr[start : stop + 1] - self.indptr[start]
        return Codes(
            rows=self.rows[start:stop],
            indptr=indptr,
            indices=self.indices[first:last],
            values=self.values[first:last],
            latent_count=self.latent_count,
        )

    def take(self, positions: NDArray[np.intp]) -> Codes:
        """The codes at these positions, in this order."""
        starts = self.indptr[positions].astype(np.int64)
        counts = self.indptr[positions + 1].astype(np.int64) - starts
        indptr = np.concatenate([[0], np.cumsum(counts)])
        source = np.repeat(starts - indptr[:-1], counts) + np.arange(indptr[-1])
        return Codes(
            rows=self.rows[positions],
            indptr=indptr.astype(np.uint32),
            indices=self.indices[source],
            values=self.values[source],
            latent_count=self.latent_count,
        )

    def at_least(self, thresholds: NDArray[np.float64]) -> Codes:
        """The codes without values below (n,) thresholds of the latents; rows without values stay."""
        reached = self.values >= thresholds[self.indices]
        return Codes(
            rows=self.rows,
            indptr=np.concatenate([[0], np.cumsum(reached)])[self.indptr.astype(np.int64)].astype(np.uint32),
            indices=self.indices[reached],
            values=self.values[reached],
            latent_count=self.latent_count,
        )


def concatenate(parts: Sequence[Codes], latent_count: int) -> Codes:
    """One Codes of several, one behind the other; none gives an empty one."""
    if not parts:
        return Codes(
            rows=np.empty(0, np.uint64),
            indptr=np.zeros(1, np.uint32),
            indices=np.empty(0, np.uint32),
            values=np.empty(0, np.float32),
            latent_count=latent_count,
        )
    counts = np.concatenate([np.diff(part.indptr) for part in parts])
    return Codes(
        rows=np.concatenate([part.rows for part in parts]),
        indptr=np.concatenate([[0], np.cumsum(counts, dtype=np.uint64)]).astype(np.uint32),
        indices=np.concatenate([part.indices for part in parts]),
        values=np.concatenate([part.values for part in parts]),
        latent_count=latent_count,
    )


def pack_vectors(
    vectors: Vectors, rows: Rows | None = None, encoding: VectorEncoding = VECTOR_ENCODING_FLOAT32
) -> VectorBlock:
    """(R, d) float32 vectors, and their (R,) row numbers where they have some, as a block."""
    dtype = _dtype(encoding)
    return VectorBlock(
        rows=[] if rows is None else cast(list[int], rows.tolist()),
        dimension=vectors.shape[1],
        encoding=encoding or VECTOR_ENCODING_FLOAT32,
        data=np.ascontiguousarray(vectors, dtype=dtype).tobytes(),
    )


def unpack_vectors(block: VectorBlock) -> tuple[Rows, Vectors]:
    """Row numbers (R,) uint64, counted from 0 where the block has none, and vectors (R, d) float32.

    Raises WireError when rows, dimension and bytes don't fit together. Values are not looked at.
    """
    dtype = _dtype(block.encoding)
    width = block.dimension * dtype.itemsize
    if width == 0:
        raise WireError("a vector block needs a dimension of at least 1, got 0")
    count, rest = divmod(len(block.data), width)
    if rest:
        raise WireError(f"a vector block's data must be a multiple of {width} bytes, got {len(block.data)}")
    if block.rows and len(block.rows) != count:
        raise WireError(f"a vector block has {len(block.rows)} rows and {count} vectors")
    vectors = np.frombuffer(block.data, dtype=dtype).reshape(count, block.dimension).astype(np.float32, copy=False)
    return _rows(block.rows, count), vectors


def pack_codes(codes: Codes) -> CodeBlock:
    """Codes as a block."""
    return CodeBlock(
        rows=cast(list[int], codes.rows.tolist()),
        indptr=np.ascontiguousarray(codes.indptr, dtype="<u4").tobytes(),
        indices=np.ascontiguousarray(codes.indices, dtype="<u4").tobytes(),
        values=np.ascontiguousarray(codes.values, dtype="<f4").tobytes(),
        latent_count=codes.latent_count,
    )


def unpack_codes(block: CodeBlock) -> Codes:
    """Codes of a block. Raises WireError when its parts contradict each other."""
    for name, data in (("indptr", block.indptr), ("indices", block.indices), ("values", block.values)):
        if len(data) % 4:
            raise WireError(f"a code block's {name} must be a multiple of 4 bytes, got {len(data)}")
    indptr = np.frombuffer(block.indptr, dtype="<u4") if block.indptr else np.zeros(1, np.uint32)
    indices = np.frombuffer(block.indices, dtype="<u4")
    values = np.frombuffer(block.values, dtype="<f4")
    count = len(indptr) - 1
    if block.rows and len(block.rows) != count:
        raise WireError(f"a code block has {len(block.rows)} rows and an indptr for {count}")
    if indptr[0] != 0 or indptr[-1] != len(indices) or len(indices) != len(values) or np.any(indptr[1:] < indptr[:-1]):
        raise WireError("a code block's indptr must rise from 0 to the number of indices and values")
    if len(indices) and int(indices.max()) >= block.latent_count:
        raise WireError(f"a code block has the index {int(indices.max())}, but only {block.latent_count} latents")
    return Codes(
        rows=_rows(block.rows, count), indptr=indptr, indices=indices, values=values, latent_count=block.latent_count
    )


def blocks_of(row_count: int, bytes_per_row: int) -> Iterator[slice]:
    """Cuts `row_count` rows into slices of about BLOCK_BYTES."""
    step = max(1, BLOCK_BYTES // max(1, bytes_per_row))
    for start in range(0, row_count, step):
        yield slice(start, min(start + step, row_count))


def ranges_of(rows: Rows) -> list[RowRange]:
    """Strictly rising row numbers as the fewest half-open ranges."""
    if not len(rows):
        return []
    breaks = np.flatnonzero(np.diff(rows) != 1) + 1
    starts = rows[np.concatenate([[0], breaks])]
    ends = rows[np.concatenate([breaks - 1, [len(rows) - 1]])]
    return [RowRange(start=int(start), end=int(end) + 1) for start, end in zip(starts, ends, strict=True)]


def within(rows: Rows, ranges: Sequence[RowRange]) -> NDArray[np.bool_]:
    """For each row whether one of the ranges holds it; no ranges hold all."""
    if not ranges:
        return np.ones(len(rows), dtype=bool)
    bounds = np.array([(part.start, part.end) for part in ranges if part.start < part.end], dtype=np.uint64)
    starts, ends = np.sort(bounds.reshape(-1, 2), axis=0).T
    return np.searchsorted(starts, rows, side="right") > np.searchsorted(ends, rows, side="right")


def _dtype(encoding: int) -> np.dtype[np.floating]:
    try:
        return cast("np.dtype[np.floating]", _VECTOR_TYPES[cast(VectorEncoding, encoding)])
    except KeyError:
        raise WireError(f"expected a vector encoding of {sorted(_VECTOR_TYPES)}, got {encoding}") from None


def _rows(rows: Sequence[int], count: int) -> Rows:
    return np.array(rows, dtype=np.uint64) if rows else np.arange(count, dtype=np.uint64)
