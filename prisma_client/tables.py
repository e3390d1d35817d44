"""Tables of what the client returns: messages as rows, for pandas, polars and notebooks.

A column is a field of the message, by its name in the proto; a field of a message inside of it is `outer.inner`, and a
key of metadata `metadata.key`. Enums are words in lower case, times are `datetime` in UTC, and what is absent is None.
Repeated messages are left out, but for those that docs/reference/python.md names.
"""

from __future__ import annotations

import datetime
import html
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, SupportsIndex, TypeVar, overload

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from prisma_client.libraries import library
from prisma_common.structs import plain_struct

M = TypeVar("M", bound=Message)
T = TypeVar("T")
Row = dict[str, Any]
_SHOWN_ROWS, _SHOWN_COLUMNS, _SHOWN_CHARACTERS = 20, 10, 160
"""What a notebook shows of a table at most."""
_INT64 = 1 << 63
"""Whole numbers of a column of polars are below."""
_TIME, _STRUCT = "google.protobuf.Timestamp", "google.protobuf.Struct"
_DOCUMENTS = {"prisma.embedder.v1.Document", "prisma.interpreter.v1.Example"}
"""Messages whose key is the id of a document: the column `id`, as in exports, by which tables are joined."""
_CELL = "padding:.15em .7em .15em 0;border-bottom:1px solid rgba(128,128,128,.35);text-align:left;vertical-align:top"
"""No colours of text or background: those of the notebook are readable in its light and in its dark theme."""


def table_of(items: Iterable[Any], kind: type[Message]) -> dict[str, list[Any]]:
    """The columns of messages of one type, or of objects with a `message`, each as long as there are items."""
    rows = [row_of(getattr(item, "message", item)) for item in items]
    names = dict.fromkeys([*_static_names(kind.DESCRIPTOR), *(name for row in rows for name in row)])
    return {name: [row.get(name) for row in rows] for name in names}


def row_of(message: Message) -> Row:
    """A message as cells by column; columns of what is absent may be left out."""
    columns = _COLUMNS.get(message.DESCRIPTOR.full_name)
    if columns is None:
        cells = dict(_cells(message))
        return {"id": cells["key"], **cells} if message.DESCRIPTOR.full_name in _DOCUMENTS else cells
    row = {name: column(message) if callable(column) else _at(message, column) for name, column in columns.items()}
    return {**row, **_metadata(message)}


def to_pandas(columns: Mapping[str, Sequence[Any]]) -> Any:
    """A pandas.DataFrame. Raises MissingLibrary."""
    return library("pandas", "to_pandas()").DataFrame(columns)


def to_polars(columns: Mapping[str, Sequence[Any]]) -> Any:
    """A polars.DataFrame; a column of values of several types becomes one of text. Raises MissingLibrary."""
    polars = library("polars", "to_polars()")
    return polars.DataFrame({name: _of_one_type(values) for name, values in columns.items()}, strict=False)


def html_table(columns: Mapping[str, Sequence[Any]], caption: str = "") -> str:
    """The first rows and columns, as HTML."""
    names = list(columns)[:_SHOWN_COLUMNS]
    count = len(next(iter(columns.values()), ()))
    head = "".join(f"<th style='{_CELL}'>{html.escape(name)}</th>" for name in names)
    rows = [
        "".join(f"<td style='{_CELL}'>{_html_cell(columns[name][row])}</td>" for name in names)
        for row in range(min(count, _SHOWN_ROWS))
    ]
    more = f"{count:,} rows, of which {_SHOWN_ROWS} are shown" if count > _SHOWN_ROWS else ""
    if len(columns) > len(names):
        more += f"{'; ' if more else ''}{len(columns) - len(names)} more columns in to_pandas() and to_polars()"
    return (
        f"<table style='border-collapse:collapse'>{_html_caption(caption)}<thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(f'<tr>{row}</tr>' for row in rows)}</tbody></table>{_html_note(more)}"
    )


def html_facts(title: str, facts: Mapping[str, object]) -> str:
    """Names and values below a title, as HTML; values that are empty are left out."""
    rows = "".join(
        f"<tr><th style='{_CELL}'>{html.escape(name)}</th><td style='{_CELL}'>{_html_cell(value)}</td></tr>"
        for name, value in facts.items()
        if value not in (None, "")
    )
    return f"<table style='border-collapse:collapse'>{_html_caption(title)}<tbody>{rows}</tbody></table>"


