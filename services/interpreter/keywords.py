"""Names of latents from words alone: what the documents that activate a latent say, and others don't.

Class-based tf-idf (Grootendorst 2022, section 3.3), made contrastive: a class is a latent's strongest documents,
each weighted by its squared activation, and a term counts by

    a · log(a / b)

where a is the weighted share of the latent's documents that contain the term and b the share of all other documents:
the term's part of the Kullback-Leibler divergence. Both are smoothed, so that few documents give no certainty.

A name begins with the keyword that counts most. One or two more join it: those that occur in documents without the
first one, or those that count nearly as much.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from services.interpreter import tokens
from services.interpreter.corpus import Corpus, Documents
from services.interpreter.evidence import Evidence

KEYWORD_COUNT = 10
"""Keywords of a latent."""
_NAME_TERMS = 3
_NAME_CHARACTERS = 60
_DOUBT = 2.0
"""Pseudo-documents: a latent's shares are drawn towards the others' by so many, and the others' away from 0."""
_SUPPORT = 3
"""Documents of the latent that must contain a term; fewer where it has few."""
_MIN_LIKELIHOOD_RATIO = 9.5
"""A term's likelihood ratio (Dunning 1993): a term that is no more frequent than elsewhere reaches it once in 1,000."""
_MIN_RELATIVE_SCORE = 0.1
"""A keyword's score relative to the first one's."""
_STRONG_SCORE = 0.4
"""A term joins a name if its score relative to the first one's is at least this, …"""
_MIN_GAIN = 0.07
"""… or first of all if it adds so much: the weighted share of documents that no earlier term occurs in …"""
_LOSS = 1.5
"""… less so many times its share of other documents."""
_PHRASE_SHARE = 0.6
"""A word gives way to a phrase that occurs in so large a share of its documents."""
_CANDIDATES = 200
_PHRASES = 60

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Keyword:
    """A term that speaks for a latent."""

    term: str
    """In lower case."""
    text: str
    """As most documents write it."""
    column: int
    """Of the corpus."""
    score: float
    share: float
    """Of the latent's documents that contain it, 0 to 1."""
    other_share: float
    """Of all other documents that contain it, 0 to 1."""


@dataclass(frozen=True)
class Contrast:
    """What the documents of one latent say and others do not."""

    phrases: Sequence[Keyword]
    """All terms that speak for it, the strongest first; they overlap."""
    keywords: Sequence[Keyword]
    """Those that say different things, the strongest first."""
    name: str | None
    """Up to three keywords; None where there is none."""


@dataclass(frozen=True)
class _Counts:
    """Terms of one latent's documents: (1, terms) each."""

    weighted: sparse.csr_array
    """Sum of the weights of the documents that contain the term."""
    plain: sparse.csr_array
    """Their number."""
    background: sparse.csr_array
    """The number of documents of the evidence, in all its parts, that the corpus counts."""
    background_count: int
    """Documents of the evidence that the corpus counts."""


def contrasts(
    evidence: Sequence[Evidence], documents: Documents, corpus: Corpus, stop_words: Collection[str] = ()
) -> list[Contrast]:
    """The contrast of each latent, from its documents for writing; documents of other parts count nowhere.

    documents: of all rows of the evidence. stop_words: no term has one of them in it.
    """
    excluded = corpus.columns_with(stop_words)
    weights = _weights(evidence, documents)
    members = sparse.csr_array((np.ones_like(weights.data), weights.indices, weights.indptr), shape=weights.shape)
    own = _members(evidence, documents)
    weighted = sparse.csr_array(weights @ documents.terms)  # (latents, terms), as the next two
    plain = sparse.csr_array(members @ documents.terms)
    background = sparse.csr_array(own @ documents.terms)
    own_counts = own.sum(axis=1)
    result: list[Contrast] = []
    for number in range(len(evidence)):
        counts = _Counts(weighted[[number]], plain[[number]], background[[number]], int(own_counts[number]))
        row = weights[[number]]
        phrases = _keywords(counts, row.data, corpus, excluded)
        keywords = _distinct(phrases)
        contains = sparse.csr_array(documents.terms[row.indices])[:, [keyword.column for keyword in keywords]]
        name = _joined(keywords, contains.toarray() > 0, row.data) if keywords else None
        result.append(Contrast(phrases, keywords, name))
    return result


