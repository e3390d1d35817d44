"""How alike documents are apart from the label that they share: a word in several senses leaves them no more alike
than random documents, a topic does."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from services.interpreter import scoring
from services.interpreter.near_misses import unit_rows
from services.interpreter.scoring import Floats, Score

Matrix = NDArray[np.float32]


class Background:
    """Random documents of a run, with which others are compared."""

    def __init__(self, vectors: Matrix) -> None:
        """vectors: (b, d), of length 1."""
        self._vectors = vectors

    def coherence(self, documents: Matrix, label: Matrix) -> Score | None:
        """The probability that two documents, without the label, are more alike than two random ones.

        None for fewer than five documents. documents: (m, d) those that mention the label, of length 1. label: (d,) its
        embedding, of length 1, whose direction is taken out of them.
        """
        if min(len(documents), len(self._vectors)) < scoring.MIN_DOCUMENTS:
            return None
        direction = unit_rows((label - self._centre)[None])[0]
        centred = documents - self._centre
        rest = unit_rows(centred - np.outer(centred @ direction, direction))
        alike = rest @ rest.T
        shares = scoring.placements(alike.ravel().astype(np.float64), self._cosines).reshape(alike.shape)
        return scoring.score_of_pairs(shares, silent_count=len(self._vectors))

    @cached_property
    def _centre(self) -> Matrix:
        """(d,) the mean: what all documents of the corpus have in common."""
        return self._vectors.mean(axis=0)

    @cached_property
    def _cosines(self) -> Floats:
        """(b (b - 1) / 2,) those of pairs of random documents."""
        centred = unit_rows(self._vectors - self._centre)
        return (centred @ centred.T)[np.triu_indices(len(centred), 1)].astype(np.float64)
