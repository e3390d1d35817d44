"""How often two latents are active in the same row: AᵀA of the 0/1 codes, block by block."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

_DENSE_LIMIT = 4096
"""Up to so many latents the counts are kept dense (128 MiB of int64); above, as a few sparse parts."""
_STEP = 8192
"""Rows of one product: bounds its memory."""


class Cooccurrence:
    """Counts of pairs of latents."""

    def __init__(self, latent_count: int) -> None:
        self.latent_count = latent_count
        shape = (latent_count, latent_count)
        self._dense = np.zeros(shape, np.int64) if latent_count <= _DENSE_LIMIT else None
        # Sparse parts of rising size, merged like the digits of a binary counter: n rows cost n·log n, not n².
        self._parts: list[tuple[int, sparse.csr_array]] = []

    def add(self, indptr: NDArray[np.uint32], indices: NDArray[np.uint32]) -> None:
        """Counts a CSR block: (R + 1,) indptr, (nnz,) indices < n, rising within a row."""
        for start in range(0, len(indptr) - 1, _STEP):
            bounds = indptr[start : start + _STEP + 1].astype(np.int64)
            part = indices[bounds[0] : bounds[-1]].astype(np.int64)
            ones = np.ones(len(part), np.int64)
            active = sparse.csr_array((ones, part, bounds - bounds[0]), shape=(len(bounds) - 1, self.latent_count))
            product = sparse.csr_array(active.T @ active)
            if self._dense is not None:
                coordinates = product.tocoo()
                self._dense[coordinates.coords[0], coordinates.coords[1]] += coordinates.data
            else:
                self._merge(product)

    def matrix(self) -> sparse.csr_array:
        """(n, n) int64 CSR with sorted indices, symmetric; the diagonal holds each latent's own count."""
        if self._dense is not None:
            total = sparse.csr_array(self._dense)
        else:
            total = sparse.csr_array((self.latent_count, self.latent_count), dtype=np.int64)
            for _, part in reversed(self._parts):
                total = sparse.csr_array(total + part)
        total.sort_indices()
        return total

    def _merge(self, part: sparse.csr_array) -> None:
        size = 1
        while self._parts and self._parts[-1][0] == size:
            part = sparse.csr_array(part + self._parts.pop()[1])
            size *= 2
        self._parts.append((size, part))
