"""The words of a corpus, and which of its documents contain which terms, as a sparse 0/1 matrix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from services.interpreter import tokens
from services.interpreter.tokens import Language

MAX_TERMS = 300_000
"""Terms of the vocabulary: those of the most documents, ties by the alphabet."""
_SMALL_CORPUS = 20
"""Up to so many documents a term counts even if it is in only one."""

Numbers = NDArray[np.int64]


class WordTable:
    """The words of texts: W words in a row, of which each is stored as the number of a distinct word."""

    def __init__(self, texts: Sequence[str]) -> None:
        chunks = _Chunks()
        parts = [chunks.of(text) for text in texts]
        chunk_counts = np.array([len(part) for part in parts], np.int64)
        places = np.concatenate([np.empty(0, np.int64), *parts])
        words, starts = chunks.words(places)
        self.text_count = len(texts)
        self.distinct: Sequence[str] = list(chunks.distinct)
        """As written; empty for numbers."""
        self.numbers = np.array(chunks.numbers, np.int32)[words]
        """(W,) places in `distinct`."""
        self.adjacent = np.array(chunks.adjacent, np.bool_)[words]
        """(W,) whether the word directly follows the one before it."""
        chunk_texts = np.repeat(np.arange(len(texts)), chunk_counts)
        follows = chunks.follow(places) & (chunk_texts == np.concatenate([[-1], chunk_texts[:-1]])[: len(chunk_texts)])
        self.adjacent[starts[:-1][follows]] = True
        self.texts = np.repeat(chunk_texts, np.diff(starts))
        """(W,) the place of each word's text."""

    def counts(self) -> Mapping[str, int]:
        """How often each word occurs, as written, without numbers."""
        counts = np.bincount(self.numbers, minlength=len(self.distinct)).tolist()
        return {word: count for word, count in zip(self.distinct, counts, strict=True) if word}


class _Chunks(dict[str, int]):
    """The words of what stands between blanks. Texts repeat most of it, so little is taken apart."""

    def __init__(self) -> None:
        super().__init__()
        self.distinct: dict[str, int] = {}
        """The number of each word."""
        self.numbers: list[int] = []
        """The words of all chunks in a row."""
        self.adjacent: list[bool] = []
        """Whether each directly follows the one before it in its chunk."""
        self._starts = [0]
        self._borders: list[tuple[tokens.Border, tokens.Border]] = []

    def __missing__(self, text: str) -> int:
        place = len(self._borders)
        if len(text) <= tokens.REPEATED_CHARACTERS:
            self[text] = place
        chunk = tokens.chunk(text)
        self.numbers += [self.distinct.setdefault(word.text, len(self.distinct)) for word in chunk.words]
        self.adjacent += [place > 0 and word.adjacent for place, word in enumerate(chunk.words)]
        self._starts.append(len(self.numbers))
        self._borders.append((chunk.first, chunk.last))
        return place

    def of(self, text: str) -> Numbers:
        """The chunks of a text, by their places."""
        return np.array([self[chunk] for chunk in tokens.chunks(text)], np.int64)

    def words(self, places: Numbers) -> tuple[Numbers, Numbers]:
        """For C chunks: (W,) the places of their words, and (C + 1,) where those of each start among these."""
        starts = np.array(self._starts)
        ends = np.cumsum(np.diff(starts)[places])
        new_starts = np.concatenate([[0], ends])
        offsets = np.repeat(starts[places] - new_starts[:-1], np.diff(new_starts))
        return offsets + np.arange(len(offsets)), new_starts

    def follow(self, places: Numbers) -> NDArray[np.bool_]:
        """(C,) whether the first word of a chunk forms phrases with the last of the chunk before it."""
        first, last = np.array(self._borders, np.int64).reshape(-1, 2)[places].T
        before = np.concatenate([[tokens.Border.NO_WORD], last[:-1]])[: len(places)]
        return (first > 0) & (before > 0) & (first + before < 2 * tokens.Border.UNSPACED)