class Rows(list[T], Generic[T]):
    """A list that is also a table: `to_pandas()`, `to_polars()`, and HTML in a notebook."""

    def __init__(self, items: Iterable[T], kind: type[Message], notices: Iterable[str] = ()) -> None:
        super().__init__(items)
        self.notices = list(notices)
        """What the server says of the filter."""
        self._kind = kind

    def to_pandas(self) -> Any:
        """Returns a pandas.DataFrame with a row for each item. Raises MissingLibrary."""
        return to_pandas(table_of(self, self._kind))

    def to_polars(self) -> Any:
        """Returns a polars.DataFrame with a row for each item. Raises MissingLibrary."""
        return to_polars(table_of(self, self._kind))

    def _repr_html_(self) -> str:
        return html_table(table_of(self, self._kind)) + "".join(map(_html_note, self.notices))


class Answer(Generic[M]):
    """An answer of the server, with its attributes, that is also a sequence and a table of its main field.

    message: the answer itself. `answer.hits`, `answer.notices` … are the message's; `answer[0]`, `len(answer)` and
    `for hit in answer` are of its main field, as are `to_pandas()` and `to_polars()`.
    """

    def __init__(self, message: M, field: str) -> None:
        self.message = message
        self._field = field

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "message":  # a copy has no message before it has its attributes
            raise AttributeError(name)
        return getattr(self.message, name)

    def __repr__(self) -> str:
        return repr(self.message)

    def __str__(self) -> str:
        return str(self.message)

    def __eq__(self, other: object) -> bool:
        return self.message == (other.message if isinstance(other, Answer) else other)

    def __len__(self) -> int:
        return len(self._items)

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)

    @overload
    def __getitem__(self, place: SupportsIndex) -> Any: ...
    @overload
    def __getitem__(self, place: slice) -> list[Any]: ...
    def __getitem__(self, place: Any) -> Any:
        return self._items[place]

    def to_pandas(self) -> Any:
        """Returns a pandas.DataFrame with a row for each item. Raises MissingLibrary."""
        return to_pandas(self._table())

    def to_polars(self) -> Any:
        """Returns a polars.DataFrame with a row for each item. Raises MissingLibrary."""
        return to_polars(self._table())

    def _repr_html_(self) -> str:
        facts = {name: value for name, value in _cells(self.message) if isinstance(value, int | float | str)}
        notices = list(getattr(self.message, "notices", ()))
        caption = ", ".join(f"{name} {_plain(value)}" for name, value in facts.items() if value not in ("", False))
        return html_table(self._table(), caption) + "".join(map(_html_note, notices))

    @property
    def _items(self) -> Sequence[Message]:
        return getattr(self.message, self._field)

    def _table(self) -> dict[str, list[Any]]:
        kind: Any = self.message.DESCRIPTOR.fields_by_name[self._field].message_type
        return table_of(self._items, GetMessageClass(kind))


def _static_names(kind: Any, depth: int = 0) -> Iterator[str]:
    """The columns that each message of a type has."""
    if depth == 0 and kind.full_name in _COLUMNS:
        yield from _COLUMNS[kind.full_name]
        return
    if depth == 0 and kind.full_name in _DOCUMENTS:
        yield "id"
    for field in kind.fields:
        inner = field.message_type
        if _is_left_out(field) or (inner is not None and inner.full_name == _STRUCT):
            continue
        if inner is None or inner.full_name == _TIME:
            yield field.name
        else:
            yield from (f"{field.name}.{name}" for name in _static_names(inner, depth + 1))


def _cells(message: Message) -> Iterator[tuple[str, Any]]:
    for field in message.DESCRIPTOR.fields:
        if _is_left_out(field):
            continue
        if field.message_type is None or field.message_type.full_name == _TIME:
            yield field.name, _value(message, field)
        elif message.HasField(field.name):
            inner = getattr(message, field.name)
            cells = plain_struct(inner).items() if field.message_type.full_name == _STRUCT else _cells(inner)
            yield from ((f"{field.name}.{name}", cell) for name, cell in cells)


def _is_left_out(field: Any) -> bool:
    """Whether a field is no column: bytes, and repeated messages."""
    return field.type == field.TYPE_BYTES or (field.is_repeated and field.message_type is not None)


