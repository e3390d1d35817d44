"""Pairs of features that occur together more often than by chance although their labels are not alike.

Most features that occur together say nearly the same, and their labels show it. What remains when those are left out
says something of the documents: topics that meet, or an artefact of how documents were collected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, special

from services.interpreter.occurrences import Occurrences
from services.interpreter.significance import odds_ratio, q_values

MIN_SHARED = 3
"""Documents that two features must share: two rare ones meet by chance."""
_REFERENCE_PAIRS = 200_000
"""Pairs of labels at random that the similarity of a pair is compared with."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Correlation:
    """Two features that occur together."""

    first: int
    """Their places among the selected ones."""
    second: int
    shared: int
    first_count: int
    second_count: int
    expected: float
    odds_ratio: float
    low: float
    high: float
    p_value: float
    q_value: float
    similarity: float
    """Cosine of the labels."""
    similarity_rank: float
    """The share of pairs of labels that are less similar."""


@dataclass(frozen=True)
class Correlations:
    """What occurs together."""

    unexplained: Sequence[Correlation]
    """Pairs whose labels are not alike, the strongest effect first."""
    significant_count: int
    document_count: int


def correlate(occurrences: Occurrences, labels: NDArray[np.float32], *, max_q: float, max_rank: float) -> Correlations:
    """Pairs of features that occur together. labels: (m, d) vectors of length 1."""
    distinct = occurrences.of(np.unique(occurrences.fingerprints, return_index=True)[1])
    total, feature_count = len(distinct), len(labels)
    counts = np.asarray(distinct.present.sum(axis=0)).ravel()
    pairs = sparse.triu(distinct.present.T @ distinct.present, k=1).tocoo()
    enough = pairs.data >= MIN_SHARED
    first, second, shared = pairs.coords[0][enough], pairs.coords[1][enough], pairs.data[enough]
    rarer, denser = np.minimum(counts[first], counts[second]), np.maximum(counts[first], counts[second])
    p_values = np.asarray(special.betainc(shared, rarer - shared + 1, denser / max(1, total)), np.float64)
    q = q_values(p_values, test_count=feature_count * (feature_count - 1) // 2)
    estimate = odds_ratio(shared, counts[first], counts[second] - shared, total - counts[first])
    similarity = np.einsum("pd,pd->p", labels[first], labels[second]).astype(np.float64)
    rank = _ranks(similarity, labels)
    significant = q <= max_q
    places = np.flatnonzero(significant & (rank <= max_rank))
    places = places[np.lexsort((p_values[places], -estimate.low[places]))]
    return Correlations(
        [
            Correlation(
                first=int(first[place]),
                second=int(second[place]),
                shared=int(shared[place]),
                first_count=int(counts[first[place]]),
                second_count=int(counts[second[place]]),
                expected=float(counts[first[place]] * counts[second[place]] / total),
                odds_ratio=float(estimate.value[place]),
                low=float(estimate.low[place]),
                high=float(estimate.high[place]),
                p_value=float(p_values[place]),
                q_value=float(q[place]),
                similarity=float(similarity[place]),
                similarity_rank=float(rank[place]),
            )
            for place in places.tolist()
        ],
        int(significant.sum()),
        total,
    )


def word_vectors(labels: Sequence[str]) -> NDArray[np.float32]:
    """(m, words) vectors of length 1 of the labels' words, where they cannot be embedded."""
    contents = [set(label.lower().replace(",", " ").split()) for label in labels]
    columns = {word: column for column, word in enumerate(sorted(set[str]().union(*contents)))}
    vectors = np.zeros((len(labels), max(1, len(columns))), np.float32)
    for vector, content in zip(vectors, contents, strict=True):
        vector[[columns[word] for word in content]] = 1 / np.sqrt(max(1, len(content)))
    return vectors


def _ranks(similarity: Floats, labels: NDArray[np.float32]) -> Floats:
    """The share of pairs of labels that are less similar than each, equal ones counted half."""
    count = len(labels)
    if count * (count - 1) // 2 <= _REFERENCE_PAIRS:
        first, second = np.triu_indices(count, 1)
    else:
        random = np.random.default_rng(0)
        first = random.integers(count, size=_REFERENCE_PAIRS)
        second = (first + random.integers(1, count, size=_REFERENCE_PAIRS)) % count
    reference = np.sort(np.einsum("pd,pd->p", labels[first], labels[second]).astype(np.float64))
    below, not_above = (np.searchsorted(reference, similarity + shift) for shift in (-1e-6, 1e-6))
    return (below + not_above) / (2 * max(1, len(reference)))
