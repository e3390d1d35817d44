"""Splits long texts into passages that a model reads whole.

A passage ends with a sentence where one ends within the limit, else with a word, else between two characters of the
reader (a letter and its accents stay together). Passages are exact slices of the text, in its order, and hold all of it
but blanks between them. The work grows with the length of the text, whatever it consists of.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from prisma_common.sentences import sentence_bounds
from prisma_common.words import is_blank, is_inside_character

MIN_TOKENS = 16
"""The least limit of a passage: one character of the reader can have so many tokens."""
MAX_TOKENS = 100_000
DEFAULT_TOKENS = 256
"""Of a passage for a model that reads texts of any length."""
_BLOCK_CHARACTERS = 1 << 16
"""Characters whose tokens are found at a time, so that memory does not grow with the text."""
_MAX_CHARACTER = 64
"""Code points of one character of the reader; what is longer is cut like a word."""
_VISIBLE = re.compile(r"\S")
_WORD_ENDS = re.compile(r"\s(?=\S)|[、，；：・]")


class Tokenizer(Protocol):
    """How a model cuts texts into tokens."""

    def token_starts(self, text: str) -> NDArray[np.intp]:
        """Where the tokens of a text start, in characters, ascending, (T,): T tokens are the text's length."""
        ...


class Span(NamedTuple):
    """A half-open range of characters of a text."""

    start: int
    end: int


@dataclass(frozen=True)
class Splitter:
    """Splits texts into passages of at most `max_tokens` tokens.

    Each begins with the end of the one before: at most `overlap_tokens` tokens, from a sentence's start, else a word's,
    else a character's. A passage has more than `max_tokens` only where one character of the reader has more.
    """

    tokenizer: Tokenizer
    max_tokens: int
    overlap_tokens: int = 0

    def spans(self, text: str) -> list[Span]:
        """The passages of a text; one for a text that fits, or that is blank."""
        if self._count(text) <= self.max_tokens:
            return [Span(0, len(text))]
        spans = _Text(text, self).spans()
        return spans or [Span(0, len(text))]

    def _count(self, text: str) -> int:
        return len(self.tokenizer.token_starts(text)) if len(text) <= _BLOCK_CHARACTERS else self.max_tokens + 1


class _Text:
    """A text that is split.

    The tokens of a slice differ from those of the text around it, so each passage is counted by itself, and cut shorter
    where it exceeds the limit.
    """

    def __init__(self, text: str, splitter: Splitter) -> None:
        self._text = text
        self._splitter = splitter
        self._sentences = sentence_bounds(text)
        self._tokens = _token_starts(text, splitter.tokenizer)

    def spans(self) -> list[Span]:
        spans: list[Span] = []
        start = rest = self._visible_from(0)  # rest: where the first character is that no passage has
        while rest < len(self._text):
            end = self._end(start, rest)
            if end is None:  # the overlap leaves no room for more
                start = rest
                continue
            passage = self._text[start:end]
            if not is_blank(passage):
                spans.append(Span(start, start + len(passage.rstrip())))
            start, rest = self._next_start(start, end), self._visible_from(end)
        return spans

    def _end(self, start: int, rest: int) -> int | None:
        """Where the passage from `start` ends, behind `rest`; None where it cannot reach so far with its overlap."""
        budget = self._splitter.max_tokens
        while True:
            limit = self._token_start(bisect_left(self._tokens, start) + budget)
            if limit <= rest:
                if start < rest:
                    return None
                return self._character_end(start)
            end = self._cut_before(limit, rest)
            if start < rest and is_inside_character(self._text, end):
                return None  # without the overlap, the character may be kept whole
            count = self._count(start, end)
            if count <= self._splitter.max_tokens or self._character_end(start, end) >= end:
                return end
            if not budget:
                return self._end_in_token(start, rest, end)
            budget = max(0, min(budget * self._splitter.max_tokens // count, budget - 1 - budget // 16))

    def _end_in_token(self, start: int, rest: int, end: int) -> int | None:
        """As `_end`, before `end`: where a part of one of the text's tokens has too many tokens by itself."""
        while (end := start + (end - start) // 2) > self._character_end(rest):
            end = self._cut_before(end, rest)
            if self._count(start, end) <= self._splitter.max_tokens:
                return end
        return None if start < rest else self._character_end(start)

    def _next_start(self, start: int, end: int) -> int:
        """Where the passage behind one begins, with its overlap."""
        budget = self._splitter.overlap_tokens
        while budget > 0 and end < len(self._text):
            first = self._token_start(bisect_left(self._tokens, end) - budget)
            overlap = self._cut_from(max(first, start + 1), end)
            if overlap is None or self._count(overlap, end) <= self._splitter.overlap_tokens:
                return self._visible_from(end if overlap is None else overlap)
            budget -= 1 + budget // 16
        return self._visible_from(end)

    def _cut_before(self, limit: int, behind: int) -> int:
        """The best cut in (behind, limit]: the last sentence's, else the last word's, else the last character's."""
        if limit >= len(self._text):
            return len(self._text)
        sentence = self._sentences[bisect_right(self._sentences, limit) - 1]
        if sentence > behind and not is_inside_character(self._text, sentence):
            return sentence
        if words := self._words(behind, limit + 1):
            return words[-1]
        for place in range(limit, max(behind, limit - _MAX_CHARACTER), -1):
            if not is_inside_character(self._text, place):
                return place
        return limit

    def _cut_from(self, first: int, end: int) -> int | None:
        """Where an overlap begins in [first, end): the first sentence, else word, else character; None for none."""
        sentence = self._sentences[bisect_left(self._sentences, first)]
        if sentence < end and not is_inside_character(self._text, sentence):
            return sentence
        if words := self._words(first - 1, end):
            return words[0]
        characters = range(first, min(end, first + _MAX_CHARACTER))
        return next((place for place in characters if not is_inside_character(self._text, place)), None)

    def _words(self, behind: int, end: int) -> list[int]:
        """Where words begin in (behind, end), and what follows the commas of scripts without spaces."""
        ends = (match.end() for match in _WORD_ENDS.finditer(self._text, behind, end))
        return [place for place in ends if behind < place < end and not is_inside_character(self._text, place)]

    def _character_end(self, start: int, stop: int | None = None) -> int:
        """Where the character of the reader that begins at `start` ends, looked for up to `stop`."""
        stop = min(start + _MAX_CHARACTER, len(self._text) if stop is None else stop)
        return next((end for end in range(start + 1, stop) if not is_inside_character(self._text, end)), stop)

    def _token_start(self, index: int) -> int:
        return int(self._tokens[max(0, index)]) if index < len(self._tokens) else len(self._text)

    def _visible_from(self, start: int) -> int:
        match = _VISIBLE.search(self._text, start)
        if match is None:
            return len(self._text)
        first = match.start()
        return first - 1 if first > start and is_inside_character(self._text, first) else first

    def _count(self, start: int, end: int) -> int:
        return len(self._splitter.tokenizer.token_starts(self._text[start:end].rstrip()))


def _token_starts(text: str, tokenizer: Tokenizer) -> Sequence[int] | NDArray[np.intp]:
    """Where tokens start, block by block: at the bounds of blocks they may differ from those of the whole text."""
    starts = range(0, len(text), _BLOCK_CHARACTERS)
    blocks = [start + tokenizer.token_starts(text[start : start + _BLOCK_CHARACTERS]) for start in starts]
    return np.concatenate(blocks) if blocks else np.empty(0, dtype=np.intp)
