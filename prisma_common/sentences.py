"""The sentences of a text, found by punctuation in any script, as parts that cover the text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

_CLOSING = "\"'”’»)\\]」』）"
_ENDS = re.compile(  # possessive, and begun only at the first sign of a run: long runs take linear time
    rf"""(?<![.!?…])[.!?…]++[{_CLOSING}]*+(?=\s)   # with a blank behind it: `3.14` and `a.b` are no ends
        | [。！？｡।॥؟۔]++[{_CLOSING}]*+   # scripts that put no blank behind it, or use it for nothing else
        | \n[ \t]*+\n                  # a paragraph
    """,
    re.VERBOSE,
)
_ABBREVIATION = re.compile(r"(?:\b(?:e\.g|i\.e|etc|vs|cf|al|fig|no|st|dr|mr|mrs|ms|prof|approx)|\b[^\W\d_])\.$", re.I)
_VISIBLE = re.compile(r"\S")
_MAX_LOOKED_AT = 12
"""Characters in front of a full stop that can be an abbreviation."""


@dataclass(frozen=True)
class Sentence:
    """A part of a text; positions are in code points."""

    start: int
    """Of its first character that is not blank."""
    end: int
    """One past its last character that is not blank."""
    next_start: int
    """Where the part behind it starts: parts from 0 on cover the text."""


def split(text: str, limit: int) -> list[Sentence]:
    """The sentences of a text, at least one unless it is blank. Above `limit`, neighbouring ones are taken together."""
    bounds = sentence_bounds(text)
    count = len(bounds) - 1
    if count > limit:
        bounds = [bounds[place * count // limit] for place in range(limit)] + [len(text)]
    return [_sentence(text, start, end) for start, end in pairwise(bounds) if text[start:end].strip()]


def sentence_bounds(text: str) -> list[int]:
    """Where sentences begin, from 0 on, and the text's length: each sentence has more than blanks. In linear time."""
    bounds = [0]
    first = _first_visible(text, 0)  # of the sentence that has begun
    last = len(text.rstrip())
    for match in _ENDS.finditer(text):
        end = match.end()
        if not first < end < last:
            continue
        if match[0].startswith((".", "…")) and text[end : end + 200].lstrip()[:1].islower():
            continue
        if match[0].endswith(".") and _ABBREVIATION.search(text, max(0, end - _MAX_LOOKED_AT), end):
            continue
        bounds.append(end)
        first = _first_visible(text, end)
    return [*bounds, len(text)]


def _first_visible(text: str, start: int) -> int:
    match = _VISIBLE.search(text, start)
    return match.start() if match else len(text)


def _sentence(text: str, start: int, end: int) -> Sentence:
    part = text[start:end]
    first = start + len(part) - len(part.lstrip())
    return Sentence(first, first + len(part.strip()), end)