def _value(message: Message, field: Any) -> Any:
    """A field's value; None where it is absent."""
    value = getattr(message, field.name)
    if field.is_repeated:
        return [_word(field, item) for item in value]
    if field.has_presence and not message.HasField(field.name):
        return None
    if field.message_type is not None and field.message_type.full_name == _TIME:
        return value.ToDatetime(tzinfo=datetime.UTC)
    return _word(field, value)


def _word(field: Any, value: Any) -> Any:
    """The value of a scalar; that of an enum as a word."""
    if field.enum_type is None:
        return value
    prefix = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", field.enum_type.name).upper() + "_"
    number = field.enum_type.values_by_number.get(value)
    word = str(value) if number is None else number.name.removeprefix(prefix).lower()
    return None if word == "unspecified" else word


def _at(message: Message, path: str) -> Any:
    """The value at a dotted path; None where something on it is absent."""
    *outer, last = path.split(".")
    for name in outer:
        if not message.HasField(name):
            return None
        message = getattr(message, name)
    return _value(message, message.DESCRIPTOR.fields_by_name[last])


def _metadata(message: Message) -> Row:
    if "metadata" not in message.DESCRIPTOR.fields_by_name:
        return {}
    metadata: Any = getattr(message, "metadata")  # noqa: B009 - not all messages have it
    return {f"metadata.{key}": value for key, value in plain_struct(metadata).items()}


def _is_unnamed(feature: Any) -> bool:
    """Whether the answer is that a feature cannot be named."""
    return feature.HasField("label") and not feature.label.text


def _part(name: str) -> Callable[[Any], float | None]:
    """The column of what a part adds to a hit's score."""
    return lambda hit: next((part.contribution for part in hit.parts if part.part == name), None)


_COLUMNS: Mapping[str, Mapping[str, str | Callable[[Any], Any]]] = {
    "prisma.interpreter.v1.Feature": {
        "index": "index",
        "label": lambda feature: feature.label.text or None,
        "trust": "trust",
        "score": "label.score",
        "density": "density",
        "active_count": "active_count",
        "max_activation": "max_activation",
        "mean_activation": "mean_activation",
        "stability": "stability",
        "threshold": "threshold",
        "score_low": "label.score_low",
        "score_high": "label.score_high",
        "precise_count": "precise_count",
        "precise_density": "precise_density",
        "variance": "variance",
        "dense": "dense",
        "dead": "dead",
        "description": lambda feature: feature.label.description or None,
        "label_source": "label.source",
        "label_model": lambda feature: feature.label.model or None,
        "unnamed_reason": lambda feature: (feature.label.description or None) if _is_unnamed(feature) else None,
        "families": lambda feature: [family.display_name for family in feature.families],
        "missed_conditions": lambda feature: [missed.explanation for missed in feature.missed_conditions],
        "name": "name",
    },
    "prisma.search.v1.DocumentHit": {
        "rank": "rank",
        "id": "key",
        "score": "score",
        "key": "key",
        "snippet": "snippet",
        "features": lambda hit: [feature.label for feature in hit.shared_features if feature.label],
        "score.text": _part("text"),
        "score.dense": _part("dense"),
        "score.sparse": _part("sparse"),
        "score.steering": _part("steering"),
        "unsteered_rank": "unsteered_rank",
        "row": "row",
        "document": "document",
        "passage.document": "passage.document",
        "passage.index": "passage.index",
        "passage.count": "passage.count",
        "passage.start": "passage.start",
        "passage.end": "passage.end",
    },
}
"""Columns of messages that have too many fields for a table, or whose repeated messages belong to it."""


def _of_one_type(values: Sequence[Any]) -> Sequence[Any]:
    """The values as they are if a column of polars can hold them without a change, else as text."""
    types = {type(value) for value in values if value is not None}
    if types == {int, float}:
        return [value if value is None else float(value) for value in values]
    if len(types) <= 1 and all(-_INT64 <= value < _INT64 for value in values if type(value) is int):
        return values
    return [value if value is None or isinstance(value, str) else str(value) for value in values]


def _plain(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, datetime.datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _html_cell(value: object) -> str:
    text = "" if value is None else _plain(value)
    return html.escape(text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…")


def _html_caption(text: str) -> str:
    return f"<caption style='text-align:left;font-weight:600'>{html.escape(text)}</caption>" if text else ""


def _html_note(text: str) -> str:
    return f"<div style='opacity:.75'>{html.escape(text)}</div>" if text else ""
