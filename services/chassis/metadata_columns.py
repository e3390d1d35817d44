"""Documents' metadata as the columns of a table: one for each key, of the type that its values have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from functools import partial
from typing import Any, cast

from services.chassis.errors import InvalidArgument
from services.chassis.metadata_schema import Types
from services.chassis.metadata_terms import (
    MAX_INTEGER,
    MIN_INTEGER,
    Type,
    date_form,
    is_large_integer,
    number_form,
    text_form,
)
from services.chassis.table_files import Column, Format, ValueType, json_text

MAX_COLUMNS = 1000
"""Of metadata in a table with a column for each key."""
_MAX_SIGNED = (1 << 63) - 1
_PLAIN_DATE_CHARACTERS = 10
_MICROSECOND_DIGITS = 6
_PREFIX = "metadata."
"""Before a key that is also the name of another column."""
_Values = Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class MetadataColumn:
    """A column that holds values of metadata."""

    column: Column
    value_of: Callable[[_Values], object]
    """What the column holds of a row, as `row_of` returns it. Raises ValueError."""

    def cells(self, rows: Sequence[_Values]) -> list[object]:
        """The column's cells. rows: as `row_of` returns them."""
        return [self.value_of(row) for row in rows]


class MetadataColumns:
    """Finds the columns of a table from all metadata, a document at a time.

    JSON lines have the metadata as they are; the other formats a column for each nested key.
    """

    def __init__(self, format: Format, types: Types, keys: Sequence[str] = (), *, advice: str = "") -> None:
        """types: of the fields. keys: if there are any, only these, with all that is nested in them.

        advice: what to do about too many keys, besides another format.
        """
        self._format = format
        self._types = types
        self._keys = frozenset(keys)
        self._missing_keys = set(keys)
        self._advice = advice
        self._observations: dict[str, _Observation] = {}
        self._is_empty = True

    @property
    def missing_keys(self) -> list[str]:
        """Of the keys that were named, those that no document had."""
        return sorted(self._missing_keys)

    def observe(self, metadata: _Values) -> None:
        """Takes a document's metadata into account. Raises InvalidArgument for more than MAX_COLUMNS columns."""
        row = self._selected(metadata) if self._format is Format.JSON_LINES else self.row_of(metadata)
        self._is_empty = self._is_empty and not row
        if self._missing_keys:
            for key, _value in _flattened(row):
                self._missing_keys.difference_update(_beginnings(key))
        if self._format is not Format.JSON_LINES:
            for key, value in row.items():
                self._observation(key).take(value)

    def row_of(self, metadata: _Values) -> _Values:
        """The values that columns hold, by key."""
        selected = self._selected(metadata)
        if self._format is Format.JSON_LINES:
            return {key: restored(key, value, self._types) for key, value in selected.items() if value is not None}
        row: dict[str, object] = {}
        for key, value in _flattened(selected):
            row[key] = [*_members(row[key]), *_members(value)] if key in row else value
        return row

    def columns(self, is_taken: Callable[[str], bool]) -> list[MetadataColumn]:
        """The columns in the order of their keys, each with a name of its own, whatever the case.

        JSON lines have one for all keys. is_taken: whether a folded key is the name of a column beside these.
        """
        if self._format is Format.JSON_LINES:
            return [] if self._is_empty else [_members_column(is_taken)]
        names = _column_names(sorted(self._observations), is_taken)
        return [self._column(key, name) for key, name in names.items()]

    def _observation(self, key: str) -> _Observation:
        """Raises InvalidArgument for one too many."""
        observation = self._observations.get(key)
        if observation is None:
            if len(self._observations) == MAX_COLUMNS:
                raise InvalidArgument.field(
                    "format",
                    f"the documents' metadata have more than {MAX_COLUMNS:,} keys, and this format needs a column for "
                    f"each: {self._advice}export JSON lines, which have no such limit",
                )
            observation = self._observations[key] = _Observation(self._types.get(key))
        return observation

    def _column(self, key: str, name: str) -> MetadataColumn:
        observation = self._observations[key]
        type_ = observation.type
        if type_ in _MOMENTS and self._format is Format.CSV:
            type_ = ValueType.TEXT  # as they were imported
        if type_ is ValueType.TEXT and observation.are_numbers and self._format is Format.CSV:
            type_ = ValueType.JSON  # whose digits no guard against formulas changes
        is_list = observation.is_list and type_ is not ValueType.JSON
        convert = partial(restored, key, types=self._types) if type_ is ValueType.JSON else _CONVERSIONS[type_]

        def value_of(row: _Values) -> object:
            value = row.get(key)
            if value is None:
                return None
            if not is_list:
                return convert(value)
            return [None if member is None else convert(member) for member in _members(value)]

        return MetadataColumn(column=Column(name=name, type=type_, is_list=is_list), value_of=value_of)

    def _selected(self, values: _Values, prefix: str = "") -> _Values:
        """Of nested values those whose keys, joined, are selected or within a selected one."""
        if not self._keys:
            return values
        result: dict[str, object] = {}
        for name, value in values.items():
            key = f"{prefix}{name}"
            if not self._keys.isdisjoint(_beginnings(key)):
                result[name] = value
            elif isinstance(value, dict) and (members := self._selected(cast("_Values", value), f"{key}.")):
                result[name] = members
        return result


