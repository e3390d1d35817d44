"""Several rankings of the same documents as one.

Parts are fused over the union of their candidates. A document that only one part has found gets its exact score in
the other part too, computed from what is stored (0 for a text without any word of the query), so that what the fused
score says does not hang on where a list was cut. Ranks are not invented: who is not among a part's candidates has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

import numpy as np
from numpy.typing import NDArray

from services.search.index import Scores

RECIPROCAL_RANK_OFFSET = 60


class Fusion(Enum):
    """How parts become one score."""

    MIN_MAX = auto()
    RECIPROCAL_RANK = auto()


@dataclass(frozen=True)
class Part:
    """One part's view of C documents. name: `text`, `dense` or `sparse`. scores: (C,). ranks: (C,) from 1, 0 for none.
    weight: how much it counts."""

    name: str
    scores: Scores
    ranks: NDArray[np.int64]
    weight: float


def contributions(parts: Sequence[Part], fusion: Fusion) -> Scores:
    """(P, C): what each part adds to each document's score; a document's score is the sum over parts."""
    if fusion is Fusion.RECIPROCAL_RANK:
        return np.array([_reciprocal(part) for part in parts])
    return np.array([part.weight * min_max(part.scores) for part in parts])


def min_max(scores: Scores) -> Scores:
    """Scores scaled so that the least is 0 and the most 1; where all are equal, 1 if they are positive, else 0."""
    if not len(scores):
        return scores
    low, high = float(scores.min()), float(scores.max())
    if high - low <= 0 or not np.isfinite(1 / (high - low)):
        return np.full(len(scores), 1.0 if high > 0 else 0.0)
    return (scores - low) / (high - low)


def _reciprocal(part: Part) -> Scores:
    """1 / (60 + rank), Cormack, Clarke and Büttcher 2009; nothing where there is no rank."""
    ranked = part.ranks > 0
    values = np.zeros(len(part.ranks))
    values[ranked] = part.weight / (RECIPROCAL_RANK_OFFSET + part.ranks[ranked])
    return values
