"""How familiar a text is to a run: its place among documents of the corpus of similar length that are new to the run.

The features leave part of every text unexplained, gibberish and other languages often less than the corpus itself: that
share alone does not tell what is foreign (docs/decisions/0047). So a text is also compared with a sample of the corpus
by its embedding (mean cosine with the ten nearest documents) and by its spelling (share of its runs of four letters
that no document of the sample contains). Where it stands in each is a conformal p-value among documents of similar
length that are in no sample and, as far as the run has them, were held out from its training. It is out of distribution
if one of the two p-values is at most half the rate of false alarms (Bonferroni).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.chassis.near_duplicates import mixed
from services.interpreter.near_misses import Vectors

FALSE_ALARM_RATE = 0.05
"""Share of new documents of the corpus that count as out of distribution."""
CALIBRATION_ROWS = 2000
"""Documents that others are placed among."""
MIN_CALIBRATION_ROWS = 100
"""Below so many, nothing is said."""
SAMPLE_ROWS = 4096
"""Documents that others are compared with by their embeddings."""
LETTER_ROWS = 8192
"""Documents that others are compared with by their letters."""
MAX_CHARACTERS = 4000
"""Only the start of a text is compared."""
_SIMILAR_LENGTHS = 200
"""Documents of similar length that a text is placed among."""
_NEAREST = 10
_LETTERS = 4
_NO_LETTER = re.compile(r"[\W\d_]+")

Floats = NDArray[np.float64]
Rows = NDArray[np.uint64]


@dataclass(frozen=True)
class CorpusSample:
    """A sample of a run's documents."""

    vectors: NDArray[np.float32]
    """(m, d) of length 1."""
    letter_runs: NDArray[np.uint32]
    """(w,) rising: hashes of all runs of four letters."""

    @classmethod
    def of(cls, vectors: NDArray[np.float32], texts: Sequence[str]) -> CorpusSample:
        """vectors: (m, d) of length 1, of any documents of the sample. texts: of all."""
        hashes = [np.empty(0, np.uint32), *(_letter_runs(text) for text in texts)]
        return cls(vectors, np.unique(np.concatenate(hashes)))

    def similarities(self, vectors: NDArray[np.float32]) -> Floats:
        """(m,) mean cosine with the ten nearest documents. vectors: (m, d) of length 1."""
        cosines = vectors @ self.vectors.T
        count = min(_NEAREST, cosines.shape[1])
        return np.sort(cosines, axis=1)[:, -count:].mean(axis=1).astype(np.float64)

    def unknown_share(self, text: str) -> float:
        """The share of a text's runs of four letters that no document contains; 0 for a text without letters."""
        runs = np.unique(_letter_runs(text))
        places = np.minimum(np.searchsorted(self.letter_runs, runs), max(0, len(self.letter_runs) - 1))
        if not len(runs) or not len(self.letter_runs):
            return 0.0
        return float((self.letter_runs[places] != runs).mean())


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Documents that texts are placed among, by length; none where there are too few."""

    lengths: NDArray[np.int64]
    """(c,) characters, rising."""
    unexplained: Floats
    """(c,) the share of the vector that the features leave."""
    similarities: Floats
    """(c,) as CorpusSample.similarities."""
    unknown_shares: Floats
    """(c,) as CorpusSample.unknown_share."""
    held_out: bool
    """Whether the training has seen none of them."""

    def __len__(self) -> int:
        return len(self.lengths)

    @classmethod
    def of(
        cls,
        corpus: CorpusSample,
        *,
        texts: Sequence[str],
        vectors: NDArray[np.float32],
        unexplained: Floats,
        held_out: bool,
    ) -> Calibration:
        """For documents that are not in the sample; vectors: (c, d) of length 1."""
        lengths = np.array([len(text) for text in texts], np.int64)
        order = np.argsort(lengths, kind="stable")
        return cls(
            lengths=lengths[order],
            unexplained=unexplained[order],
            similarities=corpus.similarities(vectors)[order],
            unknown_shares=np.array([corpus.unknown_share(text) for text in texts])[order],
            held_out=held_out,
        )

    def of_length(self, length: int) -> Calibration:
        """The 200 documents whose lengths are closest to this one, in either direction."""
        count = min(_SIMILAR_LENGTHS, len(self))
        start = int(np.clip(np.searchsorted(self.lengths, length) - count // 2, 0, len(self) - count))
        part = slice(start, start + count)
        return Calibration(
            lengths=self.lengths[part],
            unexplained=self.unexplained[part],
            similarities=self.similarities[part],
            unknown_shares=self.unknown_shares[part],
            held_out=self.held_out,
        )


@dataclass(frozen=True)
class Reference:
    """What texts are compared with."""

    corpus: CorpusSample
    calibration: Calibration

    @classmethod
    def empty(cls) -> Reference:
        """Of a run with too few documents, and of statistics of older versions."""
        none = np.empty(0)
        calibration = Calibration(
            lengths=np.empty(0, np.int64), unexplained=none, similarities=none, unknown_shares=none, held_out=False
        )
        return cls(CorpusSample(np.empty((0, 1), np.float32), np.empty(0, np.uint32)), calibration)


@dataclass(frozen=True, kw_only=True)
class Familiarity:
    """The place of a text among documents of similar length."""

    unexplained_percentile: float
    """Share of the documents of which the features leave less."""
    similarity: float
    """Mean cosine with the ten nearest of a sample of the corpus."""
    similarity_percentile: float
    """Share of the documents that are less similar to the corpus."""
    unknown_share: float
    """Share of its runs of four letters that no document of a sample contains."""
    unknown_percentile: float
    """Share of the documents with a smaller share."""
    p_value: float
    """How often a new document of the corpus is as far from it as this text."""
    document_count: int
    shortest: int
    """Characters of the shortest of these documents."""
    longest: int
    held_out: bool
    """Whether the training has seen none of these documents."""

    @property
    def out_of_distribution(self) -> bool:
        """Whether the text is unlike the documents of the corpus."""
        return self.p_value <= FALSE_ALARM_RATE


def divided(rows: Rows, held_out: Rows) -> tuple[Rows, Rows]:
    """Rows to compare with and rows to calibrate on, rising; none where there are too few.

    rows: a sample of all rows. held_out: rows that the training has not seen; with too few of them, a quarter of the
    sample takes their place.
    """
    random = np.random.default_rng(0)
    candidates = held_out if len(held_out) >= MIN_CALIBRATION_ROWS else random.permutation(rows)[: len(rows) // 4]
    calibration = np.sort(random.permutation(candidates)[:CALIBRATION_ROWS])
    sample = rows[np.isin(rows, calibration, invert=True)]
    if len(calibration) < MIN_CALIBRATION_ROWS or not len(sample):
        return rows[:0], rows[:0]
    return np.sort(random.permutation(sample)[:LETTER_ROWS]), calibration


def sampled_vectors(vectors: Vectors) -> NDArray[np.float32]:
    """(m, d) the vectors of as many rows as texts are compared with by their embeddings."""
    places = np.random.default_rng(0).permutation(len(vectors.rows))[:SAMPLE_ROWS]
    return vectors.matrix[np.sort(places)]


def familiarity(
    reference: Reference, *, text: str, vector: NDArray[np.float32], unexplained: float
) -> Familiarity | None:
    """The place of a text with its vector (d,); None where there are too few documents."""
    if not len(reference.calibration):
        return None
    documents = reference.calibration.of_length(len(text))
    length = float(np.linalg.norm(vector))
    unit = (vector / length if length else vector).astype(np.float32)
    similarity = float(reference.corpus.similarities(unit[None, :])[0])
    unknown_share = reference.corpus.unknown_share(text)
    as_dissimilar = _p_value(documents.similarities <= similarity)
    as_unknown = _p_value(documents.unknown_shares >= unknown_share)
    return Familiarity(
        unexplained_percentile=float((documents.unexplained < unexplained).mean()),
        similarity=similarity,
        similarity_percentile=float((documents.similarities < similarity).mean()),
        unknown_share=unknown_share,
        unknown_percentile=float((documents.unknown_shares < unknown_share).mean()),
        p_value=min(1.0, 2 * min(as_dissimilar, as_unknown)),
        document_count=len(documents),
        shortest=int(documents.lengths[0]),
        longest=int(documents.lengths[-1]),
        held_out=documents.held_out,
    )


def _p_value(as_far: NDArray[np.bool_]) -> float:
    """That of a document which stands with those that are as far from the corpus (conformal prediction)."""
    return float((1 + as_far.sum()) / (1 + len(as_far)))


def _letter_runs(text: str) -> NDArray[np.uint32]:
    """Hashes of a text's runs of four letters; a blank, or the start or end of the text, counts as one."""
    letters = f" {_NO_LETTER.sub(' ', text[:MAX_CHARACTERS].casefold()).strip()} "
    codes = np.frombuffer(letters.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    count = len(codes) - _LETTERS + 1
    if count < 1:
        return np.empty(0, np.uint32)
    hashes = np.zeros(count, np.uint64)
    for offset in range(_LETTERS):
        hashes = hashes * np.uint64(0x100000001B3) + codes[offset : offset + count]
    return (mixed(hashes) & np.uint64(0xFFFFFFFF)).astype(np.uint32)