@dataclass
class _Observation:
    """What the values of a key are. declared: the type of the field; None where it has none."""

    declared: Type | None
    is_list: bool = False
    _is_nested: bool = False
    """Whether lists hold lists or objects."""
    _types: set[ValueType] = field(default_factory=set[ValueType])
    _smallest: int = 0
    _largest: int = 0
    _has_inexact: bool = False
    """Whether a whole number is none that a double represents."""

    def take(self, value: object) -> None:
        """Takes a further value into account."""
        if isinstance(value, list):
            self.is_list = True
        for member in _members(value):
            if isinstance(member, list | dict):
                self._is_nested = True
            elif member is not None:
                self._types.add(self._type_of(member))

    @property
    def type(self) -> ValueType:
        """The type of a column that can hold all values."""
        if self._is_nested:
            return ValueType.JSON
        if self._types == {ValueType.INTEGER}:
            if self._largest <= _MAX_SIGNED:
                return ValueType.INTEGER
            return ValueType.UNSIGNED if self._smallest >= 0 else ValueType.DECIMAL
        if len(self._types) == 1:
            return next(iter(self._types))
        if self.are_numbers:
            return ValueType.TEXT if self._has_inexact else ValueType.NUMBER
        if self._types and self._types <= _MOMENTS:
            return ValueType.INSTANT if ValueType.INSTANT in self._types else ValueType.TIME
        return ValueType.TEXT

    @property
    def are_numbers(self) -> bool:
        """Whether the values are whole numbers and others."""
        return self._types == {ValueType.INTEGER, ValueType.NUMBER}

    def _type_of(self, value: object) -> ValueType:
        """The type of a plain value."""
        if self.declared is Type.STRING:
            return ValueType.TEXT
        if isinstance(value, bool):
            return ValueType.BOOLEAN
        if (number := _integer(value, self.declared)) is not None:
            self._smallest, self._largest = min(self._smallest, number), max(self._largest, number)
            self._has_inexact |= int(float(number)) != number
            return ValueType.INTEGER
        if isinstance(value, float) or (self.declared is Type.NUMBER and number_form(value) is not None):
            return ValueType.NUMBER
        if self.declared is Type.DATE and isinstance(value, str):
            return _moment_type(value)
        is_boolean = self.declared is Type.BOOLEAN and value in ("true", "false")
        return ValueType.BOOLEAN if is_boolean else ValueType.TEXT


def restored(key: str, value: object, types: Types) -> object:
    """A value whose integers beyond 2^53, which travel as text, are integers again."""
    if isinstance(value, dict):
        members = cast("dict[str, object]", value)
        return {name: restored(f"{key}.{name}", member, types) for name, member in members.items()}
    if isinstance(value, list):
        return [restored(key, member, types) for member in cast("list[object]", value)]
    number = _integer(value, types.get(key)) if isinstance(value, str) else None
    return value if number is None else number


def _members_column(is_taken: Callable[[str], bool]) -> MetadataColumn:
    """The column of JSON lines with all keys as they are; with a prefix where another column has that name."""

    def value_of(row: _Values) -> object:
        return {f"{_PREFIX}{key}" if is_taken(key.casefold()) else key: row[key] for key in sorted(row)}

    return MetadataColumn(column=Column(name="metadata", type=ValueType.MEMBERS), value_of=value_of)


