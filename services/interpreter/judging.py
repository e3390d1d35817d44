"""Tests of labels on documents: by the words of a label, and by its embedding."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from services.interpreter import scoring
from services.interpreter.coherence import Background
from services.interpreter.corpus import Corpus, Documents
from services.interpreter.evidence import Evidence, Part, Rows
from services.interpreter.near_misses import Vectors
from services.interpreter.scoring import Floats, Method, Score, Scores

_SCORED_DOCUMENTS = 15
"""So many of the active documents for scoring, the strongest, are above every threshold."""
_MIN_RARITY = 1e-9
"""The least weight of a term: one that all documents contain tells nothing, and still is mentioned."""
_MENTIONS = 5
"""Documents that mention a label, below which no other document is taken to be as close to it as they are."""

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


@dataclass(frozen=True)
class Judge:
    """Tests labels on documents."""

    corpus: Corpus
    documents: Documents
    vectors: Vectors
    background: Background | None = None
    """None where no coherence is measured."""

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
        precise = active.above(threshold or 0)
        mentioned = self.mentions(precise.rows, text)
        return Scores(
            method=Method.EMBEDDING if vector is not None else Method.WORDS,
            threshold=threshold,
            score=scoring.score(fits.active[: len(precise)], fits.hard),
            mentions=scoring.share(mentioned),
            near_mentions=scoring.share(self.mentions(evidence.scoring.hard, text)),
            breadth=self._breadth(evidence, text),
            coherence=self._coherence(precise.rows[mentioned], vector),
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
        fits, precise = self._by_vector(evidence.scoring, vector), evidence.scoring.active.above(threshold or 0)
        return scoring.auc(fits.active[: len(precise)], fits.hard)

    def counts(self, evidence: Evidence, text: str, threshold: float | None) -> tuple[int, int]:
        """Documents for scoring that mention a text: active ones from a threshold on, and hard silent ones."""
        part = evidence.scoring
        precise = part.active.above(threshold or 0)
        return int(self.mentions(precise.rows, text).sum()), int(self.mentions(part.hard, text).sum())

    def mentions(self, rows: Rows, text: str) -> NDArray[np.bool_]:
        """(r,) which documents mention a label: contain one of its phrases, or most of a phrase that is no term."""
        mentioned = np.zeros(len(rows), np.bool_)
        for columns in self._phrases(text):
            mentioned |= self._share(rows, columns) > 1 / 2
        return mentioned

    def _breadth(self, evidence: Evidence, text: str) -> float:
        """In how many documents of the corpus a label's most frequent phrase occurs, relative to the active ones.

        Of a phrase that is no term, those of its rarest term count, as the terms together are in no more.
        """
        counts = [int(self.corpus.frequencies[columns].min()) for columns in self._phrases(text) if len(columns)]
        return max(counts, default=0) / max(1.0, evidence.density * self.corpus.document_count)

    def _coherence(self, rows: Rows, vector: Vector | None) -> Score | None:
        """How alike documents are apart from the label; None where texts cannot be embedded."""
        if vector is None or self.background is None:
            return None
        return self.background.coherence(self.vectors.of(rows), vector)

    def _threshold(self, evidence: Evidence, text: str, vector: Vector | None) -> float | None:
        """The activation from which a label is precise on the documents for choosing.

        By mentions, where fifteen of the documents for scoring reach it; otherwise by mentions or closeness, and low
        enough that fifteen reach it.
        """
        active = evidence.choosing.active
        strongest = evidence.scoring.active.activations[:_SCORED_DOCUMENTS]
        reached = float(strongest.min(initial=np.inf))
        mentions = self.mentions(active.rows, text)
        threshold = scoring.threshold(active.activations, mentions)
        if vector is None or (threshold is not None and threshold <= reached):
            return None if threshold is None else min(threshold, reached)
        close = self.vectors.of(active.rows) @ vector >= self._closeness(active.rows[mentions], vector)
        threshold = scoring.threshold(active.activations, mentions | close)
        return None if threshold is None else min(threshold, reached)

    def _closeness(self, rows: Rows, vector: Vector) -> float:
        """The cosine with a label of the median of documents that mention it; infinite where they are too few."""
        return float(np.median(self.vectors.of(rows) @ vector)) if len(rows) >= _MENTIONS else np.inf

    def _by_vector(self, part: Part, vector: Vector) -> Fits:
        """Cosines."""
        active, hard, random = (
            (self.vectors.of(rows) @ vector).astype(np.float64) for rows in (part.active.rows, part.hard, part.random)
        )
        return Fits(active, hard, random)

    def _by_words(self, part: Part, text: str) -> Fits:
        """Shares of the label's phrases that documents contain, weighted by how much each tells."""
        columns = np.unique(np.concatenate(self._phrases(text)))
        active, hard, random = (self._share(rows, columns) for rows in (part.active.rows, part.hard, part.random))
        return Fits(active, hard, random)

    def _phrases(self, text: str) -> list[NDArray[np.int64]]:
        """The columns of each phrase of a label: a comma and a space separate them, whoever wrote it."""
        return [self._columns(phrase) for phrase in text.split(", ")]

    def _columns(self, phrase: str) -> NDArray[np.int64]:
        """The column of a phrase that is a term of the corpus; of any other, those of all terms in it."""
        columns = self.corpus.columns(phrase)
        whole = [column for column in columns.tolist() if self.corpus.spelling(column).lower() == phrase.lower()]
        return np.array(whole, np.int64) if whole else columns

    def _share(self, rows: Rows, columns: NDArray[np.int64]) -> Floats:
        """(r,) the share of some terms that documents contain, weighted by how much each tells; 0 for no terms."""
        weights = np.maximum(self.corpus.rarity(columns), _MIN_RARITY)
        return self._contained(rows, columns) @ (weights / max(float(weights.sum()), 1e-30))

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
