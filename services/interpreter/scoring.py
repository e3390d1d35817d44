"""How well a label tells documents that activate a latent from others: a rank statistic with an interval.

The score is the area under the ROC curve: the probability that the label fits an active document better than a silent
one, ties counted half; 0.5 is chance. Intervals are percentiles of a Bayesian bootstrap (Rubin 1981) over both kinds of
documents.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 400
PRECISE = 0.85
"""A label is precise from the activation on at which so large a share of documents mention it."""
MIN_DOCUMENTS = 5
"""Of either kind, below which nothing is scored."""

_NORMAL_95 = 1.959964
"""Standard deviations from the mean within which 95 % of a normal distribution lie."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """An area under the curve."""

    auc: float
    low: float
    """The lower end of its 95 % interval."""
    high: float
    active_count: int
    silent_count: int


@dataclass(frozen=True)
class Share:
    """A share of documents."""

    value: float
    low: float
    """The lower end of its 95 % interval (Wilson 1927)."""
    high: float
    document_count: int


class Method(StrEnum):
    """How a label is compared with documents."""

    EMBEDDING = "EMBEDDING"
    """By the cosine of its embedding and theirs."""
    WORDS = "WORDS"
    """By the share of its phrases that they contain."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What tests of a label on its latent's documents for scoring gave."""

    method: Method
    """Of `score`, `deciles`, `floor` and `threshold`: EMBEDDING, or WORDS where texts cannot be embedded."""
    threshold: float | None
    """The activation from which the label is precise; None where it is precise nowhere."""
    score: Score | None
    """Against hard silent documents, on active ones from the threshold on; on all where there is none."""
    embedding_hard: Score | None
    """By embedding, on all active documents against hard silent ones; the next ones likewise."""
    embedding_random: Score | None
    words_hard: Score | None
    words_random: Score | None
    deciles: tuple[float | None, ...]
    """Against hard silent documents, by decile of the activation, the strongest first."""
    floor: float | None = None
    """What the label of a different feature scores on the same documents."""
    ceiling: float | None = None
    """What the latent's detector scores on them."""
    judge: str | None = None
    """The language model that judged it too."""
    mentions: Share | None = None
    """Active documents from the threshold on that mention the label; None where there are none, and in older tests."""
    near_mentions: Share | None = None
    """Hard silent documents that mention it; None likewise."""
    breadth: float | None = None
    """Documents with its most frequent phrase, relative to those that activate the latent; None in older tests."""
    coherence: Score | None = None
    """That two of the documents that mention it are, without it, more alike than two random ones, if measured."""


def placements(active: Floats, silent: Floats) -> Floats:
    """(m,) for each active document the share of silent ones that the label fits less, ties half. active: (m,) fits."""
    ordered = np.sort(silent)
    below, not_above = (np.searchsorted(ordered, active, side=side) for side in ("left", "right"))
    return (below + not_above) / (2 * max(1, len(silent)))


def auc(active: Floats, silent: Floats) -> float:
    """The area under the curve; 0.5 where either side is empty."""
    return float(placements(active, silent).mean()) if len(active) and len(silent) else 0.5


def score(active: Floats, silent: Floats, *, seed: int = 0) -> Score | None:
    """The area under the curve with its interval; None for too few documents. active, silent: fits."""
    if min(len(active), len(silent)) < MIN_DOCUMENTS:
        return None
    wins = (active[:, None] > silent).astype(np.float64) + (active[:, None] == silent) / 2
    active_weights, silent_weights = _weights(seed, len(active), len(silent))
    resampled = ((active_weights @ wins) * silent_weights).sum(axis=1)
    low, high = np.percentile(resampled, [2.5, 97.5])
    return Score(
        auc=float(wins.mean()), low=float(low), high=float(high), active_count=len(active), silent_count=len(silent)
    )


def score_of_pairs(shares: Floats, *, silent_count: int, seed: int = 0) -> Score | None:
    """The mean over all pairs of m different documents, with its interval; None for too few documents.

    shares: (m, m) for each pair the share of pairs of other documents that it exceeds.
    """
    count = len(shares)
    if count < MIN_DOCUMENTS:
        return None
    pairs = shares * (1 - np.eye(count))
    (weights,) = _weights(seed, count)
    resampled = ((weights @ pairs) * weights).sum(axis=1) / (1 - (weights**2).sum(axis=1))
    low, high = np.percentile(resampled, [2.5, 97.5])
    return Score(
        auc=float(pairs.sum() / (count * (count - 1))),
        low=float(low),
        high=float(high),
        active_count=count,
        silent_count=silent_count,
    )


@lru_cache(maxsize=32)
def _weights(seed: int, *counts: int) -> tuple[Floats, ...]:
    """(resamples, count) uniformly distributed weights of documents, with the sum 1, for each of some counts.

    Most features have the same numbers of documents.
    """
    random = np.random.default_rng([seed, *counts])
    weights = [random.standard_exponential((RESAMPLES, count)) for count in counts]
    return tuple(part / part.sum(axis=1, keepdims=True) for part in weights)


def by_decile(fits: Floats, deciles: NDArray[np.int64], silent: Floats) -> list[float | None]:
    """The area under the curve of each tenth of the active documents, the strongest first; None where there is none."""
    placed = placements(fits, silent)
    return [float(placed[deciles == decile].mean()) if (deciles == decile).any() else None for decile in range(10)]


def share(mask: NDArray[np.bool_]) -> Share | None:
    """The share of documents for which a mask is true; None for no documents."""
    count = len(mask)
    if not count:
        return None
    value, square = float(mask.mean()), _NORMAL_95**2
    centre = (value + square / (2 * count)) / (1 + square / count)
    half = _NORMAL_95 * math.sqrt(value * (1 - value) / count + square / (4 * count**2)) / (1 + square / count)
    return Share(value=value, low=max(0.0, centre - half), high=min(1.0, centre + half), document_count=count)


def threshold(activations: Floats, fitting: NDArray[np.bool_]) -> float | None:
    """The smallest activation from which a label is precise, None if it is precise nowhere.

    activations: (m,), the strongest first. fitting: (m,) whether the label fits each document. The share is fitted as
    a function that does not rise as the activation falls (isotonic regression).
    """
    fitted = _not_rising(fitting.astype(np.float64))
    precise = np.flatnonzero(fitted >= PRECISE)
    return float(activations[precise[-1]]) if len(precise) else None


def _not_rising(values: Floats) -> Floats:
    """The closest sequence (least squares) that does not rise: pool adjacent violators."""
    means: list[float] = []
    counts: list[int] = []
    for value in values.tolist():
        means.append(value)
        counts.append(1)
        while len(means) > 1 and means[-1] > means[-2]:
            mean, count = means.pop(), counts.pop()
            means[-1] = (means[-1] * counts[-1] + mean * count) / (counts[-1] + count)
            counts[-1] += count
    return np.repeat(means, counts) if means else np.empty(0)
