"""Labels from words alone: what the documents that activate a latent say, and others don't.

Class-based tf-idf (Grootendorst 2022, section 3.3), made contrastive: a class is a latent's strongest documents,
each weighed by its squared activation, and a term counts by

    a · log(a / b)

where a is the weighed share of the latent's documents that hold the term and b the share of all others: the term's
part of the Kullback-Leibler divergence. Both are smoothed, so that few documents give no certainty.

A label begins with the keyword that counts most. One or two more join it: such as stand in documents that it does
not, else such as count nearly as much.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from services.interpreter import tokens

MAX_TERMS = 300_000
"""Terms of the vocabulary: the most frequent ones."""
KEYWORD_COUNT = 10
"""Keywords of a label."""
_LABEL_TERMS = 3
_LABEL_CHARACTERS = 60
_DOUBT = 2.0
"""Documents' worth of doubt: a latent's shares are drawn towards the others' by so much, and the others' from 0."""
_SUPPORT = 3
"""Documents of the latent that must hold a term; fewer where it has few."""
_WORTH = 0.1
"""A keyword counts at least so much of the first one."""
_STRONG = 0.4
"""A term joins a label when it counts at least so much of the first one, …"""
_GAIN = 0.07
"""… and before those when it says so much more: the weighed share of documents that no term before it stands in …"""
_LOSS = 1.5
"""… less so many times its share of others."""
_PHRASE_SHARE = 0.6
"""A word gives way to a phrase that stands in so much of its documents."""


@dataclass(frozen=True)
class Keyword:
    """A term that speaks for a latent. share: of its documents that hold it. other_share: of all others."""

    term: str
    score: float
    share: float
    other_share: float


@dataclass(frozen=True)
class Named:
    """A latent's name in words: `text` of at most 60 characters, a sentence of evidence, and its keywords."""

    text: str
    description: str
    keywords: Sequence[str]


@dataclass(frozen=True)
class Evidence:
    """A latent's strongest documents. rows: (m,) uint64, strongest first. activations: (m,) float32 > 0."""

    latent: int
    density: float
    rows: NDArray[np.uint64]
    activations: NDArray[np.float32]


