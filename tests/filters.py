"""Filters and documents with which every back end is compared, and what matches as plain Python has it."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from services.chassis.filters import TRUTH, Leaf, Presence, evaluate, parse_filter
from services.chassis.metadata_filters import METADATA, OPERATORS
from services.chassis.metadata_terms import MAX_TEXT_BYTES

METADATA_FIELDS = {METADATA: OPERATORS}
TYPES = {
    "year": "INTEGER",
    "large": "INTEGER",
    "score": "NUMBER",
    "flag": "BOOLEAN",
    "day": "DATE",
    "code": "STRING",
    "title": "STRING",
    "tags": "STRING",
    "sizes": "INTEGER",
    "days": "DATE",
    "nested.inner": "STRING",
    "nested.depth": "INTEGER",
    "publication year": "INTEGER",
    "a=b": "STRING",
    "zip": "STRING",
    "größe": "NUMBER",
}
CHOSEN_TYPES = {"zip": "STRING"}
"""Types that do not come from the values."""
DOCUMENTS: list[dict[str, Any]] = [
    {"year": 1999, "large": 2**53, "score": 0.1, "flag": True, "day": "2021-05-01", "code": "4", "tags": ["a", "b"]},
    {"year": 2000, "large": 2**53 + 1, "score": 4, "flag": False, "day": "2021-05-01T12:00:00Z", "code": 4},
    {"year": 2021, "large": 2**63 - 1, "score": 4.0, "day": "2021-05-01T14:00:00+02:00", "code": "4.0", "tags": ["b"]},
    {"year": 2021.0, "large": -(2**63), "score": 1e300, "day": "2021-05-01T11:59:59.999999Z", "code": "n/a"},
    {"year": -5, "large": 2**64 - 1, "score": -2.5, "day": "1999-12-31 23:30:00-01:00", "code": "", "tags": []},
    {"year": 0, "large": 5, "score": 0.1 + 0.2, "day": "2021-05", "tags": ["heart attack", None, "B"]},
    {"year": None, "title": "Heart failure in adults", "sizes": [1, 2, 30], "days": ["2020-01-01", "2022-01-01"]},
    {"title": "HERZÄNDERUNG 100% a_b*c?d[e]^f", "sizes": [2], "nested": {"inner": "x", "depth": 1}},
    {"title": 'say "hi"\nand (bye)', "nested": {"inner": ["y", "Z"], "depth": 2}, "publication year": 1999},
    {"title": "a\x00b\x01c", "publication year": 2005, "a=b": "c", "zip": 1234, "größe": 1.75},
    {"title": "long " * 300 + "end", "zip": "01234", "größe": 2, "nested": {}},
    {"title": "long " * 300 + "END", "large": str(2**60), "flag": True, "sizes": []},
    {"title": "İSTANBUL, ÄÖÜ, Straße, ΣΊΣΥΦΟΣ, ﬁn K", "code": "ŉ", "tags": ["ẞ", "ΐ", "ǰ"]},
    {"title": "ß" * 400 + "Ä" * 150, "code": "ı", "tags": ["ss", "ς"]},
    {"title": "😀 \\ back", "code": "true", "score": 1e-7, "year": 10**15},
    {},
]
FILTERS = [
    "",
    *(f"metadata.year {op} 2021" for op in ("=", "!=", "<", "<=", ">", ">=", ":")),
    "metadata.year = 2021.0",
    'metadata.year = "2021"',
    "metadata.year = 2.021e3",
    "metadata.year > -5.5",
    "metadata.year = abc",
    "metadata.year != abc",
    "metadata.year:*",
    "NOT metadata.year:*",
    "NOT metadata.year = 2021",
    "-metadata.year >= 2000",
    "metadata.year = 1e15",
    *(f"metadata.large {op} 9007199254740993" for op in ("=", "!=", "<", "<=", ">", ">=")),
    "metadata.large = 9007199254740992",
    "metadata.large = 9223372036854775807",
    "metadata.large = -9223372036854775808",
    "metadata.large = 18446744073709551615",
    "metadata.large > 18446744073709551614",
    "metadata.large = 1152921504606846976",
    "metadata.large = 9007199254740993.5",
    "metadata.score = 0.1",
    "metadata.score = .1",
    "metadata.score = 0.3",
    "metadata.score = 4.0",
    "metadata.score < 1e-6",
    "metadata.score <= -2.5 OR metadata.score >= 1e300",
    "metadata.score > 0.3 AND metadata.score < 4",
    "metadata.flag = true",
    "metadata.flag != true",
    "NOT metadata.flag = true",
    "metadata.flag = 1",
    "metadata.day = 2021-05-01",
    "metadata.day = 2021-05-01T12:00:00Z",
    "metadata.day = 2021-05-01T07:00:00-05:00",
    "metadata.day < 2021-05-01T12:00:00Z",
    "metadata.day >= 2021 AND metadata.day < 2022",
    "metadata.day > 2021-05",
    "metadata.day = 2000-01-01T00:30:00Z",
    "metadata.day = yesterday",
    "metadata.day > 2021-05-01T10:00:00.123456Z",
    "metadata.score > 0.12345678901234567890123",
    'metadata.title > "A study of heart failure in elderly patients"',
    f'metadata.title : "{"ßäЖ" * 60}"',
    "metadata.code = 4",
    "metadata.code = 4.0",
    'metadata.code = ""',
    "metadata.code != 4",
    "metadata.code > 4",
    "metadata.code : N/",
    'metadata.code : ""',
    "metadata.title : heart",
    "metadata.title : zän",
    "metadata.title : '100%'",
    'metadata.title : "a_b*c?d[e]^f"',
    "metadata.title : 'HI\"\nAND (b'",
    'metadata.title : "\\\\ BACK"',
    'metadata.title : "a\x00b\x01"',
    'metadata.title = "a\x00b\x01c"',
    'metadata.title : "😀"',
    *(
        f'metadata.title : "{text}"'
        for text in ("i̇stanbul", "İ", "äöü", "STRASSE", "aß", "strasse, σίσυφοσ", "ς", "FIN k")
    ),
    'metadata.title : "ä"',
    f'metadata.title : "{"SS" * 240}"',
    *(f'metadata.title : "{digit}"' for digit in "0123456789abcdef"),
    *(f"metadata.tags : {text}" for text in ("SS", "s", "Σ", "Ϊ́", "ΐ", "J", "ǰ")),
    *(f"metadata.code : {text}" for text in ("N", "ʼ", "I", "ı")),
    "metadata.title >= say",
    f'metadata.title = "{"long " * 300}end"',
    f'metadata.title > "{"a" * 100}" AND metadata.title < "{"z" * 100}"',
    "metadata.tags = b",
    "metadata.tags != b",
    "metadata.tags : B",
    "metadata.tags : attack",
    "metadata.tags:*",
    "metadata.sizes = 2",
    "metadata.sizes != 2",
    "metadata.sizes > 2",
    "metadata.sizes < 2 OR metadata.sizes > 2",
    "metadata.days > 2021-01-01 AND metadata.days < 2021-01-01",
    "metadata.nested.inner = Z",
    "metadata.nested.depth >= 2",
    "metadata.nested:*",
    'metadata."publication year" < 2000',
    'metadata."a=b" = c',
    "metadata.zip = 1234",
    "metadata.zip = 01234",
    "metadata.zip < 1",
    "metadata.größe >= 1.75",
    "metadata.unknown = 1",
    "NOT metadata.unknown = 1",
    "metadata.unknown:*",
    "metadata.year = 2021 AND metadata.score = 4 OR metadata.score = 1e300",
    "(metadata.year = 2021 AND metadata.score = 4) OR metadata.tags = a",
    "NOT (metadata.year > 2000 OR metadata.flag:*)",
    "NOT (metadata.year:* AND -metadata.tags:*) AND (metadata.title:* OR metadata.code = 4)",
]
_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def matching_rows(text: str) -> list[int]:
    """The places of the documents that match."""
    condition = parse_filter(text, METADATA_FIELDS)
    return [
        row
        for row, metadata in enumerate(DOCUMENTS)
        if evaluate(condition, lambda leaf, metadata=metadata: _matches(leaf, metadata), TRUTH)
    ]


def _matches(leaf: Leaf, metadata: Mapping[str, Any]) -> bool:
    key = leaf.field.removeprefix(METADATA)
    values = [value for name, value in _values("", metadata) if name == key]
    if isinstance(leaf, Presence):
        return bool(values)
    type_ = TYPES.get(key, "STRING")
    if leaf.op == ":" and type_ == "STRING":
        return any(leaf.value.casefold() in _beginning(_text(value)).casefold() for value in values)
    literal = _typed(leaf.value, type_)
    if leaf.op == "!=":
        return bool(values) and (literal is None or literal not in [_typed(value, type_) for value in values])
    compare = _COMPARISONS["=" if leaf.op == ":" else leaf.op]
    return literal is not None and any(
        compare(typed, literal) for value in values if (typed := _typed(value, type_)) is not None
    )


def _values(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, member in value.items():
            yield from _values(f"{prefix}.{name}" if prefix else name, member)
    elif isinstance(value, list):
        for member in value:
            yield from _values(prefix, member)
    elif value is not None:
        yield prefix, value


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _beginning(text: str) -> str:
    """What counts of a text that is looked into."""
    return text.encode()[:MAX_TEXT_BYTES].decode(errors="ignore")


def _typed(value: Any, type_: str) -> Any:
    """A value to compare by; None where it is not of the type."""
    match type_:
        case "INTEGER" | "NUMBER":
            try:
                return Decimal(str(value))
            except ArithmeticError:
                return None
        case "DATE":
            return _instant(str(value))
        case _:
            return _text(value)


def _instant(text: str) -> datetime | None:
    day = {4: f"{text}-01-01", 7: f"{text}-01"}.get(len(text), text)
    try:
        moment = datetime.fromisoformat(day)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
