"""The part of a text that fits a query best, and where the query's words stand in it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from services.search import analysis

MAXIMUM_CHARACTERS = 400
_LOOKED_AT = 200_000
"""Characters of a text that are searched for a snippet; further on, only the ranking has read it."""


@dataclass(frozen=True)
class Snippet:
    """highlights: half-open ranges of characters of `text`, rising, not overlapping."""

    text: str
    highlights: list[tuple[int, int]]


def make(text: str, terms: Collection[str], length: int = MAXIMUM_CHARACTERS) -> Snippet:
    """The window with the most distinct terms, the first of equals; the text's start where no term stands in it."""
    text = analysis.normalize(text[:_LOOKED_AT])
    wanted = set(terms)
    found = [token for token in analysis.located_tokens(text) if token.text in wanted] if wanted else []
    start = _window(found, length)
    start, end = _at_words(text, start, min(len(text), start + length))
    inside = _merge(
        [(token.start - start, token.end - start) for token in found if token.start >= start and token.end <= end]
    )
    return Snippet(text[start:end], inside)


def _window(found: list[analysis.Token], length: int) -> int:
    """Where the best window starts: a little before its first term."""
    best, best_count, lead = 0, 0, length // 8
    counts: dict[str, int] = {}
    first = 0
    for last, token in enumerate(found):
        counts[token.text] = counts.get(token.text, 0) + 1
        while token.end - found[first].start > length - 2 * lead and first < last:
            word = found[first].text
            counts[word] -= 1
            if not counts[word]:
                del counts[word]
            first += 1
        if len(counts) > best_count:
            best, best_count = found[first].start, len(counts)
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