class Keywords:
    """Terms of a corpus, counted once, to be compared with those of single latents."""

    def __init__(self, background: Mapping[int, str]) -> None:
        """`background` has the texts of a sample of rows, or of all."""
        # Here, as it takes 2 s: the service starts without it.
        from sklearn.feature_extraction.text import CountVectorizer

        texts = list(background.values())
        stop = tokens.stop_words(texts)
        self._spelled = tokens.spellings(texts)

        def terms(text: str) -> list[str]:
            return tokens.terms(text, stop)

        counting: dict[str, Any] = {"analyzer": terms, "binary": True, "dtype": np.float32}
        self._vectorizer: Any = CountVectorizer(min_df=2 if len(texts) > 20 else 1, max_features=MAX_TERMS, **counting)
        try:
            counted: sparse.csr_array = sparse.csr_array(self._vectorizer.fit_transform(texts))
            self._terms: list[str] = list(self._vectorizer.get_feature_names_out())
        except ValueError:  # not one word in all texts
            counted, self._terms = _nothing(len(texts), 0), []
        rows = np.fromiter(background, np.uint64, len(background))
        order = np.argsort(rows)
        self._background = rows[order]
        self._counted = sparse.csr_array(counted[order])  # (background rows, terms)
        self._frequency = np.asarray(counted.sum(axis=0)).ravel().astype(np.float64)  # (terms,)

    def name(self, some: Sequence[Evidence], texts: Mapping[int, str]) -> list[Named]:
        """Names latents. `texts` has those of their rows; rows whose document is gone may be missing."""
        rows = sorted({int(row) for each in some for row in each.rows if int(row) in texts})
        known = np.isin(np.array(rows, np.uint64), self._background)
        weights = _weights(some, {row: position for position, row in enumerate(rows)})
        members = sparse.csr_array((np.ones_like(weights.data), weights.indices, weights.indptr), shape=weights.shape)
        documents = self._count(rows, known, texts)
        # (latents, terms): documents with the term, weighed, plainly counted, and counted in the background.
        inside, support = sparse.csr_array(weights @ documents), sparse.csr_array(members @ documents)
        held = sparse.csr_array(members[:, known] @ documents[np.flatnonzero(known)])
        named: list[Named] = []
        for i, each in enumerate(some):
            own = weights[[i]]
            found = self._scored(inside[[i]], support[[i]], held[[i]], own.data)
            named.append(self._name_one(each, found, documents[own.indices], own.data) or _quoted(each, texts))
        return named

    def _count(self, rows: Sequence[int], known: NDArray[np.bool_], texts: Mapping[int, str]) -> sparse.csr_array:
        """(rows, terms) what each document holds; those of the background are counted already."""
        if not self._terms or not rows:
            return _nothing(len(rows), len(self._terms))
        wanted = np.array(rows, np.uint64)
        parts = [self._counted[np.searchsorted(self._background, wanted[known])]]
        if not known.all():
            parts.append(sparse.csr_array(self._vectorizer.transform([texts[int(row)] for row in wanted[~known]])))
        together: sparse.csr_array = sparse.csr_array(sparse.vstack(parts))
        return together[np.argsort(np.argsort(~known, kind="stable"))]

    def _name_one(
        self, evidence: Evidence, found: Sequence[Keyword], documents: sparse.csr_array, weights: NDArray[np.float64]
    ) -> Named | None:
        """None where no keyword was found. documents: (m, terms), weights: (m,) of those of the latent."""
        if not found:
            return None
        chosen = _distinct(found)
        shown = [self._show(each.term) for each in chosen]
        columns = [self._vectorizer.vocabulary_[each.term] for each in chosen]
        holds = documents[:, columns].toarray() > 0
        scores, others = np.array([(each.score, each.other_share) for each in chosen]).T
        text, picked, left = shown[0], [0], weights / weights.sum() * ~holds[:, 0]
        for _ in range(1, _LABEL_TERMS):
            fits = np.array([len(f"{text}, {term}") <= _LABEL_CHARACTERS for term in shown])
            fits[picked] = False
            gains = (left @ holds - _LOSS * others) * fits
            best = int(gains.argmax())
            if gains[best] < _GAIN:
                best = int((scores * fits).argmax())
                if (scores * fits)[best] < _STRONG * scores[0]:
                    break
            picked.append(best)
            text, left = f"{text}, {shown[best]}", left * ~holds[:, best]
        return Named(text[:200], _describe(evidence, chosen, shown), shown)

    def _scored(
        self,
        inside: sparse.csr_array,
        support: sparse.csr_array,
        held: sparse.csr_array,
        weights: NDArray[np.float64],
    ) -> list[Keyword]:
        """The terms that speak for one latent, the strongest first; ties by the alphabet.

        inside, support, held: its rows of `name`'s products. weights: of its documents.
        """
        columns = inside.indices
        if not len(columns):
            return []
        total = float(weights.sum())
        effective = total**2 / float((weights**2).sum())  # documents that the weights are worth (Kish 1965)
        others = max(1.0, len(self._background) - float(held.max() if held.nnz else 0))
        outside = np.maximum(0, self._frequency[columns] - _dense(held, columns))
        other = (outside + _DOUBT) / (others + 2 * _DOUBT)
        raw = inside.data / total
        share = (raw * effective + _DOUBT * other) / (effective + _DOUBT)
        score = share * np.log(share / other)
        enough = _dense(support, columns) >= min(_SUPPORT, -(-len(weights) // 3))
        able = np.flatnonzero((score > 0) & enough)
        able = able[score[able] >= _WORTH * score[able].max(initial=0)]
        best = able[np.lexsort((columns[able], -score[able]))][:200]
        return [
            Keyword(self._terms[columns[i]], float(score[i]), float(raw[i]), float(outside[i] / others)) for i in best
        ]

    def _show(self, term: str) -> str:
        return " ".join(self._spelled.get(word, word) for word in term.split())


def make_different(named: Sequence[tuple[int, Named]]) -> dict[int, Named]:
    """Latents with the same text get further keywords until each differs; the first of them keeps its own.

    named: (latent, name), the most important first. A latent that runs out of keywords gets its number.
    """
    taken: set[str] = set()
    result: dict[int, Named] = {}
    for latent, each in named:
        text = each.text
        spare = [word for word in each.keywords if word not in text]
        while text in taken and spare:
            text = f"{each.text}, {spare.pop(0)}"
        if text in taken:
            text = f"{each.text} ({latent})"
        taken.add(text)
        result[latent] = Named(text, each.description, each.keywords)
    return result


def _weights(some: Sequence[Evidence], place: Mapping[int, int]) -> sparse.csr_array:
    """(latents, documents): squared activations relative to the latent's strongest."""
    data: list[float] = []
    columns: list[int] = []
    indptr = [0]
    for each in some:
        strongest = float(each.activations[0]) if len(each.activations) else 1.0
        for row, activation in zip(each.rows.tolist(), each.activations.tolist(), strict=True):
            if row in place:
                columns.append(place[row])
                data.append((activation / strongest) ** 2)
        indptr.append(len(columns))
    shape = (len(some), len(place))
    return sparse.csr_array((np.array(data), np.array(columns, np.int64), np.array(indptr)), shape=shape)


def _dense(row: sparse.csr_array, columns: NDArray[np.int32]) -> NDArray[np.float64]:
    """The values of a (1, terms) matrix in some columns."""
    return np.asarray(row[:, columns].todense()).ravel()


def _nothing(rows: int, columns: int) -> sparse.csr_array:
    return sparse.csr_array(np.zeros((rows, columns), np.float32))


def _distinct(found: Sequence[Keyword]) -> list[Keyword]:
    """The strongest keywords that say different things; a word gives way to the phrase that it mostly stands in."""
    phrases = found[:60]
    chosen: list[Keyword] = []
    for each in found:
        longer = [
            phrase
            for phrase in phrases
            if tokens.contains(phrase.term, each.term) and phrase.share >= _PHRASE_SHARE * each.share
        ]
        best = max(longer, key=lambda phrase: (phrase.score, len(phrase.term)), default=each)
        if not any(tokens.alike(best.term, other.term) for other in chosen):
            chosen.append(best)
        if len(chosen) == KEYWORD_COUNT:
            break
    return chosen


def _describe(evidence: Evidence, chosen: Sequence[Keyword], shown: Sequence[str]) -> str:
    told = [
        f"“{term}” in {_percent(each.share)} of its strongest documents and {_percent(each.other_share)} of others"
        for term, each in list(zip(shown, chosen, strict=True))[:_LABEL_TERMS]
    ]
    return f"Active in {_percent(evidence.density)} of documents. {'; '.join(told)}."


def _percent(share: float) -> str:
    if share == 0:
        return "none"
    if share < 0.0001:
        return "< 0.01 %"
    digits = 2 if share < 0.01 else 1 if share < 0.1 else 0
    return f"{share * 100:.{digits}f} %"


def _quoted(evidence: Evidence, texts: Mapping[int, str]) -> Named:
    """The name of a latent whose documents share no word: the start of its strongest text."""
    about = f"Active in {_percent(evidence.density)} of documents. They share no word that others lack."
    for row in evidence.rows.tolist():
        if words := texts.get(row, "").split():
            return Named(f"“{' '.join(words)[: _LABEL_CHARACTERS - 2]}”", about, [])
    return Named(f"latent {evidence.latent}", about, [])
