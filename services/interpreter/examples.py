"""Which documents show what a feature does: the strongest, some of each tenth of its activations, and silent ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

import numpy as np
from numpy.typing import NDArray

from services.interpreter.documents import Document
from services.interpreter.evidence import DECILES
from services.interpreter.features import Features
from services.interpreter.statistics import NO_ROW

MAX_EXAMPLES = 50
"""Examples of a kind that people see."""
_OF_EACH_DECILE = MAX_EXAMPLES // DECILES


class ExampleKind(Enum):
    """Which documents."""

    STRONGEST = auto()
    DECILE = auto()
    """From all tenths of the activations, or from one of them."""
    NEAR_MISS = auto()
    """Silent, nearest to the latent's detector."""
    RANDOM = auto()
    """Silent, at random."""


@dataclass(frozen=True)
class ExampleRow:
    """A document's row."""

    row: int
    activation: float
    """0 for a silent document."""
    decile: int | None = None
    """1 for the strongest tenth of all active rows … 10; None for a silent document."""


@dataclass(frozen=True)
class Example:
    """A document that shows what a feature does."""

    document: Document
    row: ExampleRow
    tail: bool
    """Whether the activation is below the feature's threshold."""


@dataclass(frozen=True)
class Decile:
    """A tenth of a feature's activations."""

    number: int
    """1 for the strongest … 10."""
    strongest: float
    weakest: float
    score: float | None
    """The share of near misses that the label fits less than these documents; None where it was not tested on any."""


def example_rows(
    features: Features, index: int, kind: ExampleKind = ExampleKind.STRONGEST, decile: int | None = None
) -> list[ExampleRow]:
    """Up to 50 rows of a feature: active ones with the strongest first, near misses with the nearest first.

    decile: 1 to 10, the tenth to take active rows from; None for some of each.
    """
    statistics = features.statistics
    if kind is ExampleKind.NEAR_MISS:
        return _silent(statistics.near_rows[index])
    if kind is ExampleKind.RANDOM:
        return _silent(statistics.random_rows[index])
    rows, activations, deciles = _sample(features, index)
    if kind is ExampleKind.STRONGEST:
        rows, activations = features.top(index, MAX_EXAMPLES)
        count = max(1, int(statistics.active_count[index]))
        deciles = np.minimum(DECILES, np.arange(len(rows)) * DECILES // count + 1)
        places = np.arange(len(rows))
    elif decile is not None:
        places = np.flatnonzero(deciles == decile)[:MAX_EXAMPLES]
    else:
        places = np.concatenate([_spread(np.flatnonzero(deciles == number)) for number in range(1, DECILES + 1)])
    return [ExampleRow(int(rows[place]), float(activations[place]), int(deciles[place])) for place in places.tolist()]


def deciles(features: Features, index: int) -> list[Decile]:
    """The tenths of a feature's activations that have documents, the strongest first."""
    _rows, activations, numbers = _sample(features, index)
    label = features.labels.get(index)
    scores = label.draft.scores if label and label.draft.text else None
    areas: Sequence[float | None] = scores.deciles if scores and scores.deciles else [None] * DECILES
    return [
        Decile(
            number=number,
            strongest=float(activations[numbers == number].max()),
            weakest=float(activations[numbers == number].min()),
            score=areas[number - 1],
        )
        for number in np.unique(numbers).tolist()
    ]


def _sample(features: Features, index: int) -> tuple[NDArray[np.uint64], NDArray[np.float32], NDArray[np.int64]]:
    """(rows, activations, deciles) of active rows at equal steps from the strongest to the weakest."""
    in_use = features.statistics.sample_rows[index] != NO_ROW
    count = int(in_use.sum())
    numbers = np.arange(count) * DECILES // max(1, count) + 1
    return features.statistics.sample_rows[index][in_use], features.statistics.sample_values[index][in_use], numbers


def _spread(places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Up to five of some places, at equal steps."""
    steps = np.linspace(0, max(0, len(places) - 1), min(_OF_EACH_DECILE, len(places)))
    return places[np.unique(np.round(steps).astype(np.int64))[: len(places)]]


def _silent(rows: NDArray[np.uint64]) -> list[ExampleRow]:
    return [ExampleRow(row, 0.0) for row in rows[rows != NO_ROW][:MAX_EXAMPLES].tolist()]
