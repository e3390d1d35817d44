"""Labels that compete for a latent.

Three kinds of keyword labels compete: what its documents say and others do not (`keywords`); phrases, and pairs of
phrases, whose own embedding activates the latent more than others when it passes through the run's encode function; and
those nearest to the centre of its documents. Of a language model, its answers compete.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from prisma_common import wire
from services.interpreter import tokens
from services.interpreter.keywords import Contrast

MAX_PHRASES = 60
"""Phrases of a latent that are embedded."""
_ACTIVATING = 6
"""Phrases that pairs are made of: those that activate most, …"""
_NEAREST = 4
"""… and those that are nearest to the centre."""
_SINGLES = 3
_PAIRS = 4
"""Candidates of either kind."""

_COVERING = 4
"""Phrases of a candidate for several latents at most."""

Floats = NDArray[np.float32]
Pair = tuple[int, int]


class Origin(StrEnum):
    """Where a candidate comes from."""

    CONTRAST = "CONTRAST"
    ACTIVATION = "ACTIVATION"
    CENTRE = "CENTRE"
    MODEL = "MODEL"


@dataclass(frozen=True)
class Candidate:
    """A possible label."""

    text: str
    origin: Origin


@dataclass(frozen=True)
class Phrases:
    """The phrases of one latent that are embedded."""

    texts: Sequence[str]
    terms: Sequence[str]
    """In lower case."""

    @classmethod
    def of(cls, contrast: Contrast) -> Phrases:
        """The best phrases of a contrast, the strongest first."""
        best = contrast.phrases[:MAX_PHRASES]
        return cls([keyword.text for keyword in best], [keyword.term for keyword in best])

    def pairs(self, activations: Floats, closeness: Floats) -> list[Pair]:
        """Places of promising pairs of phrases that say different things."""
        pool = sorted({*_best(activations, _ACTIVATING), *(_best(closeness, _NEAREST, above=-2.0))})
        return [
            (first, second)
            for first, second in combinations(pool, 2)
            if not tokens.alike(self.terms[first], self.terms[second])
        ]

    def pair_text(self, pair: Pair) -> str:
        """Both phrases, the stronger first."""
        return f"{self.texts[pair[0]]}, {self.texts[pair[1]]}"


def shortlist(
    contrast: Contrast,
    phrases: Phrases,
    singles: tuple[Floats, Floats],
    pairs: tuple[Sequence[Pair], Floats, Floats],
) -> list[Candidate]:
    """The candidates, without repetition. singles: activations and closeness; pairs: with theirs."""
    activations, closeness = singles
    pair_places, pair_activations, pair_closeness = pairs
    result: dict[str, Origin] = {}

    def add(text: str, origin: Origin) -> None:
        result.setdefault(text, origin)

    if contrast.name is not None:
        add(contrast.name, Origin.CONTRAST)
        add(contrast.keywords[0].text, Origin.CONTRAST)
    for number in _best(pair_activations, _PAIRS):
        add(phrases.pair_text(pair_places[number]), Origin.ACTIVATION)
    for number in _best(activations, _SINGLES):
        add(phrases.texts[number], Origin.ACTIVATION)
    for number in _best(pair_closeness, _PAIRS, above=-2.0):
        add(phrases.pair_text(pair_places[number]), Origin.CENTRE)
    for number in _best(closeness, _SINGLES, above=-2.0):
        add(phrases.texts[number], Origin.CENTRE)
    return [Candidate(text, origin) for text, origin in result.items()]


def covering(phrases: Sequence[str], mentions: NDArray[np.bool_], near_mentions: NDArray[np.bool_]) -> list[Candidate]:
    """Phrases that together are mentioned by the most documents: one, two, … of them, each the best to add.

    mentions: (documents, phrases) of documents for writing. near_mentions: likewise, of silent ones: they count
    against a phrase.
    """
    cost = near_mentions.mean(axis=0) if len(near_mentions) else np.zeros(len(phrases))
    left = np.ones(len(mentions), np.bool_)
    texts: list[str] = []
    result: list[Candidate] = []
    for _ in range(min(_COVERING, len(phrases))):
        gains = mentions[left].sum(axis=0) / max(1, len(mentions)) - cost
        best = int(gains.argmax())
        if gains[best] <= 0:
            break
        texts.append(phrases[best])
        left &= ~mentions[:, best]
        result.append(Candidate(", ".join(texts), Origin.CONTRAST))
    return result


def by_words(contrast: Contrast) -> list[Candidate]:
    """The candidates where texts cannot be embedded."""
    texts = [contrast.name or "", *(keyword.text for keyword in contrast.keywords)]
    return [Candidate(text, Origin.CONTRAST) for text in dict.fromkeys(texts) if text]


def activations_of(latents: Sequence[int], codes: wire.Codes) -> Floats:
    """(m,) how strongly each of m codes activates some latents together; half where another is activated most."""
    result = np.zeros(len(codes), np.float32)
    for place in range(len(codes)):
        indices, values = codes.row(place)
        own = np.isin(indices, latents)
        if own.any():
            total = values[own].sum()
            result[place] = total if values[own].max() == values.max() else total / 2
    return result


def _best(values: Floats, count: int, above: float = 0.0) -> list[int]:
    """Places of the largest values above a limit, the largest first, ties to the lower place."""
    order = np.lexsort((np.arange(len(values)), -values))[:count]
    return [int(place) for place in order if values[place] > above]
