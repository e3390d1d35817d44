"""What scorers measure of a label, and how far they agree.

Whatever finds out whether a label fits a document gives numbers, fits, for the same documents; so scores by words, by
embedding and by a language model can be compared. Correlations have intervals like those of scores: percentiles of a
Bayesian bootstrap over the documents.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from services.interpreter import scoring
from services.interpreter.evidence import DECILES
from services.interpreter.judging import Fits
from services.interpreter.scoring import MIN_DOCUMENTS, RESAMPLES, Floats, Score


class Scorer(StrEnum):
    """What finds out whether a label fits a document."""

    WORDS = "WORDS"
    EMBEDDING = "EMBEDDING"
    DETECTION = "DETECTION"
    """A language model rates documents (Paulo et al. 2024, with the graded answers of O'Neill et al. 2024)."""
    FUZZING = "FUZZING"
    """A language model rates marked parts of documents (Paulo et al. 2024)."""
    DECODER = "DECODER"
    """The latent's detector, whatever the label: the ceiling."""


@dataclass(frozen=True)
class Correlation:
    """A correlation, −1 to 1."""

    value: float
    low: float
    """The lower end of its 95 % interval."""
    high: float
    document_count: int


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What one scorer measured."""

    scorer: Scorer
    hard: Score | None
    """Against similar silent documents."""
    random: Score | None = None
    """Against random ones."""
    deciles: tuple[Score | None, ...] = ()
    """Against similar ones, the strongest tenth first."""
    floor: float | None = None
    """What labels of different features score, on average."""
    model: str | None = None
    """The language model."""
    correlation: Correlation | None = None
    """Of its ratings with activations."""
    question_count: int = 0
    unusable_count: int = 0
    """Documents for which it gave no usable answer."""


@dataclass(frozen=True)
class Agreement:
    """How far two scorers agree about documents."""

    first: Scorer
    second: Scorer
    correlation: Correlation
    """Spearman's."""


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """All that was measured of a label."""

    scorers: tuple[Measurement, ...]
    agreements: tuple[Agreement, ...]


def measured(scorer: Scorer, fits: Fits, deciles: NDArray[np.int64], *, floor: float | None = None) -> Measurement:
    """The scores of one scorer. deciles: of the active documents, from 0."""
    by_decile = [scoring.score(fits.active[deciles == decile], fits.hard) for decile in range(DECILES)]
    return Measurement(
        scorer=scorer,
        hard=scoring.score(fits.active, fits.hard),
        random=scoring.score(fits.active, fits.random),
        deciles=tuple(by_decile) if any(by_decile) else (),
        floor=floor,
    )


def pearson(first: Floats, second: Floats) -> Correlation | None:
    """The correlation of (m,) values; None for fewer than 5, or where either is constant."""
    if len(first) < MIN_DOCUMENTS or not np.ptp(first) or not np.ptp(second):
        return None
    weights = np.random.default_rng(len(first)).standard_exponential((RESAMPLES, len(first)))
    resampled = _weighted(first, second, weights / weights.sum(axis=1, keepdims=True))
    low, high = np.percentile(resampled, [2.5, 97.5])
    value = float(_weighted(first, second, np.full((1, len(first)), 1 / len(first)))[0])
    return Correlation(value, float(min(low, value)), float(max(high, value)), len(first))


def spearman(first: Floats, second: Floats) -> Correlation | None:
    """As `pearson`, of the ranks."""
    return pearson(rankdata(first), rankdata(second))


def agreements(ratings: dict[Scorer, Floats]) -> tuple[Agreement, ...]:
    """How far each two of some scorers agree. ratings: (m,) of the same documents; NaN where there is none."""
    result: list[Agreement] = []
    for first, second in combinations(ratings, 2):
        both = ~(np.isnan(ratings[first]) | np.isnan(ratings[second]))
        correlation = spearman(ratings[first][both], ratings[second][both])
        if correlation is not None:
            result.append(Agreement(first, second, correlation))
    return tuple(result)


def _weighted(first: Floats, second: Floats, weights: Floats) -> Floats:
    """(resamples,) weighted correlations. weights: (resamples, m), each row with the sum 1."""
    mean_first, mean_second = weights @ first, weights @ second
    covariance = weights @ (first * second) - mean_first * mean_second
    variances = (weights @ first**2 - mean_first**2) * (weights @ second**2 - mean_second**2)
    return np.clip(covariance / np.sqrt(np.maximum(variances, 1e-300)), -1, 1)
