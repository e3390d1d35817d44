"""How often two latents are active in the same row: AᵀA of the 0/1 codes, block by block."""

from __future__ import annotations

from functools import reduce

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

MIN_SHARED = 3
"""Rows in which two latents must both be active: two rare ones meet by chance."""
_DENSE_LIMIT = 8192
"""Up to so many latents the counts are one dense matrix (256 MiB of int32); above, a few sparse parts."""
_STEP = 8192
"""Rows of one product: bounds its memory."""
_BLOCK_CELLS = 1 << 24
"""Cells of the dense matrix that become sparse at once: bounds that memory."""


class Cooccurrence:
    """Counts of pairs of latents."""

    def __init__(self, latent_count: int) -> None:
        self.latent_count = latent_count
        shape = (latent_count, latent_count)
        self._dense = np.zeros(shape, np.int32) if latent_count <= _DENSE_LIMIT else None
        # Sparse parts of rising size, merged like the digits of a binary counter: R rows cost R·log R, not R².
        self._parts: list[tuple[int, sparse.csr_array]] = []

    def add(self, indptr: NDArray[np.uint32], indices: NDArray[np.uint32]) -> None:
        """Counts a CSR block: (R + 1,) indptr, (nnz,) indices < n, rising within a row."""
        for start in range(0, len(indptr) - 1, _STEP):
            bounds = indptr[start : start + _STEP + 1].astype(np.int64)
            part = indices[bounds[0] : bounds[-1]].astype(np.int64)
            ones = np.ones(len(part), np.int32)
            active = sparse.csr_array((ones, part, bounds - bounds[0]), shape=(len(bounds) - 1, self.latent_count))
            product = sparse.csr_array(active.T @ active)
            if self._dense is not None:
                coordinates = product.tocoo()
                self._dense[coordinates.coords[0], coordinates.coords[1]] += coordinates.data
            else:
                self._merge(product)

    def matrix(self) -> sparse.csr_array:
        """(n, n) int32 CSR with sorted indices, symmetric; the diagonal holds each latent's own count."""
        total = self._from_parts() if self._dense is None else _sparse(self._dense)
        total.sort_indices()
        return total

    def _from_parts(self) -> sparse.csr_array:
        parts = [part for _size, part in reversed(self._parts)]
        if not parts:
            return _sparse(np.zeros((self.latent_count, self.latent_count), np.int32))
        return reduce(lambda total, part: sparse.csr_array(total + part), parts)

    def _merge(self, part: sparse.csr_array) -> None:
        size = 1
        while self._parts and self._parts[-1][0] == size:
            part = sparse.csr_array(part + self._parts.pop()[1])
            size *= 2
        self._parts.append((size, part))


def _sparse(dense: NDArray[np.int32]) -> sparse.csr_array:
    """A dense matrix as CSR, block by block: besides the result, little memory is used."""
    n = len(dense)
    indptr = np.concatenate([[0], np.cumsum(np.count_nonzero(dense, axis=1))])
    count = int(indptr[-1])
    index_type = np.int32 if count < np.iinfo(np.int32).max else np.int64
    data, columns = np.empty(count, np.int32), np.empty(count, index_type)
    step = max(1, _BLOCK_CELLS // max(1, n))
    for start in range(0, n, step):
        block = dense[start : start + step]
        rows, block_columns = block.nonzero()
        part = slice(indptr[start], indptr[min(start + step, n)])
        data[part], columns[part] = block[rows, block_columns], block_columns
    return sparse.csr_array((data, columns, indptr.astype(index_type)), shape=(n, n))
