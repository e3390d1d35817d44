"""A classifier on a few features: chosen on one half of the documents, measured on the other.

Features are added one by one, each the one that promises most (the score test of a logistic regression), until none
promises more than chance among so many would; then all weights are fitted again. Documents of the other half, which had
no part in it, give the area under the curve.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, special

from services.interpreter.occurrences import Occurrences
from services.interpreter.scoring import auc
from services.interpreter.separation import area_interval

MIN_COUNT = 5
"""Documents with a feature, and documents of either kind, below which nothing is fitted."""
MAX_P = 0.05
"""The probability that chance among all features adds one more."""
_RIDGE = 1.0
"""Of squared weights, of features scaled to a deviation of 1: keeps weights finite where documents are separated."""
_STEPS = 50
_TOLERANCE = 1e-8

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Member:
    """A feature of the classifier."""

    column: int
    """The feature's place among the selected ones."""
    weight: float
    """What an activation of 1 adds to the score, the logarithm of the odds."""
    area: float
    """The area under the curve of the feature alone, on held-out documents."""


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """What tells positive documents from negative ones."""

    members: Sequence[Member]
    """In the order in which they were chosen."""
    intercept: float
    area: float
    """On held-out documents."""
    low: float
    high: float
    training_area: float
    training_counts: tuple[int, int]
    """Positive and negative documents that it was chosen on."""
    held_out_counts: tuple[int, int]


def fit(positive: Occurrences, negative: Occurrences, *, feature_count: int) -> Classifier:
    """Chooses at most so many features that tell documents apart."""
    training, held_out = ((_half(positive, confirming), _half(negative, confirming)) for confirming in (False, True))
    activations, is_positive = _stacked(training)
    columns, weights = _forward(activations, is_positive, feature_count)
    scores = [(part[:, columns] @ weights[1:]) for part in (*training, *held_out)]
    low, high = area_interval(scores[2], scores[3])
    held_out_area = auc(scores[2], scores[3])
    return Classifier(
        members=[
            Member(
                column,
                float(weight),
                auc(*(part[:, [column]].toarray().ravel().astype(np.float64) for part in held_out)),
            )
            for column, weight in zip(columns, weights[1:].tolist(), strict=True)
        ],
        intercept=float(weights[0]),
        area=held_out_area,
        low=min(low, held_out_area),
        high=max(high, held_out_area),
        training_area=auc(scores[0], scores[1]),
        training_counts=(training[0].shape[0], training[1].shape[0]),
        held_out_counts=(held_out[0].shape[0], held_out[1].shape[0]),
    )


def _half(occurrences: Occurrences, confirming: bool) -> sparse.csr_array:
    """(N, m) activations in one half of the documents."""
    return occurrences.of(np.flatnonzero(occurrences.confirming == confirming)).activations


def _stacked(parts: tuple[sparse.csr_array, sparse.csr_array]) -> tuple[sparse.csr_array, NDArray[np.bool_]]:
    """(N, m) activations of positive and negative documents, and which are positive."""
    activations = sparse.csr_array(sparse.vstack(parts, format="csr")).astype(np.float64)
    return activations, np.arange(activations.shape[0]) < parts[0].shape[0]


def _forward(
    activations: sparse.csr_array, is_positive: NDArray[np.bool_], feature_count: int
) -> tuple[list[int], Floats]:
    """The columns of the chosen features, and the intercept and their weights."""
    total, squares = len(is_positive), sparse.csr_array(activations.multiply(activations))
    eligible = np.asarray((activations > 0).sum(axis=0)).ravel() >= MIN_COUNT
    columns: list[int] = []
    weights = np.zeros(1)
    if min(is_positive.sum(), total - is_positive.sum()) < MIN_COUNT:
        return columns, weights
    weights = _logistic(np.empty((total, 0)), is_positive)
    for _ in range(feature_count):
        probability = special.expit(weights[0] + activations[:, columns] @ weights[1:])
        spread = probability * (1 - probability)
        slope = activations.T @ (is_positive - probability)
        information = squares.T @ spread - (activations.T @ spread) ** 2 / max(float(spread.sum()), 1e-12)
        statistic = np.where(eligible, np.abs(slope) / np.sqrt(np.maximum(information, 1e-12)), 0.0)
        best = int(statistic.argmax()) if len(statistic) else 0
        if not eligible.any() or special.erfc(statistic[best] / np.sqrt(2)) * eligible.sum() > MAX_P:
            break
        columns.append(best)
        eligible[best] = False
        weights = _logistic(activations[:, columns].toarray(), is_positive)
    return columns, weights


def _logistic(activations: Floats, is_positive: NDArray[np.bool_]) -> Floats:
    """(1 + c,) intercept and weights of a logistic regression on (N, c) activations, by Newton's method."""
    deviations = np.maximum(activations.std(axis=0), 1e-12)
    design = np.column_stack([np.ones(len(activations)), activations / deviations])
    ridge = np.full(design.shape[1], _RIDGE)
    ridge[0] = 0.0
    share = is_positive.mean()
    weights = np.zeros(design.shape[1])
    weights[0] = np.log(share / (1 - share))

    def loss(weights: Floats) -> float:
        margins = design @ weights
        return float(np.logaddexp(0, margins).sum() - margins[is_positive].sum() + (ridge * weights**2).sum() / 2)

    current = loss(weights)
    for _ in range(_STEPS):
        probability = special.expit(design @ weights)
        gradient = design.T @ (is_positive - probability) - ridge * weights
        curvature = (design.T * (probability * (1 - probability))) @ design + np.diag(ridge + 1e-9)
        step = np.linalg.solve(curvature, gradient)
        size = 1.0
        while (attempt := loss(weights + size * step)) > current and size > 1e-6:
            size /= 2
        weights = weights + size * step
        if current - attempt < _TOLERANCE * max(1.0, abs(current)):
            break
        current = attempt
    return weights / np.concatenate([[1.0], deviations])
