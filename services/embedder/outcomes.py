"""What embedding a batch of documents gave: checked vectors, and an outcome for each document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.chassis.errors import Code
from services.embedder.documents import Failure
from services.embedder.providers import Embedding


@dataclass(frozen=True)
class Outcome:
    """What embedding gave for one document: a vector or a failure.

    row: the document's row.
    position: of its vector in the batch's vectors; None for a failure.
    truncated: whether the model read only the beginning of the text.
    failure: why there is no vector; None for a vector.
    """

    row: int
    position: int | None
    truncated: bool
    failure: Failure | None


@dataclass(frozen=True)
class Batch:
    """Vectors (R, d) float32 of the documents that have one, and an outcome for every document."""

    vectors: NDArray[np.float32]
    outcomes: Sequence[Outcome]

    @property
    def failure_count(self) -> int:
        """Documents that have no vector."""
        return len(self.outcomes) - len(self.vectors)

    @property
    def first_failure(self) -> Failure | None:
        """Why the first of these has none."""
        return next((outcome.failure for outcome in self.outcomes if outcome.failure is not None), None)


def collect(rows: Sequence[int], answers: Sequence[Embedding | Failure], dimension: int) -> Batch:
    """The outcomes of `answers`, one for each of `rows`. `dimension` is the dataset's, 0 before its first vector.

    A vector with another dimension, with NaN or infinity, or of zeros alone is a failure of its document.
    """
    vectors: list[NDArray[np.float32]] = []
    outcomes: list[Outcome] = []
    for row, answer in zip(rows, answers, strict=True):
        if isinstance(answer, Embedding):
            dimension = dimension or len(answer.vector)
            answer = _checked(answer, dimension)
        if isinstance(answer, Failure):
            outcomes.append(Outcome(row=row, position=None, truncated=False, failure=answer))
        else:
            outcomes.append(Outcome(row=row, position=len(vectors), truncated=answer.truncated, failure=None))
            vectors.append(answer.vector)
    stacked = np.stack(vectors) if vectors else np.empty((0, dimension), dtype=np.float32)
    return Batch(stacked, outcomes)


def _checked(answer: Embedding, dimension: int) -> Embedding | Failure:
    vector = answer.vector
    if not np.isfinite(vector).all():
        return _invalid("the model returned a vector with NaN or infinity")
    if not vector.any():
        return _invalid("the model returned a vector of zeros: it recognises nothing in the text")
    if len(vector) != dimension:
        return _invalid(f"the model returned a vector of {len(vector)} numbers, the dataset's have {dimension}")
    return answer


def _invalid(message: str) -> Failure:
    return Failure(code=Code.INVALID_ARGUMENT, reason="INVALID_VECTOR", message=message)
