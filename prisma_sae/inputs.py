"""Vectors and codes as callers have them, as the arrays that the kernels take."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from prisma_common.wire import Codes

Vectors = NDArray[np.float32]


def vectors_of(X: Any) -> Vectors:
    """(N, d) float32 of an array, a data frame or nested lists; an array of that type is not copied.

    Raises TypeError for sparse, complex or non-numeric input; ValueError for NaN, infinity, other dimensions, no rows.
    """
    if sparse.issparse(X):
        raise TypeError("expected a dense array of vectors, got a sparse matrix; X.toarray() makes one of it")
    array = np.asarray(X)
    if array.dtype.kind == "c":
        raise ValueError("Complex data not supported: expected vectors of real numbers")
    if array.dtype.kind not in "fiub":
        array = _numbers(array)
    if array.ndim != 2:
        raise ValueError(
            f"expected a 2-dimensional array (vectors, numbers), got {array.ndim} dimensions. Reshape your data: one "
            "vector is X.reshape(1, -1)"
        )
    for axis, what in enumerate(("sample", "feature")):
        if not array.shape[axis]:
            raise ValueError(f"Found array with 0 {what}(s) (shape={array.shape}) while a minimum of 1 is required.")
    with np.errstate(over="ignore"):  # becomes infinity, which is refused below
        vectors = np.asarray(array, dtype=np.float32)
    if not np.isfinite(vectors).all():
        row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise ValueError(f"vector {row} contains NaN, infinity, or a number too large for float32")
    return vectors


def _numbers(array: NDArray[Any]) -> NDArray[np.float64]:
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"expected vectors of numbers; an argument must be a number in each place: {error}"
        ) from error


def matrix_of(codes: Codes) -> sparse.csr_array:
    """(N, n) float32 in compressed sparse rows."""
    parts = codes.values, codes.indices.astype(np.int32), codes.indptr.astype(np.int32)
    return sparse.csr_array(parts, shape=(len(codes), codes.latent_count))
