"""Several rankings of the same documents as one.

Parts are fused over the union of their candidates. A document that is a candidate of one part only gets its exact score
in the other part too, computed from what is stored (0 for a text without any word of the query), so that the fused
score does not depend on where a list was cut; one that cannot be scored there, because it has no vector, gets nothing
from it. A document that is not among a part's candidates has no rank in it.

Steering is a part of its own scale: what it adds is not scaled by the documents that happen to be candidates. Nor do
documents that only steering has found change the scale of the other parts, so that steering changes no contribution
but its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

import numpy as np
from numpy.typing import NDArray

from services.search.backend import Scores

RECIPROCAL_RANK_OFFSET = 60


class Fusion(Enum):
    """How parts become one score."""

    MIN_MAX = auto()
    RECIPROCAL_RANK = auto()


@dataclass(frozen=True)
class Part:
    """One part's scores of C documents."""

    name: str
    """`text`, `dense`, `sparse` or `steering`."""
    scores: Scores
    """(C,), NaN where there is none."""
    ranks: NDArray[np.int64]
    """(C,) from 1, 0 for none."""
    weight: float


def contributions(parts: Sequence[Part], fusion: Fusion, are_candidates: NDArray[np.bool_]) -> Scores:
    """(P, C): what each part adds to each document's score; a document's score is the sum over parts.

    are_candidates: (C,) which documents the parts have found themselves.
    """
    if fusion is Fusion.RECIPROCAL_RANK:
        return np.array([_reciprocal(part) for part in parts])
    return np.array([part.weight * min_max(part.scores, are_candidates) for part in parts])


def steering_unit(fusion: Fusion) -> float:
    """What a steering score of 1 adds: as much as being first in another part of weight 1."""
    return 1.0 / (RECIPROCAL_RANK_OFFSET + 1) if fusion is Fusion.RECIPROCAL_RANK else 1.0


def min_max(scores: Scores, are_candidates: NDArray[np.bool_]) -> Scores:
    """Scores scaled so that the lowest is 0 and the highest 1; where all are equal, 1 if they are positive, else 0.

    NaN becomes 0, and is ignored otherwise. are_candidates: whose scores set the scale; others below it get 0.
    """
    finite = scores[~np.isnan(scores) & are_candidates]
    if not len(finite):
        return np.zeros(len(scores))
    low, width = float(finite.min()), float(finite.max()) - float(finite.min())
    flat = width < np.finfo(np.float64).tiny
    scaled = np.where((scores > 0) & (scores >= low), 1.0, 0.0) if flat else (scores - low) / width
    return np.maximum(np.nan_to_num(scaled, nan=0.0), 0.0)


def _reciprocal(part: Part) -> Scores:
    """1 / (60 + rank), Cormack, Clarke and Büttcher 2009; nothing where there is no rank."""
    ranked = part.ranks > 0
    values = np.zeros(len(part.ranks))
    values[ranked] = part.weight / (RECIPROCAL_RANK_OFFSET + part.ranks[ranked])
    return values
