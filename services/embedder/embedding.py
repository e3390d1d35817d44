"""Embeds texts of a dataset, batch by batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.chassis.errors import Code
from services.embedder.documents import Failure
from services.embedder.providers import Embedding
from services.embedder.store import Outcome


@dataclass(frozen=True)
class Batch:
    """What became of a batch: vectors (R, d) float32 of those that have one, and each document's outcome."""

    vectors: NDArray[np.float32]
    outcomes: Sequence[Outcome]


def collect(rows: Sequence[int], answers: Sequence[Embedding | Failure], dimension: int) -> Batch:
    """A batch of answers, in the order of `rows`. `dimension` is the dataset's, 0 before its first vector.

    A vector of another dimension, or one with NaN or infinity, is a failure of its document.
    """
    vectors: list[NDArray[np.float32]] = []
    outcomes: list[Outcome] = []
    for row, answer in zip(rows, answers, strict=True):
        if isinstance(answer, Embedding):
            dimension = dimension or len(answer.vector)
            answer = _checked(answer, dimension)
        if isinstance(answer, Failure):
            outcomes.append(Outcome(row, None, False, answer))
        else:
            outcomes.append(Outcome(row, len(vectors), answer.truncated, None))
            vectors.append(answer.vector)
    stacked = np.stack(vectors) if vectors else np.empty((0, dimension), dtype=np.float32)
    return Batch(stacked, outcomes)


def _checked(answer: Embedding, dimension: int) -> Embedding | Failure:
    if len(answer.vector) != dimension:
        message = f"the model gave {len(answer.vector)} numbers, the dataset's vectors have {dimension}"
        return Failure(Code.INVALID_ARGUMENT, "INVALID_VECTOR", message)
    if not np.isfinite(answer.vector).all():
        return Failure(Code.INVALID_ARGUMENT, "INVALID_VECTOR", "the model gave a vector with NaN or infinity")
    return answer
