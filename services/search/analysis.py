"""How text becomes tokens: once, here, for both back ends, so that both see the same.

Words are runs of letters and digits in NFC. A word is cut where an identifier is: at `_`, at CamelCase humps, and
between letters and digits; such a word also counts as a whole (`readFile` gives `read`, `file` and `readfile`).
Han, Hiragana and Katakana have no spaces: each character is a token. All is folded to ASCII where it can be,
lower-cased, and stemmed by Snowball's English stemmer (tantivy's; other languages mostly pass through it unchanged).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from itertools import pairwise
from typing import Any, cast

from tantivy import Filter, TextAnalyzer, TextAnalyzerBuilder, Tokenizer

MAXIMUM_TERMS = 256
"""Distinct tokens of a query that count; the rest of a longer query is left out."""

_LONGEST_TOKEN = 200
_LONGEST_FACET = 400
_WORD = re.compile(r"[぀-ヿ㐀-鿿豈-﫿]|[^\W぀-ヿ㐀-鿿豈-﫿]+")
_PART = re.compile(r"\d+|[^\W\d_]+")


@dataclass(frozen=True)
class Token:
    """A token and the characters of the normalised text that it stands for."""

    text: str
    start: int
    end: int


def normalize(text: str) -> str:
    """Text in NFC: what is indexed, and what snippets and their offsets refer to."""
    return unicodedata.normalize("NFC", text)


def tokens(text: str) -> list[str]:
    """The tokens of a text, in its order."""
    return _stem([text[start:end].replace("_", "") for start, end in _spans(text)])


def located_tokens(text: str) -> list[Token]:
    """The tokens of a normalised text with their places."""
    spans = _spans(text)
    stems = _stem([text[start:end].replace("_", "") for start, end in spans])
    return [Token(stem, start, end) for stem, (start, end) in zip(stems, spans, strict=True)]


def terms(query: str) -> list[str]:
    """The distinct tokens of a query, at most MAXIMUM_TERMS. No query is an error; one without words has none."""
    return list(dict.fromkeys(tokens(normalize(query))))[:MAXIMUM_TERMS]


def facets(metadata: Mapping[str, Any]) -> list[str]:
    """One facet for each plain value in metadata: nested keys joined by `.`, each element of a list by itself."""
    return sorted({facet(path, value) for path, value in _leaves("", metadata)})


def facet(path: str, value: object) -> str:
    """The exact value of one metadata key. Numbers and booleans count as they are written: 3, 0.5, true."""
    text = f"{path}={plain(value)}"
    if len(text.encode()) <= _LONGEST_FACET:
        return text
    return f"{text[:60]}…{sha256(text.encode()).hexdigest()}"


def plain(value: object) -> str:
    """A plain JSON value as people write it in a filter."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value)


def _leaves(path: str, value: object) -> list[tuple[str, object]]:
    if isinstance(value, Mapping):
        inner = cast("Mapping[str, object]", value)
        return [leaf for key, item in inner.items() for leaf in _leaves(f"{path}.{key}" if path else key, item)]
    if isinstance(value, list | tuple):
        return [leaf for item in cast("Sequence[object]", value) for leaf in _leaves(path, item)]
    return [(path, value)]


def _spans(text: str) -> list[tuple[int, int]]:
    """Where the words and their parts stand; the whole follows its parts."""
    spans: list[tuple[int, int]] = []
    for word in _WORD.finditer(text):
        start, end = word.span()
        body = word.group()
        if body.isalpha() and (body.islower() or body.isupper() or body.istitle()):
            spans.append((start, end))
            continue
        parts = [(start + a, start + b) for a, b in _parts(body)]
        spans.extend(parts)
        if len(parts) > 1:
            spans.append((parts[0][0], parts[-1][1]))
    return spans


def _parts(word: str) -> list[tuple[int, int]]:
    parts: list[tuple[int, int]] = []
    for piece in _PART.finditer(word):
        start, end = piece.span()
        cuts = [
            i
            for i in range(start + 1, end)
            if word[i].isupper() and (word[i - 1].islower() or (i + 1 < end and word[i + 1].islower()))
        ]
        edges = [start, *cuts, end]
        parts.extend(pairwise(edges))
    return parts


def _stem(words: list[str]) -> list[str]:
    if not words:
        return []
    stems = _analyzer().analyze(" ".join(word[:_LONGEST_TOKEN] for word in words))
    assert len(stems) == len(words), "the analyzer neither cuts nor drops words"
    return stems


@cache
def _analyzer() -> TextAnalyzer:
    chain = TextAnalyzerBuilder(Tokenizer.whitespace())
    return chain.filter(Filter.ascii_fold()).filter(Filter.lowercase()).filter(Filter.stemmer("english")).build()
