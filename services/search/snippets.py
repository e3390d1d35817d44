"""The part of a text that fits a query best, and where the query's words stand in it."""

from __future__ import annotations

from dataclasses import dataclass

from services.search.tokens import TermMatcher, Token

MAX_CHARACTERS = 400
_SCANNED_CHARACTERS = 200_000
"""Characters of a text that are searched for a snippet; words beyond them count for the ranking alone."""


@dataclass(frozen=True)
class Snippet:
    """highlights: half-open ranges of characters of `text`, rising, not overlapping."""

    text: str
    highlights: list[tuple[int, int]]


def make(text: str, matcher: TermMatcher, length: int = MAX_CHARACTERS) -> Snippet:
    """The window of a normalised text with the most distinct terms, the first of equals; its start if it has none."""
    text = text[:_SCANNED_CHARACTERS]
    matches = matcher.tokens(text)
    start = _window(matches, length)
    start, end = _at_words(text, start, min(len(text), start + length))
    highlights = [
        (token.start - start, token.end - start) for token in matches if token.start >= start and token.end <= end
    ]
    return Snippet(text[start:end], _merge(highlights))


def _window(matches: list[Token], length: int) -> int:
    """Where the best window starts: a little before its first term."""
    best, best_count, lead = 0, 0, length // 8
    counts: dict[str, int] = {}
    first = 0
    for last, token in enumerate(matches):
        counts[token.text] = counts.get(token.text, 0) + 1
        while token.end - matches[first].start > length - 2 * lead and first < last:
            word = matches[first].text
            counts[word] -= 1
            if not counts[word]:
                del counts[word]
            first += 1
        if len(counts) > best_count:
            best, best_count = matches[first].start, len(counts)
    return max(0, best - lead)


def _at_words(text: str, start: int, end: int) -> tuple[int, int]:
    """Moves both ends inward to where a word begins or ends, at most 40 characters."""
    if start > 0:
        blank = next((i for i in range(start, min(start + 40, end)) if text[i - 1].isspace()), start)
        start = blank
    while start < end and text[start].isspace():
        start += 1
    if end < len(text):
        end = next((i for i in range(end, max(end - 40, start), -1) if text[i].isspace()), end)
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def _merge(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges without overlaps: the parts of an identifier lie within the whole."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
