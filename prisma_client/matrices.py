"""Vectors, codes and decoders as arrays of NumPy and SciPy; each row of vectors and codes has its document's id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prisma_client.libraries import library
from prisma_common import wire


@dataclass(frozen=True, eq=False)
class Keys:
    """The documents that the rows of a matrix belong to, R of them.

    ids: of the documents. rows: (R,) uint64, their numbers in the dataset. passages: of a dataset with passages, (R,)
    uint32, which passage of its document a row is, from 0; None for another.
    """

    ids: list[str]
    rows: NDArray[np.uint64]
    passages: NDArray[np.uint32] | None

    def take(self, places: NDArray[np.intp]) -> Keys:
        """Those at some places, in this order."""
        passages = None if self.passages is None else self.passages[places]
        return Keys([self.ids[place] for place in places.tolist()], self.rows[places], passages)

    @staticmethod
    def joined(parts: Sequence[Keys]) -> Keys:
        """Those of several parts, one behind the other."""
        passages = [part.passages for part in parts if part.passages is not None]
        return Keys(
            ids=[document for part in parts for document in part.ids],
            rows=np.concatenate([np.empty(0, np.uint64), *(part.rows for part in parts)]),
            passages=np.concatenate(passages) if passages else None,
        )


@dataclass(frozen=True, eq=False)
class _Keyed:
    """A matrix with a row for each of `keys`."""

    keys: Keys

    def __len__(self) -> int:
        return len(self.keys.ids)

    @property
    def ids(self) -> list[str]:
        """The ids of the documents that the rows of `values` belong to."""
        return self.keys.ids

    @property
    def rows(self) -> NDArray[np.uint64]:
        """Their numbers in the dataset, (R,) uint64."""
        return self.keys.rows

    @property
    def passages(self) -> NDArray[np.uint32] | None:
        """Of a dataset with passages: which of its document each is, from 0, (R,) uint32; None for another dataset."""
        return self.keys.passages


@dataclass(frozen=True, eq=False, repr=False)
class Vectors(_Keyed):
    """Vectors of documents, in the order of their rows. `np.asarray(vectors)` is `vectors.values`.

    values: (R, d) float32, or float16 where all of the dataset's vectors are; bit for bit as they are stored.
    """

    values: NDArray[np.float16 | np.float32]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.values, dtype=dtype, copy=copy)

    def __repr__(self) -> str:
        count, dimension = self.values.shape
        return f"<{count:,} vectors of {dimension:,} numbers, {self.values.dtype}>"


@dataclass(frozen=True, eq=False, repr=False)
class Codes(_Keyed):
    """Codes of documents. numbers: in compressed sparse rows, as arrays of NumPy."""

    numbers: wire.Codes

    @cached_property
    def values(self) -> Any:
        """The activations as a scipy.sparse.csr_array (R, n_latents) float32. Raises MissingLibrary."""
        return csr_array(self.numbers)

    @staticmethod
    def joined(parts: Sequence[Codes], latent_count: int) -> Codes:
        """Those of several parts, ascending by row."""
        keys = Keys.joined([part.keys for part in parts])
        numbers = wire.concatenate([part.numbers for part in parts], latent_count)
        places = np.argsort(keys.rows, kind="stable")
        return Codes(keys.take(places), numbers.take(places))

    def __repr__(self) -> str:
        return f"<codes of {len(self):,} rows, {self.numbers.latent_count:,} latents>"


@dataclass(frozen=True, eq=False, repr=False)
class Decoder:
    """What the latents add to vectors: X ≈ codes.values @ decoder.components + decoder.intercept.

    components: (n_latents, d) float32, for an activation of 1. intercept: (d,) float32, the vector of an empty code.
    """

    components: NDArray[np.float32]
    intercept: NDArray[np.float32]

    def __repr__(self) -> str:
        return f"<decoder of {self.components.shape[0]:,} latents to {self.components.shape[1]:,} numbers>"


def csr_array(codes: wire.Codes) -> Any:
    """A scipy.sparse.csr_array (R, n_latents) float32. Raises MissingLibrary."""
    sparse = library("scipy.sparse", "a sparse matrix of codes")
    parts = codes.values, codes.indices.astype(np.int32), index_array(codes.indptr)
    return sparse.csr_array(parts, shape=(len(codes), codes.latent_count))


def index_array(indptr: NDArray[Any]) -> NDArray[np.int32 | np.int64]:
    """The starts of rows, of the type that scipy gives its matrices, and that scikit-learn expects of them."""
    return indptr.astype(np.int32 if int(indptr[-1]) < 1 << 31 else np.int64)
