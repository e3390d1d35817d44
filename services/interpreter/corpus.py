"""The words of a dataset's documents, counted once, to compare those of single latents with."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from services.chassis import near_duplicates
from services.chassis.near_duplicates import Signatures
from services.interpreter import tokens
from services.interpreter.terms import TermCounts, WordTable
from services.interpreter.tokens import Language

Rows = NDArray[np.uint64]


@dataclass(frozen=True)
class Documents:
    """Some documents, by their words."""

    rows: Rows
    """(m,) rising."""
    terms: sparse.csr_array
    """(m, terms) 1 where the document contains the term."""
    signatures: Signatures
    """(m, 32)."""
    in_background: NDArray[np.bool_]
    """(m,) whether the corpus counts the document."""

    def places(self, rows: Rows) -> NDArray[np.intp]:
        """The places of rows, each of which is one of these documents'."""
        return np.searchsorted(self.rows, rows)


class Corpus:
    """The terms of a dataset."""

    def __init__(self, background: Mapping[int, str]) -> None:
        """`background` has the texts of a sample of rows, or of all, by row."""
        rows = np.fromiter(background, np.uint64, len(background))
        texts = list(background.values())
        table = WordTable(texts)
        word_counts = table.counts()
        self._language = Language.of(word_counts)
        self._spellings = tokens.spellings(word_counts)
        self._counts = TermCounts(table, self._language)
        order = np.argsort(rows)
        self._rows = rows[order]
        self._documents = sparse.csr_array(self._counts.documents[order])
        self._signatures = near_duplicates.signatures(texts)[order]
        self.frequencies = np.asarray(self._documents.sum(axis=0)).ravel().astype(np.float64)
        """(terms,) documents of the background that contain each."""

    @property
    def document_count(self) -> int:
        """Documents of the background."""
        return len(self._rows)

    @property
    def terms(self) -> Sequence[str]:
        """What a column stands for."""
        return self._counts.terms

    def counts(self, rows: Rows) -> NDArray[np.bool_]:
        """For each row whether the background has it."""
        return np.isin(rows, self._rows)

    def documents(self, rows: Rows, texts: Mapping[int, str]) -> Documents:
        """The documents of rising rows. texts: of those outside of the background; rows without a text are left out."""
        counted = self.counts(rows)
        uncounted = np.array([row for row in rows[~counted].tolist() if row in texts], np.uint64)
        uncounted_texts = [texts[row] for row in uncounted.tolist()]
        places = np.searchsorted(self._rows, rows[counted])
        both = np.concatenate([rows[counted], uncounted])
        order = np.argsort(both)
        return Documents(
            rows=both[order],
            terms=sparse.csr_array(
                sparse.vstack([self._documents[places], self._counts.transform(uncounted_texts)], format="csr")[order]
            ),
            signatures=np.concatenate([self._signatures[places], near_duplicates.signatures(uncounted_texts)])[order],
            in_background=(np.arange(len(both)) < len(places))[order],
        )

    def spelling(self, column: int) -> str:
        """A term as most documents write it."""
        return tokens.joined([self._spellings.get(word, word) for word in self.terms[column].split()])

    def columns(self, text: str) -> NDArray[np.int64]:
        """The columns of the terms of a label or a phrase, rising; those that no document contains are left out."""
        terms = tokens.terms(text, self._language)
        numbers = {self._counts.columns[term] for term in terms if term in self._counts.columns}
        return np.array(sorted(numbers), np.int64)

    def columns_with(self, words: Collection[str]) -> NDArray[np.int64]:
        """The columns of the terms that have one of some words in them, rising."""
        bases = {self._language.base(word.strip()) for word in words}
        if not bases:
            return np.empty(0, np.int64)
        return np.flatnonzero([not bases.isdisjoint(term.split(" ")) for term in self.terms])

    def rarity(self, columns: NDArray[np.int64]) -> NDArray[np.float64]:
        """How much each term tells: the logarithm of the inverse share of documents that contain it."""
        return np.log((1 + self.document_count) / (1 + self.frequencies[columns]))
