"""Which JSON values a document's metadata may hold. Every boundary that takes or returns metadata follows these rules.

Metadata travels as google.protobuf.Struct: numbers are finite doubles and strings are UTF-8. Integers that no double
represents travel as decimal text, as 64-bit integers do in the JSON of Protocol Buffers; they are stored as they are.
What such a message cannot carry exactly is rejected at the import, and skipped where an older version stored it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import cast

from prisma_common.structs import MAX_EXACT
from services.chassis.metadata_terms import MAX_INTEGER, MIN_INTEGER, terms_of

MAX_BYTES = 64 << 10
"""Bytes of a document's metadata, as JSON in UTF-8."""
MAX_PASSAGE_BYTES = 2 << 10
"""Bytes of the metadata that each passage has of its document's, as JSON in UTF-8."""
MAX_PASSAGE_TERMS = 2_000_000
"""Terms of a document's metadata that an index holds for all of its passages together, 8 s of work and 150 MiB."""
MAX_DEPTH = 8
"""Levels of nesting; the metadata itself is the first."""

_PLAIN_BYTES = 40
"""A number, and the quotes, colon and comma of an entry."""
_ENCODER = json.JSONEncoder(ensure_ascii=False)
_Path = tuple[str, ...]


def problem(metadata: Mapping[str, object]) -> str | None:
    """What the metadata holds that it may not, with the place; None if nothing."""
    if _is_small_and_plain(metadata):
        return None
    for path, value in _walk(metadata):
        reason = _value_problem(value, depth=len(path))
        if reason is not None:
            return f"{_place(path)}: {reason}"
    size = _size(metadata)
    if size > MAX_BYTES:
        sizes = {name: _size(value) for name, value in metadata.items()}
        largest = max(sizes, key=sizes.__getitem__)
        part = f"{sizes[largest]:,} of them in {_place((largest,))}"
        if sizes[largest] < size / 2:
            part = f"in the names and values of {len(metadata):,} fields"
        return f"the metadata has {size:,} bytes, {part}; a document may have {MAX_BYTES:,}"
    return None


def _is_small_and_plain(metadata: Mapping[str, object]) -> bool:
    """Whether metadata have no problem, as nearly all: texts, numbers and truth values, far from the limits."""
    size = 0  # an upper bound: a character has at most 6 bytes in JSON, a number fewer than _PLAIN_BYTES
    for name, value in metadata.items():
        kind = type(value)
        if kind is str:
            text = cast("str", value)
            size += 6 * len(text)
            if not (text.isascii() or is_utf8(text)):
                return False
        elif kind is int:
            if not MIN_INTEGER <= cast("int", value) <= MAX_INTEGER:
                return False
        elif kind is float:
            if not math.isfinite(cast("float", value)):
                return False
        elif kind is not bool and value is not None:
            return False
        size += 6 * len(name) + _PLAIN_BYTES
        if not (name.isascii() or is_utf8(name)):
            return False
    return size <= MAX_BYTES


def readable(metadata: Mapping[str, object]) -> dict[str, object]:
    """The entries of stored metadata that can be returned, those without a problem, as they travel."""
    if problem(metadata) is None:
        return {name: _travelling(value) for name, value in metadata.items()}
    return {name: _travelling(value) for name, value in metadata.items() if problem({name: value}) is None}


def _travelling(value: object) -> object:
    """A value as a message carries it."""
    if isinstance(value, int):
        return value if -MAX_EXACT <= value <= MAX_EXACT else str(value)
    if isinstance(value, list):
        return [_travelling(member) for member in value]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, dict):
        return {name: _travelling(member) for name, member in value.items()}  # pyright: ignore[reportUnknownVariableType]
    return value


def is_shortened(metadata: Mapping[str, object]) -> bool:
    """Whether passages have less metadata than their document."""
    return _size(metadata) > MAX_PASSAGE_BYTES


def passage_metadata(metadata: Mapping[str, object]) -> Mapping[str, object]:
    """What each passage of a document has of its metadata: all up to MAX_PASSAGE_BYTES, else the smallest entries."""
    if not is_shortened(metadata):
        return metadata
    sizes = {name: _size({name: value}) for name, value in metadata.items()}
    rest, shared = MAX_PASSAGE_BYTES, set[str]()
    for name in sorted(sizes, key=sizes.__getitem__):
        rest -= sizes[name]
        if rest < 0:
            break
        shared.add(name)
    return {name: value for name, value in metadata.items() if name in shared}


def passage_problem(metadata: Mapping[str, object], passage_count: int) -> str | None:
    """Why a document with this metadata cannot have so many passages; None if it can."""
    if not is_shortened(metadata):
        return None
    term_count = len(terms_of(metadata))
    if term_count * passage_count <= MAX_PASSAGE_TERMS:
        return None
    return (
        f"filters would compare {term_count:,} terms of the metadata in each of {passage_count:,} passages, "
        f"{term_count * passage_count:,} in all, at most {MAX_PASSAGE_TERMS:,} are allowed: leave out fields of the "
        "metadata, or make passages longer"
    )


def absent_if_not_finite(value: object) -> object:
    """A JSON value with null in place of NaN and infinities."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [absent_if_not_finite(member) for member in cast("list[object]", value)]
    if isinstance(value, dict):
        return {name: absent_if_not_finite(member) for name, member in cast("dict[str, object]", value).items()}
    return value


def is_utf8(text: str) -> bool:
    """Whether a string can be encoded: False for one with half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def printable(text: str) -> str:
    """The string with halves of surrogate pairs written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def _walk(metadata: Mapping[str, object]) -> Iterator[tuple[_Path, object]]:
    """Every key and value with its path, level by level. Containers beyond MAX_DEPTH are not entered."""
    stack: list[tuple[_Path, object]] = [((), metadata)]
    while stack:
        path, value = stack.pop()
        yield path, value
        if len(path) >= MAX_DEPTH:
            continue
        if isinstance(value, dict):
            for name, member in value.items():  # pyright: ignore[reportUnknownVariableType]
                yield (*path, str(name)), str(name)  # pyright: ignore[reportUnknownArgumentType]
                stack.append(((*path, str(name)), member))  # pyright: ignore[reportUnknownArgumentType]
        elif isinstance(value, list):
            stack.extend(((*path, str(index)), member) for index, member in enumerate(value))  # pyright: ignore


def _value_problem(value: object, depth: int) -> str | None:
    if isinstance(value, (dict, list)):
        return f"it is nested more than {MAX_DEPTH} levels deep" if depth >= MAX_DEPTH else None
    if isinstance(value, str):
        return None if is_utf8(value) else "it holds half of a surrogate pair, which is not text"
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int):
        if MIN_INTEGER <= value <= MAX_INTEGER:
            return None
        return "the integer has more than 64 bits; write it as a string to keep all digits"
    if isinstance(value, float):
        if math.isnan(value):
            return "NaN is not a number that JSON can hold; leave the field out or write null"
        return "the number is infinite, or too large for a double" if math.isinf(value) else None
    return f"{type(value).__name__} is not a JSON type"


def _size(value: object) -> int:
    return len(_ENCODER.encode(value).encode())


def _place(path: _Path) -> str:
    return printable(".".join(("metadata", *path)))[:200]
