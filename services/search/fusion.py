"""Several rankings of the same documents as one.

Parts are fused over the union of their candidates. A document that only one part has found gets its exact score in
the other part too, computed from what is stored (0 for a text without any word of the query), so that what the fused
score says does not hang on where a list was cut; one that cannot be scored there, for want of a vector, gets nothing
from it. Ranks are not invented: who is not among a part's candidates has none.
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
    """One part's view of C documents.

    name: `text`, `dense` or `sparse`. scores: (C,), NaN where there is none. ranks: (C,) from 1, 0 for none.
    weight: how much it counts.
    """

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
    """Scores scaled so that the least is 0 and the most 1; where all are equal, 1 if they are positive, else 0.

    NaN becomes 0, and bounds nothing.
    """
    known = scores[~np.isnan(scores)]
    if not len(known):
        return np.zeros(len(scores))
    low, width = float(known.min()), float(known.max()) - float(known.min())
    flat = width < np.finfo(np.float64).tiny
    scaled = np.where(scores > 0, 1.0, 0.0) if flat else (scores - low) / width
    return np.nan_to_num(scaled, nan=0.0)


def _reciprocal(part: Part) -> Scores:
    """1 / (60 + rank), Cormack, Clarke and Büttcher 2009; nothing where there is no rank."""
    ranked = part.ranks > 0
    values = np.zeros(len(part.ranks))
    values[ranked] = part.weight / (RECIPROCAL_RANK_OFFSET + part.ranks[ranked])
    return values
