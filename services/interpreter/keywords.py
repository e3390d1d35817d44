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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from services.interpreter import tokens
from services.interpreter.terms import TermCounts

KEYWORD_COUNT = 10
"""Keywords of a latent."""
_NAME_TERMS = 3
_NAME_CHARACTERS = 60
_DOUBT = 2.0
"""Pseudo-documents: a latent's shares are drawn towards the others' by so many, and the others' away from 0."""
_SUPPORT = 3
"""Documents of the latent that must contain a term; fewer where it has few."""
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
    score: float
    share: float
    """Of the latent's documents that contain it, 0 to 1."""
    other_share: float
    """Of all other documents that contain it, 0 to 1."""


@dataclass(frozen=True)
class Name:
    """A latent's name in words."""

    text: str
    """At most 60 characters."""
    description: str
    """A sentence of evidence."""
    keywords: Sequence[str]


@dataclass(frozen=True)
class Evidence:
    """A latent's strongest documents."""

    latent: int
    density: float
    rows: NDArray[np.uint64]
    """(m,), the strongest first."""
    activations: NDArray[np.float32]
    """(m,), above 0."""


@dataclass(frozen=True)
class _Documents:
    """The documents of one latent: weights (m,), and which contain what, (m, terms)."""

    weights: Floats
    terms: sparse.csr_array


@dataclass(frozen=True)
class _Counts:
    """Terms of one latent's documents: (1, terms) each."""

    weighted: sparse.csr_array
    """Sum of the weights of the documents that contain the term."""
    plain: sparse.csr_array
    """Their number."""
    background: sparse.csr_array
    """The number of those that are in the background sample."""


