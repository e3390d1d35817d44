"""Which selected features occur in which documents: sparse, from one pass over a run's codes."""

from __future__ import annotations

from collections.abc import AsyncIterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from prisma_common import wire
from services.interpreter.selection import SelectedFeatures

_INDEX_FACTOR, _VALUE_FACTOR = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)
_SHIFT = np.uint64(31)


@dataclass(frozen=True)
class Occurrences:
    """The activations of m selected features in N documents."""

    rows: NDArray[np.uint64]
    """(N,) rising."""
    activations: sparse.csr_array
    """(N, m) those that count, above 0."""
    fingerprints: NDArray[np.uint64]
    """(N,) of whole codes: equal where codes are equal, as those of copies of a document are."""

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def present(self) -> sparse.csr_array:
        """(N, m) 1 where a feature occurs."""
        parts = (np.ones(self.activations.nnz), self.activations.indices, self.activations.indptr)
        return sparse.csr_array(parts, shape=self.activations.shape)

    @cached_property
    def confirming(self) -> NDArray[np.bool_]:
        """(N,) a random half of the documents, always the same. Documents with equal codes are in the same half."""
        return (_mixed(self.fingerprints) & np.uint64(1)).astype(bool)

    def of(self, places: NDArray[np.intp]) -> Occurrences:
        """Those of some documents."""
        return Occurrences(self.rows[places], self.activations[places], self.fingerprints[places])


async def occurrences(selected: SelectedFeatures, blocks: AsyncIterable[wire.Codes]) -> Occurrences:
    """What of the blocks of codes counts. Rows rise from block to block."""
    parts = [counted(selected, wire.concatenate([], selected.features.count))]
    parts += [counted(selected, block) async for block in blocks]
    return Occurrences(
        np.concatenate([part.rows for part in parts]),
        sparse.csr_array(sparse.vstack([part.activations for part in parts], format="csr")),
        np.concatenate([part.fingerprints for part in parts]),
    )


def counted(selected: SelectedFeatures, codes: wire.Codes) -> Occurrences:
    """What of some codes counts."""
    columns = selected.columns[codes.indices.astype(np.intp)]
    counts = columns >= 0
    counts[counts] = codes.values[counts] >= selected.thresholds[columns[counts]]
    indptr = np.concatenate([[0], np.cumsum(counts)])[codes.indptr.astype(np.intp)]
    parts = (codes.values[counts], columns[counts], indptr)
    shape = (len(codes), len(selected))
    return Occurrences(codes.rows, sparse.csr_array(parts, shape=shape), _fingerprints(codes))


def _fingerprints(codes: wire.Codes) -> NDArray[np.uint64]:
    """(R,) a number for each code; that of the row where nothing is active."""
    entries = (codes.indices.astype(np.uint64) + np.uint64(1)) * _INDEX_FACTOR
    entries = _mixed(entries ^ codes.values.view(np.uint32).astype(np.uint64) * _VALUE_FACTOR)
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(entries, dtype=np.uint64)])
    bounds = codes.indptr.astype(np.intp)
    result = sums[bounds[1:]] - sums[bounds[:-1]]
    return np.where(bounds[1:] > bounds[:-1], result, codes.rows * _INDEX_FACTOR)


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Numbers whose bits all depend on all bits of the given ones."""
    mixed = (numbers ^ (numbers >> _SHIFT)) * _VALUE_FACTOR
    mixed = (mixed ^ (mixed >> _SHIFT)) * _INDEX_FACTOR
    return mixed ^ (mixed >> _SHIFT)
