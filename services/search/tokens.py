"""How text becomes tokens: once, here, for both back ends, so that both see the same.

Words are those of `prisma_common.words`. A word is split where an identifier is: at `_`, at CamelCase humps, and
between letters and digits; such a word also counts as a whole (`readFile` gives `read`, `file` and `readfile`). In
scripts without spaces each character is a token, as is each emoji. A Korean word gives its syllables and itself,
because particles are attached to nouns. Tokens are folded to ASCII where possible, lower-cased, and stemmed by
Snowball's English stemmer (tantivy's; most words of other languages pass unchanged).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, lru_cache
from itertools import pairwise
from threading import Lock
from typing import NamedTuple

from tantivy import Filter, TextAnalyzer, TextAnalyzerBuilder, Tokenizer

from prisma_common import words

MAX_TERMS = 256
"""Distinct tokens of a query that count; the rest of a longer query is ignored."""

_MAX_TOKEN_CHARACTERS = 200
_MAX_CACHED_CHARACTERS = 64
_PART = re.compile(r"\d+|[^\d_]+")
_NAME = re.compile(r"[A-Za-z]{1,2}(?:\+\+|#)")
_BLANKS = {code: " " for code in range(128) if not (chr(code).isalnum() or chr(code) in "_+#")}
"""Blanks for all ASCII characters that are in no word: what stays between blanks is mostly one word."""
_Part = tuple[str, int, int]
"""A token, and the half-open range of characters within its word that it stands for."""


class Token(NamedTuple):
    """A token and the characters of the normalised text that it stands for."""

    text: str
    start: int
    end: int


def normalize(text: str) -> str:
    """Text in NFC: what is indexed, and what snippets and their offsets refer to."""
    return unicodedata.normalize("NFC", text)


def tokens(text: str) -> list[str]:
    """The tokens of a normalised text, in its order."""
    if text.isascii():
        return [part[0] for word in words.ASCII_WORD.findall(text) for part in _parts_of(word)]
    return [part[0] for _, parts in words_of(text) for part in parts]


class TermMatcher:
    """Finds terms in texts."""

    def __init__(self, terms: Iterable[str]) -> None:
        self._terms = frozenset(terms)

    def tokens(self, text: str) -> list[Token]:
        """The tokens of a normalised text that are among the terms, with their locations."""
        if not self._terms:
            return []
        words = self._ascii_words(text) if text.isascii() else words_of(text)
        return [
            Token(stem, start + first, start + last)
            for start, parts in words
            for stem, first, last in parts
            if stem in self._terms
        ]

    def _ascii_words(self, text: str) -> Iterator[tuple[int, Sequence[_Part]]]:
        """The pieces of an ASCII text that give a term, with their starts."""
        blanked = f" {text.translate(_BLANKS)} "
        pieces = blanked.split()
        matching = _vocabulary.giving(self._terms, text, pieces)
        start = 0
        for piece in filter(matching.__contains__, pieces):
            start = blanked.index(f" {piece} ", start)
            yield start, _parts_of(piece)  # the blank before the text makes up for that before the piece
            start += len(piece) + 1


class Vocabulary:
    """Which pieces of texts give which tokens. Texts share most of their words, so most lookups repeat earlier ones.

    max_size: with more pieces, or more texts that they are from, all are forgotten.
    """

    def __init__(self, max_size: int = 1 << 16) -> None:
        self._max_size = max_size
        self._lock = Lock()
        self._texts = set[int]()
        """Hashes, of 64 bits, of texts whose pieces are all known."""
        self._pieces = set[str]()
        self._by_token: dict[str, set[str]] = {}
        self._by_terms: dict[frozenset[str], set[str]] = {}
        """The latest answers, since the last piece was learned."""

    def giving(self, terms: frozenset[str], text: str, pieces: Sequence[str]) -> set[str]:
        """The known pieces that give one of the terms. Those of this text are known then."""
        with self._lock:
            long = set[str]() if hash(text) in self._texts else self._learn(text, set(pieces))
            matching = self._by_terms.get(terms)
            if matching is None:
                matching = set[str]().union(*(self._by_token.get(term, _NO_PIECES) for term in terms))
                if len(self._by_terms) >= _CACHED_QUERIES:
                    self._by_terms.clear()
                self._by_terms[terms] = matching
        return matching | {piece for piece in long if any(part[0] in terms for part in _parts_of(piece))}

    def _learn(self, text: str, pieces: set[str]) -> set[str]:
        """Learns a text's pieces but the long ones, which it returns: a text with any is looked through each time."""
        new = pieces - self._pieces
        if max(len(self._pieces) + len(new), len(self._texts) + 1) > self._max_size:
            self._texts.clear()
            self._pieces.clear()
            self._by_token.clear()
            new = pieces
        long = {piece for piece in new if len(piece) > _MAX_CACHED_CHARACTERS}
        if new := new - long:
            self._by_terms.clear()
            self._pieces |= new
        for piece in new:
            for token, _, _ in _parts_of(piece):
                self._by_token.setdefault(token, set()).add(piece)
        if not long:
            self._texts.add(hash(text))
        return long


