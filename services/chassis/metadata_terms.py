"""Values of metadata as terms: texts whose order, as bytes, is that of the values.

Every index of metadata holds terms, and a comparison of a filter is a term or a range of terms. So a database and two
search engines compare alike, whatever they know of numbers and dates. A value has several terms, because its type may
change as documents come in: each has one as text, one that reads as a number has another as a number, and so on; the
type of the field decides which one a filter asks for.

Numbers are compared as decimals, exactly: 4, 4.0 and "4" are one number, 64-bit integers keep all digits. Dates are
those of RFC 3339 and are compared as instants; without an offset they are in UTC. Texts are compared by code points, by
their first MAX_TEXT_BYTES; longer ones are equal if all of them is. Null is no value. Nested keys are joined by `.`,
and each element of a list is a value of its own.

What contains a text, case ignored, is asked of values as text, and of the beginnings of long ones. An index that cannot
fold the case of its terms has the folded values as terms too, where they are different: see `index_terms_of`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple, cast

from prisma_common.structs import MAX_EXACT
from services.chassis.case_folding import folded

MAX_TEXT_BYTES = 1000
MAX_NUMBER_CHARACTERS = 400
MAX_EXPONENT = 400
MIN_INTEGER, MAX_INTEGER = -(1 << 63), (1 << 64) - 1
"""64 bits, with or without a sign."""

_MAX_KEY_BYTES = 200
_KEY_CHARACTERS = 60
_CACHED_CHARACTERS = 100
_NUMBER = re.compile(r"([+-])?(?=\.?[0-9])([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]{1,4}))?")
_NUMBER_BEGINNINGS = tuple("+-.0123456789")
_DATE = re.compile(
    r"(\d{4}-\d{2}-\d{2})(?:[Tt ](\d{2}:\d{2}(?::\d{2})?)(?:\.(\d{1,18}))?([Zz]|[+-]\d{2}:?\d{2})?)?", re.ASCII
)
_MONTH = re.compile(r"\d{4}-\d{2}", re.ASCII)
_NINES_COMPLEMENT = str.maketrans("0123456789", "9876543210")
_AFTER_DIGITS = "~"
"""Above all digits, so that of two negative numbers the one with more digits comes first."""
_EXPONENT_ZERO = 5000
_WITHOUT_SEPARATORS = str.maketrans("", "", f"-T:.{_AFTER_DIGITS}")
CUT_MARK = "\x01\x03"
"""Stands behind the beginning of a long text, before the digest."""
DIGEST_CHARACTERS = 64
PLACE_DIGITS = 18
"""Of the place of a number or a date: what 63 bits hold."""


class Form(StrEnum):
    """As what a term has a value: the letter that it is marked by."""

    DATE = "d"
    FOLDED = "f"
    NUMBER = "n"
    TEXT = "t"


class Type(StrEnum):
    """Of a field's values."""

    STRING = "STRING"
    INTEGER = "INTEGER"
    NUMBER = "NUMBER"
    BOOLEAN = "BOOLEAN"
    DATE = "DATE"

    @property
    def form(self) -> Form:
        """As what values of this type are compared."""
        match self:
            case Type.INTEGER | Type.NUMBER:
                return Form.NUMBER
            case Type.DATE:
                return Form.DATE
            case _:
                return Form.TEXT


class Described(NamedTuple):
    """What filters need to know of a document's metadata."""

    terms: list[str]
    """Ascending."""
    types: set[tuple[str, Type]]
    """The keys that have values, with the types of these."""


def described(metadata: Mapping[str, object]) -> Described:
    """Terms and types of the values in metadata."""
    terms: set[str] = set()
    types: set[tuple[str, Type]] = set()
    for key, value in values_of(metadata):
        is_long = len(key) + (len(value) if isinstance(value, str) else 0) > _CACHED_CHARACTERS
        value_terms, type_ = _described(key, value) if is_long else _cached(key, value)
        terms.update(value_terms)
        types.add((key, type_))
    return Described(sorted(terms), types)


def terms_of(metadata: Mapping[str, object]) -> list[str]:
    """All terms of a document, ascending."""
    return described(metadata).terms