def _keywords(counts: _Counts, weights: Floats, corpus: Corpus, excluded: NDArray[np.int64]) -> list[Keyword]:
    """The terms that speak for one latent, the strongest first; ties by the alphabet. excluded: columns."""
    columns: NDArray[np.int32] = counts.weighted.indices
    if not len(columns):
        return []
    total = float(weights.sum())
    effective = total**2 / float((weights**2).sum())  # documents that the weights are worth (Kish 1965)
    other_count = max(1.0, corpus.document_count - counts.background_count)
    outside = np.maximum(0, corpus.frequencies[columns] - _values(counts.background, columns))
    other_share = (outside + _DOUBT) / (other_count + 2 * _DOUBT)
    raw_share = counts.weighted.data / total
    share = (raw_share * effective + _DOUBT * other_share) / (effective + _DOUBT)
    score = share * np.log(share / other_share)
    own_count = _values(counts.plain, columns)
    supported = own_count >= min(_SUPPORT, -(-len(weights) // 3))
    supported &= _likelihood_ratio(own_count, len(weights), other_share) >= _MIN_LIKELIHOOD_RATIO
    places = np.flatnonzero((score > 0) & supported & ~np.isin(columns, excluded))
    places = places[score[places] >= _MIN_RELATIVE_SCORE * score[places].max(initial=0)]
    best = places[np.lexsort((columns[places], -score[places]))][:_CANDIDATES]
    return [
        Keyword(
            term=corpus.terms[int(columns[place])],
            text=corpus.spelling(int(columns[place])),
            column=int(columns[place]),
            score=float(score[place]),
            share=float(raw_share[place]),
            other_share=float(outside[place] / other_count),
        )
        for place in best
    ]


def _joined(keywords: Sequence[Keyword], contains: NDArray[np.bool_], weights: Floats) -> str:
    """Up to three keywords, as many as fit into a name. contains: (m, keywords). weights: (m,)."""
    spellings = [keyword.text for keyword in keywords]
    scores = np.array([keyword.score for keyword in keywords])
    other_shares = np.array([keyword.other_share for keyword in keywords])
    text, selected, uncovered = spellings[0], [0], weights / weights.sum() * ~contains[:, 0]
    for _ in range(1, _NAME_TERMS):
        fits = np.array([len(f"{text}, {term}") <= _NAME_CHARACTERS for term in spellings])
        fits[selected] = False
        gains = (uncovered @ contains - _LOSS * other_shares) * fits
        best = int(gains.argmax())
        if gains[best] < _MIN_GAIN:
            best = int((scores * fits).argmax())
            if (scores * fits)[best] < _STRONG_SCORE * scores[0]:
                break
        selected.append(best)
        text, uncovered = f"{text}, {spellings[best]}", uncovered * ~contains[:, best]
    return text[:200]


def _weights(evidence: Sequence[Evidence], documents: Documents) -> sparse.csr_array:
    """(latents, documents): squared activations of the documents for writing, relative to the strongest."""
    data, columns, indptr = [np.empty(0)], [np.empty(0, np.int64)], [0]
    for latent in evidence:
        activations = latent.writing.activations
        data.append((activations / activations.max(initial=1e-30)) ** 2)
        columns.append(documents.places(latent.writing.rows))
        indptr.append(indptr[-1] + len(activations))
    shape = (len(evidence), len(documents.rows))
    return sparse.csr_array((np.concatenate(data), np.concatenate(columns), np.array(indptr)), shape=shape)


def _members(evidence: Sequence[Evidence], documents: Documents) -> sparse.csr_array:
    """(latents, documents): 1 for each document of the latent's evidence that the corpus counts."""
    places = [documents.places(latent.rows) for latent in evidence]
    columns = [part[documents.in_background[part]] for part in places]
    indptr = np.cumsum([0, *(len(part) for part in columns)])
    indices = np.concatenate([np.empty(0, np.int64), *columns])
    return sparse.csr_array((np.ones(len(indices)), indices, indptr), shape=(len(evidence), len(documents.rows)))


def _likelihood_ratio(counts: Floats, total: int, expected: Floats) -> Floats:
    """(terms,) of counts among `total` documents and the expected shares; 0 for terms that are rarer."""
    share = counts / total
    absent = np.where(share < 1, (1 - share) * np.log(np.maximum(1 - share, 1e-12) / (1 - expected)), 0)
    ratio = 2 * total * (share * np.log(np.maximum(share, 1e-12) / expected) + absent)
    return np.where(share > expected, ratio, 0)


def _values(row: sparse.csr_array, columns: NDArray[np.int32]) -> Floats:
    """The values of a (1, terms) matrix in some columns."""
    return np.asarray(row[:, columns].todense()).ravel()


def _distinct(keywords: Sequence[Keyword]) -> list[Keyword]:
    """The strongest keywords that say different things; a word gives way to the phrase that it mostly occurs in."""
    phrases = keywords[:_PHRASES]
    distinct: list[Keyword] = []
    for keyword in keywords:
        longer = [
            phrase
            for phrase in phrases
            if tokens.contains(phrase.term, keyword.term) and phrase.share >= _PHRASE_SHARE * keyword.share
        ]
        best = max(longer, key=lambda phrase: (phrase.score, len(phrase.term)), default=keyword)
        if not any(tokens.alike(best.term, other.term) for other in distinct):
            distinct.append(best)
        if len(distinct) == KEYWORD_COUNT:
            break
    return distinct
