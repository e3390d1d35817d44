"""Case ignored by one rule, Unicode's case folding (`str.casefold`): ß is ss, Σ, σ and ς are one, İ is i̇.

SQLite calls Python for it. PostgreSQL has no such function before version 18, so that it gets as replacements what
Python would do to the characters that matter to the text that is looked for.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

CONTAINS_FUNCTION = "prisma_contains"
"""The name of `contains` in SQLite."""


def folded(text: str) -> str:
    """A text without differences of case."""
    return text.casefold()


def contains(text: str, folded_part: str) -> bool:
    """Whether a text contains a folded one, case ignored."""
    return folded_part in folded(text)


class Replacements(NamedTuple):
    """What folds the characters of texts that may be part of a folded text; all others stay as they are."""

    originals: str
    """Characters that fold to one character each."""
    replacements: str
    """Those, in the same order."""
    expansions: tuple[tuple[str, str], ...]
    """Characters that fold to several, with these."""


def replacements_for(folded_part: str) -> Replacements:
    """The replacements by which texts are searched for a folded one."""
    characters = set(folded_part)
    singles = sorted((original, folding) for folding in characters for original in _foldings().singles.get(folding, ""))
    return Replacements(
        originals="".join(original for original, _folding in singles),
        replacements="".join(folding for _original, folding in singles),
        expansions=tuple(
            (original, folding) for original, folding in _foldings().expansions if not characters.isdisjoint(folding)
        ),
    )


class _Foldings(NamedTuple):
    singles: Mapping[str, str]
    """By a character: all others that fold to it alone."""
    expansions: tuple[tuple[str, str], ...]


@cache
def _foldings() -> _Foldings:
    singles: dict[str, str] = {}
    expansions: list[tuple[str, str]] = []
    for code in range(sys.maxunicode + 1):
        original = chr(code)
        folding = original.casefold()
        if len(folding) > 1:
            expansions.append((original, folding))
        elif folding != original:
            singles[folding] = singles.get(folding, "") + original
    return _Foldings(singles, tuple(expansions))