class TermCounts:
    """The terms of a corpus: those of `tokens.terms`."""

    def __init__(self, table: WordTable, language: Language, limit: int = MAX_TERMS) -> None:
        self._language = language
        required = 2 if table.text_count > _SMALL_CORPUS else 1
        groups = list(_groups(table, language, required))
        terms = [term for group in groups for term in group.terms()]
        frequencies = np.concatenate([group.frequencies for group in groups])
        places = [place for place, term in enumerate(terms) if len(term) >= tokens.MIN_CHARACTERS]
        by_alphabet = sorted(places, key=terms.__getitem__)
        if len(by_alphabet) > limit:
            frequent = np.zeros(len(terms), np.bool_)
            frequent[sorted(by_alphabet, key=lambda term: -frequencies[term])[:limit]] = True  # stable: ties in order
            by_alphabet = [term for term in by_alphabet if frequent[term]]
        self.terms: Sequence[str] = [terms[term] for term in by_alphabet]
        """The vocabulary, by the alphabet: what a column stands for."""
        self.columns = {term: column for column, term in enumerate(self.terms)}
        """The column of each term."""
        columns = np.full(len(terms), -1, np.int64)
        columns[by_alphabet] = np.arange(len(by_alphabet))
        starts = np.cumsum([0, *(len(group.frequencies) for group in groups)])
        texts = np.concatenate([group.texts for group in groups])
        entries = np.concatenate([columns[group.numbers + start] for group, start in zip(groups, starts, strict=False)])
        self.documents = self._matrix(texts[entries >= 0], entries[entries >= 0], table.text_count)
        """(texts, terms) float32 CSR: 1 where the text contains the term."""

    def transform(self, texts: Sequence[str]) -> sparse.csr_array:
        """(texts, terms) float32 CSR for other texts; terms outside of the vocabulary are left out."""
        columns = [
            [self.columns[term] for term in set(tokens.terms(text, self._language)) if term in self.columns]
            for text in texts
        ]
        places = np.repeat(np.arange(len(texts)), [len(part) for part in columns])
        return self._matrix(places, np.array([column for part in columns for column in part], np.int64), len(texts))

    def _matrix(self, texts: Numbers, columns: Numbers, text_count: int) -> sparse.csr_array:
        """1 at each pair of a text and a column."""
        ones, shape = np.ones(len(texts), np.float32), (text_count, len(self.terms))
        return sparse.csr_array(sparse.coo_array((ones, (texts, columns)), shape=shape))


class _Group:
    """Terms of the same number of words: which texts contain them, each pair of text and term once."""

    def __init__(self, texts: Numbers, numbers: Numbers, parts: Sequence[Numbers], words: list[str]) -> None:
        """numbers: the term of each pair. parts: for each word of a term, (T,) its place in `words`."""
        self.texts, self.numbers = texts, numbers
        self.frequencies = np.bincount(numbers, minlength=len(parts[0]))
        """(T,) texts that contain each term."""
        self._parts, self._words = parts, words

    @classmethod
    def of(cls, texts: Numbers, numbers: Numbers, parts: Sequence[Numbers], words: list[str]) -> Self:
        """numbers: a term of each text, repeated as often as it occurs."""
        ones, shape = np.ones(len(texts), np.int32), (int(texts.max(initial=-1)) + 1, len(parts[0]))
        once = sparse.coo_array((ones, (texts, numbers)), shape=shape).tocsr()
        return cls(np.repeat(np.arange(shape[0]), np.diff(once.indptr)), once.indices.astype(np.int64), parts, words)

    def frequent(self, required: int) -> _Group:
        """The terms that so many texts contain."""
        is_frequent = self.frequencies >= required
        numbers = np.cumsum(is_frequent) - 1
        pairs = is_frequent[self.numbers]
        return _Group(
            self.texts[pairs], numbers[self.numbers[pairs]], [part[is_frequent] for part in self._parts], self._words
        )

    def terms(self) -> Iterator[str]:
        """The terms, in the order of their numbers."""
        for places in np.stack(self._parts, axis=1).tolist():
            yield " ".join([self._words[place] for place in places])


def _groups(table: WordTable, language: Language, required: int) -> Iterator[_Group]:
    """The terms of one word, of two, and so on, that `required` texts contain: as `tokens.terms` forms them."""
    bases: dict[str, int] = {}
    base_numbers = np.array([bases.setdefault(language.base(word), len(bases)) for word in table.distinct], np.int64)
    words = list(bases)
    is_term = np.array([language.is_term(word) for word in words], np.bool_)
    ends = base_numbers[table.numbers]
    forms_term = is_term[ends]
    numbers, parts = ends, [np.arange(len(words))]
    is_single = forms_term
    for size in range(1, tokens.MAX_WORDS + 1):
        if size > 1:  # a term of one word more: one that ends at the word before, and this word
            forms_term = is_single & table.adjacent & np.concatenate([[False], forms_term[:-1]])
            before = np.concatenate([[0], numbers[:-1]])
            pairs = before[forms_term] * len(words) + ends[forms_term]
            distinct, places = np.unique(pairs, return_inverse=True)
            numbers = np.zeros(len(ends), np.int64)
            numbers[forms_term] = places
            parts = [*(part[distinct // len(words)] for part in parts), distinct % len(words)]
        group = _Group.of(table.texts[forms_term], numbers[forms_term], parts, words)
        forms_term = forms_term.copy()  # a term is no more frequent than the terms in it: rarer ones are not lengthened
        forms_term[forms_term] = group.frequencies[numbers[forms_term]] >= required
        is_single = forms_term if size == 1 else is_single
        yield group.frequent(required)
