"""Texts of labels as they are stored: their limits, and how they are cleaned."""

from __future__ import annotations

import unicodedata

MAX_TEXT = 200
"""Characters of a label."""
MAX_MODEL = 200
"""Characters of the name of a model that wrote a label elsewhere."""
MAX_DESCRIPTION = 2000
"""Characters of its description."""
_JOINERS = "\u200c\u200d"
"""Zero-width characters that spelling needs, for example in Persian and Hindi."""


def clean_line(text: str) -> str:
    """A text on one line, without control characters, in NFC."""
    return " ".join(_printable(text, keep=_JOINERS).split())


def clean_text(text: str) -> str:
    """A text without control characters except line ends, in NFC."""
    return _printable(text.replace("\r\n", "\n"), keep=f"{_JOINERS}\n").strip()


def shorten(text: str, limit: int) -> str:
    """The start of a text with at most `limit` characters; where it is cut, it ends at a word and with `…`."""
    if len(text) <= limit:
        return text
    start = text[: limit - 1]
    words, blank, _ = start.rpartition(" ")
    return f"{words if blank and len(words) > limit // 2 else start}…"


def _printable(text: str, *, keep: str) -> str:
    """Control characters become spaces; invisible, unassigned, private and half characters are dropped."""
    characters: list[str] = []
    for character in text:
        category = unicodedata.category(character)
        if character in keep or category[0] != "C":
            characters.append(character)
        elif category == "Cc":
            characters.append(" ")
    return unicodedata.normalize("NFC", "".join(characters))