def parts_of(terms: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Of each term the prefix of its field, the letter of its form, and its value."""
    prefix, size = "", 0
    for term in terms:
        if not size or not term.startswith(prefix):  # terms of a field are often beside each other
            colon = term.index(":")
            size = colon + 2 + int(term[:colon])
            prefix = term[:size]
        yield prefix, term[size], term[size + 1 :]


def index_terms_of(metadata: Mapping[str, object]) -> list[str]:
    """All terms of a document, ascending, with the folded texts that differ from those of the terms."""
    terms = terms_of(metadata)
    return sorted({*terms, *_folded_terms(terms)})


def is_cut(value: str) -> bool:
    """Whether the value of a term as text is the beginning of a long one, with a digest."""
    return len(value) > DIGEST_CHARACTERS and value.startswith(CUT_MARK, len(value) - DIGEST_CHARACTERS - len(CUT_MARK))


def searchable_text(value: str) -> str:
    """The value of a term as text, without case and digest: what may contain a folded text."""
    return folded(value[: -DIGEST_CHARACTERS - len(CUT_MARK)] if is_cut(value) else value)


def place_of(value: str) -> int:
    """Of the value of a term as number or date: a number of 63 bits that never descends where terms ascend.

    Different terms have the same place where only their digits behind the first few differ.
    """
    digits = value.translate(_WITHOUT_SEPARATORS)
    filler = "9" if value[-1] == _AFTER_DIGITS else "0"
    return int(digits[:PLACE_DIGITS].ljust(PLACE_DIGITS, filler))


def _folded_terms(terms: Iterable[str]) -> Iterator[str]:
    for prefix, form, value in parts_of(terms):
        if form == Form.TEXT and (text := searchable_text(value)) != value:
            yield f"{prefix}{Form.FOLDED}{text}"


def values_of(metadata: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Keys and plain values."""
    for key, value in metadata.items():
        yield from _values(key, value)


def prefix_of(key: str, form: Form | None = None) -> str:
    """What all terms of a field begin with; those of one form."""
    prefix = _prefix if len(key) <= _CACHED_CHARACTERS else _prefix.__wrapped__
    return prefix(key) + (form or "")


def end_of_prefix(prefix: str) -> str:
    """The first text behind all that begin with a prefix, which is one of terms."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def term_of(key: str, form: Form, literal: str) -> str | None:
    """The term of a filter's literal; None where it cannot be read in this form."""
    match form:
        case Form.NUMBER:
            value = number_form(literal)
        case Form.DATE:
            value = date_form(f"{literal}-01-01" if re.fullmatch(r"\d{4}", literal, re.ASCII) else literal)
        case Form.TEXT:
            value = _cut(escaped(literal))
        case Form.FOLDED:
            value = folded(escaped(literal))
    return None if value is None else prefix_of(key, form) + value


def text_form(value: object) -> str:
    """A plain value as people write it: 4 for 4.0, true for True."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return str(int(value))
    return str(value)


def number_form(value: object) -> str | None:
    """A number, or a text that reads as one, so that texts ascend as numbers do; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if isinstance(value, str) and (value[:1] not in _NUMBER_BEGINNINGS or len(value) > MAX_NUMBER_CHARACTERS):
        return None
    match = _NUMBER.fullmatch(value if isinstance(value, str) else repr(value))
    if match is None:
        return None
    sign, whole, fraction, exponent = match.groups("")
    digits = f"{whole}{fraction}"
    return _ordered(digits.lstrip("0"), int(exponent or 0) - len(fraction), is_negative=sign == "-")


def date_form(value: object) -> str | None:
    """A date or a date and time in UTC, so that texts ascend as instants do; None for anything else."""
    if not isinstance(value, str) or not 7 <= len(value) <= 50 or value[4] != "-":
        return None
    match = _DATE.fullmatch(f"{value}-01" if _MONTH.fullmatch(value) else value)
    if match is None:
        return None
    day, time, fraction, offset = match.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{time or '00:00'}{(offset or 'Z').upper()}").astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return f"{moment.year:04d}-{moment:%m-%dT%H:%M:%S}.{(fraction or '').rstrip('0')}"


def escaped(text: str) -> str:
    """A text without U+0000, which PostgreSQL cannot hold, in the same order."""
    if "\x00" not in text and "\x01" not in text:
        return text
    return text.replace("\x01", "\x01\x02").replace("\x00", "\x01\x01")


def _values(key: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for name, item in cast("Mapping[str, object]", value).items():
            yield from _values(f"{key}.{name}", item)
    elif isinstance(value, list):
        for item in cast("Sequence[object]", value):
            yield from _values(key, item)
    elif value is not None:
        yield key, value


def _described(key: str, value: object) -> tuple[tuple[str, ...], Type]:
    """The terms of a plain value, and its type by itself: as text travel integers beyond 2^53."""
    prefix, text = _prefix(key), text_form(value)
    number, date = number_form(value), date_form(value)
    terms = [f"{prefix}t{_cut(escaped(text))}"]
    if number is not None:
        terms.append(f"{prefix}n{number}")
    if date is not None:
        terms.append(f"{prefix}d{date}")
    if isinstance(value, bool):
        type_ = Type.BOOLEAN
    elif isinstance(value, int | float):
        type_ = Type.INTEGER if isinstance(value, int) or value.is_integer() else Type.NUMBER
    elif date is not None:
        type_ = Type.DATE
    else:
        type_ = Type.INTEGER if number is not None and is_large_integer(text) else Type.STRING
    return tuple(terms), type_


_cached = lru_cache(maxsize=1 << 16, typed=True)(_described)


@lru_cache(maxsize=1 << 12)
def _prefix(key: str) -> str:
    name = escaped(key)
    if len(name.encode()) > _MAX_KEY_BYTES:
        name = f"{name[:_KEY_CHARACTERS]}…{sha256(name.encode()).hexdigest()}"
    return f"{len(name)}:{name}="


def _cut(text: str) -> str:
    """A text as a term has it: its beginning and a digest where it is long."""
    if 4 * len(text) <= MAX_TEXT_BYTES:
        return text
    data = text.encode()
    if len(data) <= MAX_TEXT_BYTES:
        return text
    beginning = data[:MAX_TEXT_BYTES].decode(errors="ignore")
    return f"{beginning}{CUT_MARK}{sha256(data).hexdigest()}"


def _ordered(digits: str, exponent: int, *, is_negative: bool) -> str | None:
    """A decimal as text: sign, exponent of the first digit, digits; the latter two as complements below zero."""
    leading = exponent + len(digits) - 1
    digits = digits.rstrip("0")
    if not digits:
        return "1"
    if abs(leading) > MAX_EXPONENT:
        return None
    magnitude = f"{_EXPONENT_ZERO + leading:04d}{digits}"
    return f"0{magnitude.translate(_NINES_COMPLEMENT)}{_AFTER_DIGITS}" if is_negative else f"2{magnitude}"


def is_large_integer(text: str) -> bool:
    """Whether a text is an integer of 64 bits that no double represents for sure, written as JSON has it."""
    if not 16 <= len(text) <= 20 or not text.isascii():
        return False
    digits = text.removeprefix("-")
    if not digits.isdecimal() or digits[0] == "0":
        return False
    number = int(text)
    return abs(number) > MAX_EXACT and MIN_INTEGER <= number <= MAX_INTEGER