class Keywords:
    """Terms of a corpus, counted once, to be compared with those of single latents."""

    def __init__(self, background: Mapping[int, str]) -> None:
        """`background` has the texts of a sample of rows, or of all, by row."""
        rows = np.fromiter(background, np.uint64, len(background))
        texts = list(background.values())
        self._stop_words = tokens.stop_words(texts)
        self._spellings = tokens.spellings(texts)
        self._counts = TermCounts(texts, self._terms)
        order = np.argsort(rows)
        self._rows = rows[order]
        self._documents = sparse.csr_array(self._counts.documents[order])  # (background rows, terms)
        self._frequencies = np.asarray(self._documents.sum(axis=0)).ravel().astype(np.float64)  # (terms,)

    def names(self, evidence: Sequence[Evidence], texts: Mapping[int, str]) -> list[Name]:
        """A name for each latent. `texts` has those of their rows; rows whose document was deleted may be missing."""
        rows = sorted({int(row) for latent in evidence for row in latent.rows if int(row) in texts})
        in_background = np.isin(np.array(rows, np.uint64), self._rows)
        weights = _weights(evidence, {row: column for column, row in enumerate(rows)})
        members = sparse.csr_array((np.ones_like(weights.data), weights.indices, weights.indptr), shape=weights.shape)
        documents = self._terms_of(rows, in_background, texts)
        weighted = sparse.csr_array(weights @ documents)  # (latents, terms), as the next two
        plain = sparse.csr_array(members @ documents)
        background = sparse.csr_array(members[:, in_background] @ documents[np.flatnonzero(in_background)])
        names: list[Name] = []
        for number, latent in enumerate(evidence):
            own = weights[[number]]
            counts = _Counts(weighted[[number]], plain[[number]], background[[number]])
            name = self._name(latent, counts, _Documents(own.data, sparse.csr_array(documents[own.indices])))
            names.append(name or _quotation(latent, texts))
        return names

    def _terms(self, text: str) -> list[str]:
        return tokens.terms(text, self._stop_words)

    def _terms_of(
        self, rows: Sequence[int], in_background: NDArray[np.bool_], texts: Mapping[int, str]
    ) -> sparse.csr_array:
        """(rows, terms) what each document contains; those of the background are counted already."""
        row_numbers = np.array(rows, np.uint64)
        counted = self._documents[np.searchsorted(self._rows, row_numbers[in_background])]
        uncounted = self._counts.transform([texts[int(row)] for row in row_numbers[~in_background]])
        both = sparse.csr_array(sparse.vstack([counted, uncounted]))
        return sparse.csr_array(both[np.argsort(np.argsort(~in_background, kind="stable"))])

    def _name(self, latent: Evidence, counts: _Counts, documents: _Documents) -> Name | None:
        """None where no keyword was found."""
        keywords = _distinct(self._keywords(counts, documents.weights))
        if not keywords:
            return None
        spellings = [self._spelled(keyword.term) for keyword in keywords]
        columns = [self._counts.columns[keyword.term] for keyword in keywords]
        contains = documents.terms[:, columns].toarray() > 0
        text = _joined(keywords, spellings, contains, documents.weights)
        return Name(text, _description(latent, keywords, spellings), spellings)

    def _keywords(self, counts: _Counts, weights: Floats) -> list[Keyword]:
        """The terms that speak for one latent, the strongest first; ties by the alphabet."""
        columns: NDArray[np.int32] = counts.weighted.indices
        if not len(columns):
            return []
        total = float(weights.sum())
        effective = total**2 / float((weights**2).sum())  # documents that the weights are worth (Kish 1965)
        in_background = counts.background
        other_count = max(1.0, len(self._rows) - float(in_background.max() if in_background.nnz else 0))
        outside = np.maximum(0, self._frequencies[columns] - _values(in_background, columns))
        other_share = (outside + _DOUBT) / (other_count + 2 * _DOUBT)
        raw_share = counts.weighted.data / total
        share = (raw_share * effective + _DOUBT * other_share) / (effective + _DOUBT)
        score = share * np.log(share / other_share)
        supported = _values(counts.plain, columns) >= min(_SUPPORT, -(-len(weights) // 3))
        places = np.flatnonzero((score > 0) & supported)
        places = places[score[places] >= _MIN_RELATIVE_SCORE * score[places].max(initial=0)]
        best = places[np.lexsort((columns[places], -score[places]))][:_CANDIDATES]
        return [
            Keyword(
                term=self._counts.terms[int(columns[place])],
                score=float(score[place]),
                share=float(raw_share[place]),
                other_share=float(outside[place] / other_count),
            )
            for place in best
        ]

    def _spelled(self, term: str) -> str:
        return " ".join(self._spellings.get(word, word) for word in term.split())


class UniqueNames:
    """Makes names different from each other: the first of several equal ones keeps its text."""

    def __init__(self, texts: Sequence[str] = ()) -> None:
        """`texts` are in use already."""
        self._texts = set(texts)

    def unique(self, latent: int, name: Name) -> Name:
        """The name; if its text is in use, with further keywords, and with the latent's number if they run out."""
        text = name.text
        spare = [keyword for keyword in name.keywords if keyword not in text]
        while text in self._texts and spare:
            text = f"{name.text}, {spare.pop(0)}"
        if text in self._texts:
            text = f"{name.text} ({latent})"
        self._texts.add(text)
        return Name(text, name.description, name.keywords)


def _joined(keywords: Sequence[Keyword], spellings: Sequence[str], contains: NDArray[np.bool_], weights: Floats) -> str:
    """Up to three keywords, as many as fit into a name. contains: (m, keywords). weights: (m,)."""
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


def _weights(evidence: Sequence[Evidence], column_of: Mapping[int, int]) -> sparse.csr_array:
    """(latents, documents): squared activations relative to the latent's strongest."""
    data: list[float] = []
    columns: list[int] = []
    indptr = [0]
    for latent in evidence:
        strongest = float(latent.activations[0]) if len(latent.activations) else 1.0
        for row, activation in zip(latent.rows.tolist(), latent.activations.tolist(), strict=True):
            if row in column_of:
                columns.append(column_of[row])
                data.append((activation / strongest) ** 2)
        indptr.append(len(columns))
    shape = (len(evidence), len(column_of))
    return sparse.csr_array((np.array(data), np.array(columns, np.int64), np.array(indptr)), shape=shape)


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


def _description(latent: Evidence, keywords: Sequence[Keyword], spellings: Sequence[str]) -> str:
    parts: list[str] = []
    for term, keyword in list(zip(spellings, keywords, strict=True))[:_NAME_TERMS]:
        own, other = _percent(keyword.share), _percent(keyword.other_share)
        parts.append(f"“{term}” in {own} of its strongest documents and {other} of others")
    return f"Active in {_percent(latent.density)} of documents. {'; '.join(parts)}."


def _percent(share: float) -> str:
    if share == 0:
        return "none"
    if share < 0.0001:
        return "< 0.01 %"
    digits = 2 if share < 0.01 else 1 if share < 0.1 else 0
    return f"{share * 100:.{digits}f} %"


def _quotation(latent: Evidence, texts: Mapping[int, str]) -> Name:
    """The name of a latent whose documents share no word: the start of its strongest text."""
    description = f"Active in {_percent(latent.density)} of documents. They share no word that others lack."
    for row in latent.rows.tolist():
        if words := texts.get(row, "").split():
            return Name(f"“{' '.join(words)[: _NAME_CHARACTERS - 2]}”", description, [])
    return Name(f"latent {latent.latent}", description, [])
