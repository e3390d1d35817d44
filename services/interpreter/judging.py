"""Tests of labels on documents: by the words of a label, and by its embedding."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from services.interpreter import scoring
from services.interpreter.corpus import Corpus, Documents
from services.interpreter.evidence import Evidence, Part, Rows
from services.interpreter.near_misses import Vectors
from services.interpreter.scoring import Floats, Method, Scores

_SCORED_DOCUMENTS = 10
_SCORED_PART = 3
"""Of the active documents for scoring, so large a part at least is scored."""

Vector = NDArray[np.float32]


@dataclass(frozen=True)
class Fits:
    """How well a label fits documents."""

    active: Floats
    hard: Floats
    random: Floats

    @property
    def all(self) -> Floats:
        """Those of active documents, similar silent ones and random ones in a row."""
        return np.concatenate([self.active, self.hard, self.random])

    @property
    def area(self) -> float:
        """Against similar silent documents."""
        return scoring.auc(self.active, self.hard)

    @property
    def rated(self) -> Fits:
        """Without documents for which there is no number."""
        return Fits(*(fits[~np.isnan(fits)] for fits in (self.active, self.hard, self.random)))

    def among(self, mask: NDArray[np.bool_]) -> Fits:
        """With some of the active documents."""
        return Fits(self.active[mask], self.hard, self.random)


@dataclass(frozen=True)
class Judge:
    """Tests labels on documents."""

    corpus: Corpus
    documents: Documents
    vectors: Vectors

    def centre(self, evidence: Evidence) -> Vector:
        """The direction from silent documents to those for writing; of length 1, or 0."""
        silent = np.concatenate([evidence.choosing.hard, evidence.choosing.random])
        if not len(evidence.writing) or not len(silent):
            return np.zeros(self.vectors.matrix.shape[1], np.float32)
        difference = self.vectors.of(evidence.writing.rows).mean(axis=0) - self.vectors.of(silent).mean(axis=0)
        return (difference / max(float(np.linalg.norm(difference)), 1e-12)).astype(np.float32)

    def choice(self, evidence: Evidence, text: str, vector: Vector | None) -> float:
        """How good a label is by the documents for choosing, 0 to 1."""
        part = evidence.choosing
        words = self._by_words(part, text)
        by_words = (words.area + scoring.auc(words.active, words.random)) / 2
        if vector is None:
            return by_words
        fits = self._by_vector(part, vector)
        by_vector = (2 * fits.area + scoring.auc(fits.active, fits.random)) / 3
        return (by_vector + by_words) / 2

    def scores(self, evidence: Evidence, text: str, vector: Vector | None) -> Scores:
        """Tests a label. vector: of the label, of length 1; None where texts cannot be embedded."""
        threshold = self._threshold(evidence, text, vector)
        words = self._by_words(evidence.scoring, text)
        fits = self._by_vector(evidence.scoring, vector) if vector is not None else words
        active = evidence.scoring.active
        own = fits.among(active.activations >= (threshold or 0))
        return Scores(
            method=Method.EMBEDDING if vector is not None else Method.WORDS,
            threshold=threshold,
            score=scoring.score(own.active, fits.hard),
            embedding_hard=scoring.score(fits.active, fits.hard) if vector is not None else None,
            embedding_random=scoring.score(fits.active, fits.random) if vector is not None else None,
            words_hard=scoring.score(words.active, words.hard),
            words_random=scoring.score(words.active, words.random),
            deciles=tuple(scoring.by_decile(fits.active, active.deciles, fits.hard)),
        )

    def fits(self, evidence: Evidence, text: str, vector: Vector | None) -> Fits:
        """How a label fits the documents for scoring: by embedding, or by its words where `vector` is None."""
        return self._by_words(evidence.scoring, text) if vector is None else self._by_vector(evidence.scoring, vector)

    def auc(self, evidence: Evidence, vector: Vector, threshold: float | None) -> float:
        """Of any direction, on the documents for scoring from a threshold on, against hard silent ones."""
        fits = self._by_vector(evidence.scoring, vector)
        return fits.among(evidence.scoring.active.activations >= (threshold or 0)).area

    def counts(self, evidence: Evidence, term: str) -> tuple[int, int]:
        """Documents for scoring that contain a term: active ones, and hard silent ones."""
        columns = self.corpus.columns(term)
        whole = [column for column in columns.tolist() if self.corpus.spelling(column).lower() == term.lower()]
        active, hard = (
            int((self._contained(rows, np.array(whole or columns)).min(axis=1, initial=1) > 0).sum())
            for rows in (evidence.scoring.active.rows, evidence.scoring.hard)
        )
        return active, hard

    def _threshold(self, evidence: Evidence, text: str, vector: Vector | None) -> float | None:
        """The activation from which a label is precise on the documents for choosing.

        It is low enough that a third of the documents for scoring, and ten of them, reach it.
        """
        part = evidence.choosing
        fits = self._by_vector(part, vector) if vector is not None else self._by_words(part, text)
        threshold = scoring.threshold(part.active.activations, scoring.placements(fits.active, fits.hard))
        scored = evidence.scoring.active.activations
        strongest = scored[: max(_SCORED_DOCUMENTS, len(scored) // _SCORED_PART)]
        return None if threshold is None else min(threshold, float(strongest.min(initial=threshold)))

    def _by_vector(self, part: Part, vector: Vector) -> Fits:
        """Cosines."""
        active, hard, random = (
            (self.vectors.of(rows) @ vector).astype(np.float64) for rows in (part.active.rows, part.hard, part.random)
        )
        return Fits(active, hard, random)

    def _by_words(self, part: Part, text: str) -> Fits:
        """Shares of the label's terms that documents contain, weighted by how much each tells."""
        columns = self.corpus.columns(text)
        weights = self.corpus.rarity(columns)
        weights = weights / max(float(weights.sum()), 1e-30)
        active, hard, random = (
            self._contained(rows, columns) @ weights for rows in (part.active.rows, part.hard, part.random)
        )
        return Fits(active, hard, random)

    def _contained(self, rows: Rows, columns: NDArray[np.int64]) -> Floats:
        """(r, c) 1 where a document contains a term."""
        places = self.documents.places(rows)
        contained = np.zeros((len(rows), len(columns)))
        for number, column in enumerate(columns.tolist()):
            holders = self._by_term.indices[self._by_term.indptr[column] : self._by_term.indptr[column + 1]]
            if len(holders):
                nearest = np.minimum(np.searchsorted(holders, places), len(holders) - 1)
                contained[:, number] = holders[nearest] == places
        return contained

    @cached_property
    def _by_term(self) -> sparse.csc_array:
        """(documents, terms), by column, rows rising."""
        by_term = sparse.csc_array(self.documents.terms)
        by_term.sort_indices()
        return by_term