_CACHED_QUERIES = 64
"""Far more than are answered at once; each asks once for each text of a page."""
_NO_PIECES: frozenset[str] = frozenset()
_vocabulary = Vocabulary()


def terms(query: str) -> list[str]:
    """The distinct tokens of a query, at most MAX_TERMS. Any query is valid; one without words has no terms."""
    return list(dict.fromkeys(tokens(normalize(query))))[:MAX_TERMS]


def words_of(text: str) -> Iterator[tuple[int, tuple[_Part, ...]]]:
    """Each word or character run with its start and its parts."""
    for start, end, kind in words.segments(text):
        if kind is words.Kind.UNSPACED:
            for first, last in words.clusters(text, start, end):
                yield first, _parts(text[first:last])
        else:
            yield start, _parts_of(text[start:end])


def _parts_of(word: str) -> tuple[_Part, ...]:
    return _parts(word) if len(word) <= _MAX_CACHED_CHARACTERS else _parts.__wrapped__(word)


@lru_cache(maxsize=1 << 16)
def _parts(word: str) -> tuple[_Part, ...]:
    """The tokens of one word; the whole follows its parts. In ASCII also those of words with `+` and `#` between."""
    if ("+" in word or "#" in word) and word.isascii() and not _NAME.fullmatch(word):
        inner = [(match.start(), _parts_of(match.group())) for match in words.ASCII_WORD.finditer(word)]
        return tuple([(stem, start + first, start + last) for start, parts in inner for stem, first, last in parts])
    spans = [(0, len(word))] if _NAME.fullmatch(word) else _spans(word)
    if len(spans) > 1:
        spans.append((spans[0][0], spans[-1][1]))
    texts = [words.visible(word[start:end]).replace("_", "")[:_MAX_TOKEN_CHARACTERS] for start, end in spans]
    stems = _analyzer().analyze(" ".join(text for text in texts if text))
    visible_spans = [span for text, span in zip(texts, spans, strict=True) if text]
    assert len(stems) == len(visible_spans), "the analyzer neither splits nor drops words"
    return tuple((stem, start, end) for stem, (start, end) in zip(stems, visible_spans, strict=True))


def _spans(word: str) -> list[tuple[int, int]]:
    """The parts of an identifier, the syllables of Hangul; one for an ordinary word, none for underscores."""
    spans: list[tuple[int, int]] = []
    for piece in _PART.finditer(word):
        start, end = piece.span()
        borders = [place for place in range(start + 1, end) if _is_border(word, place, end)]
        spans.extend(pairwise([start, *borders, end]))
    return spans


def _is_border(word: str, place: int, end: int) -> bool:
    """Whether a hump or a Hangul syllable begins here, or another letter behind a syllable."""
    character, before = word[place], word[place - 1]
    if words.is_hangul(character) or words.is_hangul(before):
        return character.isalpha()
    return character.isupper() and (before.islower() or (place + 1 < end and word[place + 1].islower()))


@cache
def _analyzer() -> TextAnalyzer:
    chain = TextAnalyzerBuilder(Tokenizer.whitespace())
    return chain.filter(Filter.ascii_fold()).filter(Filter.lowercase()).filter(Filter.stemmer("english")).build()
