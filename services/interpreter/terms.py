"""Which documents contain which terms, as a sparse 0/1 matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

MAX_TERMS = 300_000
"""Terms of the vocabulary: those of the most documents, ties by the alphabet."""
_SMALL_CORPUS = 20
"""Up to so many documents a term counts even if it is in only one."""


class TermCounts:
    """The terms of a corpus."""

    def __init__(self, texts: Sequence[str], split: Callable[[str], Iterable[str]], limit: int = MAX_TERMS) -> None:
        """`split` gives the terms of a text, repeated or not."""
        self._split = split
        numbers: dict[str, int] = {}
        rows = [[numbers.setdefault(term, len(numbers)) for term in set(split(text))] for text in texts]
        frequencies = np.bincount(np.fromiter(chain.from_iterable(rows), np.int64), minlength=len(numbers))
        required = 2 if len(texts) > _SMALL_CORPUS else 1
        frequent = sorted(term for term, number in numbers.items() if frequencies[number] >= required)
        if len(frequent) > limit:
            frequent = sorted(sorted(frequent, key=lambda term: (-frequencies[numbers[term]], term))[:limit])
        self.terms: Sequence[str] = frequent
        """The vocabulary, by the alphabet: what a column stands for."""
        self.columns = {term: column for column, term in enumerate(frequent)}
        """The column of each term."""
        column_of = np.full(len(numbers), -1, np.int64)
        for term, column in self.columns.items():
            column_of[numbers[term]] = column
        self.documents = self._matrix([column_of[row] for row in rows])
        """(texts, terms) float32 CSR: 1 where the text contains the term."""

    def transform(self, texts: Sequence[str]) -> sparse.csr_array:
        """(texts, terms) float32 CSR for other texts; terms outside of the vocabulary are left out."""
        return self._matrix(
            [np.array([self.columns.get(term, -1) for term in set(self._split(text))], np.int64) for text in texts]
        )

    def _matrix(self, rows: Sequence[NDArray[np.int64]]) -> sparse.csr_array:
        rows = [np.sort(row[row >= 0]) for row in rows]
        indptr = np.cumsum([0, *(len(row) for row in rows)])
        indices = np.concatenate([np.empty(0, np.int64), *rows])
        shape = (len(rows), len(self.terms))
        return sparse.csr_array((np.ones(len(indices), np.float32), indices, indptr), shape=shape)