def _column_names(keys: Sequence[str], is_taken: Callable[[str], bool]) -> dict[str, str]:
    """The names of keys' columns by key: the key, with a prefix and a number where another column is called so."""
    names: dict[str, str] = {}
    folded_names: set[str] = set()
    for key in keys:
        name = f"{_PREFIX}{key}" if is_taken(key.casefold()) or key.casefold() in folded_names else key
        base, number = name, 1
        while name.casefold() in folded_names:
            number += 1
            name = f"{base} #{number}"
        folded_names.add(name.casefold())
        names[key] = name
    return names


def is_reserved(folded_key: str) -> bool:
    """Whether a key could be mistaken for one with the prefix of keys that are also the names of other columns."""
    return folded_key.startswith(_PREFIX)


def _beginnings(key: str) -> Iterator[str]:
    """A key and those that it is nested in: a.b.c, a, a.b."""
    yield key
    place = key.find(".")
    while place >= 0:
        yield key[:place]
        place = key.find(".", place + 1)


def _flattened(metadata: _Values, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Keys and values that are no objects; a value of None is none."""
    for key, value in metadata.items():
        if isinstance(value, dict):
            yield from _flattened(cast("_Values", value), f"{prefix}{key}.")
        elif value is not None:
            yield f"{prefix}{key}", value


def _members(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else [value]


def _integer(value: object, declared: Type | None) -> int | None:
    """A whole number of 64 bits, also one that travels as text."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if declared is Type.NUMBER and isinstance(value, str) and is_large_integer(value):
        return int(value)
    if declared is not Type.INTEGER or not isinstance(value, str):
        return None
    digits = value.removeprefix("-")
    if not digits.isascii() or not digits.isdecimal() or len(digits) > 20:
        return None
    return number if MIN_INTEGER <= (number := int(value)) <= MAX_INTEGER else None


def _moment_type(text: str) -> ValueType:
    """The type of a date or time; TEXT for one that is finer than a column holds."""
    form = date_form(text)
    if form is None or len(form.partition(".")[2]) > _MICROSECOND_DIGITS:
        return ValueType.TEXT
    if len(text) <= _PLAIN_DATE_CHARACTERS:
        return ValueType.DATE
    return ValueType.TIME if datetime.fromisoformat(text.upper()).tzinfo is None else ValueType.INSTANT


def _moment(value: object) -> datetime:
    """Raises ValueError."""
    if not isinstance(value, str) or date_form(value) is None:
        raise ValueError(f"expected a date, got {str(value)[:100]!r}")
    if len(value) <= _PLAIN_DATE_CHARACTERS:
        return datetime.combine(_day(value), time())
    return datetime.fromisoformat(value.upper())


def _day(value: object) -> date:
    """Of a month its first. Raises ValueError."""
    text = str(value)
    return date.fromisoformat(text if len(text) == _PLAIN_DATE_CHARACTERS else f"{text}-01")


def _instant(value: object) -> datetime:
    moment = _moment(value)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _whole(value: object) -> int:
    number = _integer(value, Type.INTEGER)
    if number is None:
        raise ValueError(f"expected a whole number, got {str(value)[:100]!r}")
    return number


def _flag(value: object) -> bool:
    if isinstance(value, bool) or value in ("true", "false"):
        return value in (True, "true")
    raise ValueError(f"expected true or false, got {str(value)[:100]!r}")


def _number(value: object) -> float:
    if not isinstance(value, str | int | float):
        raise ValueError(f"expected a number, got {str(value)[:100]!r}")
    return float(value)


def _text(value: object) -> str:
    if isinstance(value, list | dict):
        return json_text(value)
    return value if isinstance(value, str) else text_form(value)


_MOMENTS = frozenset({ValueType.DATE, ValueType.TIME, ValueType.INSTANT})
_CONVERSIONS: Mapping[ValueType, Callable[[Any], object]] = {
    ValueType.TEXT: _text,
    ValueType.BOOLEAN: _flag,
    ValueType.INTEGER: _whole,
    ValueType.UNSIGNED: _whole,
    ValueType.DECIMAL: _whole,
    ValueType.NUMBER: _number,
    ValueType.DATE: _day,
    ValueType.TIME: _moment,
    ValueType.INSTANT: _instant,
}
