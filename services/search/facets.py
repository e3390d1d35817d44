"""Metadata as exact values to filter by: one normal form for stored values and for literals of filters.

A number is written in its shortest form, so that 4, 4.0 and 4e0 are one value; booleans and null as in JSON; text as
it is. A literal that reads as a number matches that number as well as the text that was written: `4.0` finds the
number 4 and the text "4.0".
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from hashlib import sha256
from typing import cast

_MAX_FACET_BYTES = 400
_KEY_CHARACTERS = 60
_INTEGER = re.compile(r"[+-]?[0-9]{1,400}")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def facets_of(metadata: Mapping[str, object]) -> list[str]:
    """One facet for each plain value in metadata: nested keys joined by `.`, each element of a list by itself."""
    return sorted({facet(key, normal_form(value)) for key, value in _leaves("", metadata)})


def keys_of(metadata: Mapping[str, object]) -> list[str]:
    """The keys that have plain values in metadata, nested ones joined by `.`."""
    return sorted({key for key, _ in _leaves("", metadata)})


def literal_facets(key: str, literal: str) -> tuple[str, ...]:
    """The facets that a literal of a filter matches; one of them is enough."""
    return tuple(dict.fromkeys(facet(key, form) for form in _literal_forms(literal)))


def facet(key: str, form: str) -> str:
    """The facet of a key and a value in its normal form; a digest where it would be long."""
    text = f"{len(key)}:{key}={form}"
    if len(text.encode()) <= _MAX_FACET_BYTES:
        return text
    return f"{text[:_KEY_CHARACTERS]}…{sha256(text.encode()).hexdigest()}"


def normal_form(value: object) -> str:
    """A plain JSON value in its normal form."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return str(int(value))
    return str(value)


def nearest_key(key: str, known_keys: set[str]) -> str | None:
    """The known key that is spelled most like a key; None where none is close."""
    by_lower_case = {candidate.lower(): candidate for candidate in sorted(known_keys)}
    close = get_close_matches(key.lower(), by_lower_case, n=1, cutoff=0.6)
    if close:
        return by_lower_case[close[0]]
    return next((candidate for candidate in sorted(known_keys) if candidate.endswith(f".{key}")), None)


def _literal_forms(literal: str) -> Iterator[str]:
    yield literal
    if _INTEGER.fullmatch(literal):
        yield str(int(literal))
    elif _NUMBER.fullmatch(literal) and math.isfinite(float(literal)):
        yield normal_form(float(literal))


def _leaves(key: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        for name, item in cast("Mapping[str, object]", value).items():
            yield from _leaves(f"{key}.{name}" if key else name, item)
    elif isinstance(value, list | tuple):
        for item in cast("Sequence[object]", value):
            yield from _leaves(key, item)
    else:
        yield key, value
