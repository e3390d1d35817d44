"""Files of labels: tables of text (CSV, JSON lines, a JSON array) with a label in each row, as they are."""

from __future__ import annotations

import codecs
import csv
import io
import json
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import cast

from prisma_common.label_texts import MAX_DESCRIPTION, MAX_MODEL, MAX_TEXT, clean_line, clean_text
from services.chassis.table_files import with_formula
from services.interpreter.errors import FileTooLarge, InvalidFile
from services.interpreter.labels import KEYWORDS, Source

MAX_BYTES = 32 << 20
MAX_ROWS = 200_000
_MAX_ARRAY_BYTES = 8 << 20
"""Of a JSON array, whose elements cannot be bounded one by one."""
_MAX_LINE = 64 << 10
"""Characters of a line of JSON."""
_MAX_NAMES = 200
"""Characters of an error message that show the columns of a file."""
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_BINARY = {b"PAR1": "Parquet", b"ARROW1": "Arrow", b"PK": "a workbook or a zip archive", b"\x1f\x8b": "gzip"}
_DELIMITERS = ",;\t|"
_SEPARATOR = re.compile(r'"?sep=[,;|\t]"?\r?\n')
"""Excel's line above a table."""
_RUN = re.compile(r"(runs/[\w.~-]{1,128})/features/")
"""The beginning of the name of a feature or label."""
_NAMES: Mapping[str, Sequence[str]] = {
    "index": ("index", "latent", "feature"),
    "label": ("label", "text"),
    "description": ("description",),
    "source": ("source", "label_source"),
    "model": ("model", "label_model"),
    "author": ("author",),
    "active": ("active",),
    "weights": ("weights",),
    "name": ("name",),
}
"""What a column means, with the names that it may have, the likeliest first."""
_CSV = "csv"
"""Beside these: that a row is of a CSV table."""


class Reason(StrEnum):
    """Why a row cannot become a label."""

    INVALID_ROW = "INVALID_ROW"
    INVALID_INDEX = "INVALID_INDEX"
    INVALID_LABEL = "INVALID_LABEL"
    INVALID_DESCRIPTION = "INVALID_DESCRIPTION"
    INVALID_SOURCE = "INVALID_SOURCE"
    DUPLICATE_IN_FILE = "DUPLICATE_IN_FILE"
    DUPLICATE = "DUPLICATE"


class RowRejected(Exception):
    """A row cannot become a label. index: the feature's, as far as it could be read."""

    def __init__(self, reason: Reason, message: str, *, index: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.index = index


@dataclass(frozen=True, kw_only=True)
class LabelRow:
    """A label of a file."""

    index: int
    """The feature's."""
    text: str
    """Empty where the row has no label."""
    description: str
    source: Source
    model: str | None
    author: str | None
    is_active: bool
    """False for a label of a history."""
    weights: str | None
    """The beginning of the digest of the weights that it was made for; None where the file does not say it."""
    run: str | None
    """The run that it was exported from, `runs/{run}`; None where the file does not say it."""
    is_of_csv: bool
    """Whether its texts may have the apostrophes that an export as CSV puts before what is like a formula."""


def label_rows(data: bytes) -> Iterator[tuple[int, LabelRow | RowRejected]]:
    """The rows of a file, each with its place from 1. Raises InvalidFile, FileTooLarge; also after some rows."""
    for place, row in enumerate(_rows(_text(data)), 1):
        if place > MAX_ROWS:
            raise FileTooLarge(f"the file has more than {MAX_ROWS:,} rows", metadata={"limit": str(MAX_ROWS)})
        yield place, row if isinstance(row, RowRejected) else _label_row(row)


def _text(data: bytes) -> str:
    """The file as text, without a byte order mark. Raises InvalidFile."""
    for beginning, kind in _BINARY.items():
        if data.startswith(beginning):
            raise InvalidFile(f"expected a table of labels as CSV or JSON lines, got {kind}: save it as CSV")
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        if encoding != "utf-8" or b"\0" in data:
            raise InvalidFile(
                "expected a table of labels as CSV or JSON lines; the bytes of the file are no text"
            ) from None
    return data.decode("windows-1252", "replace")


def _rows(text: str) -> Iterator[Mapping[str, object] | RowRejected]:
    """The rows by column. Raises InvalidFile."""
    beginning = text[:1000].lstrip()
    if not text.strip():
        raise InvalidFile("expected a table of labels, got an empty file")
    if beginning.startswith("["):
        return _array_items(text)
    return _json_lines(text) if beginning.startswith("{") else _table_rows(text)


def _array_items(text: str) -> Iterator[Mapping[str, object] | RowRejected]:
    if len(text) > _MAX_ARRAY_BYTES:
        raise InvalidFile(f"a JSON array may have {_MAX_ARRAY_BYTES:,} characters, this one has more: use JSON lines")
    try:
        items: list[object] = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidFile(f"the JSON array is damaged: {str(error)[:_MAX_NAMES]}") from None
    for item in items:
        yield _object(item)


def _json_lines(text: str) -> Iterator[Mapping[str, object] | RowRejected]:
    for line in io.StringIO(text):
        if not line.strip():
            continue
        if len(line) > _MAX_LINE:
            yield RowRejected(Reason.INVALID_ROW, f"the line has more than {_MAX_LINE:,} characters")
            continue
        try:
            yield _object(json.loads(line))
        except (ValueError, RecursionError) as error:
            yield RowRejected(Reason.INVALID_ROW, f"the line is no JSON object: {str(error)[:_MAX_NAMES]}")


def _object(item: object) -> Mapping[str, object] | RowRejected:
    """An item by column. What the API returns of a feature has its label as an object."""
    if not isinstance(item, dict):
        return RowRejected(Reason.INVALID_ROW, f"expected an object with index and label, got {type(item).__name__}")
    values = _by_meaning(cast("dict[str, object]", item))
    label = values.get("label")
    if isinstance(label, dict):
        return {**_by_meaning(cast("dict[str, object]", label)), "index": values.get("index")}
    return values


def _table_rows(text: str) -> Iterator[Mapping[str, object] | RowRejected]:
    """The rows of a CSV table. Raises InvalidFile for one without the columns, or with a quote that is not closed."""
    separator = _SEPARATOR.match(text)
    text = text[separator.end() :] if separator else text
    head = text[:_MAX_LINE].split("\n", 1)[0]
    delimiter = next((delimiter for delimiter in _DELIMITERS if _has_columns(head, delimiter)), None)
    if delimiter is None:
        raise InvalidFile(
            "expected a table with the columns index and label (and description, if there is one); its first line is "
            f"{head.strip()[:_MAX_NAMES]!r}"
        )
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        columns = _columns(next(rows))
        places = {meaning: columns.index(name) for meaning, name in _field_names(columns).items()}
        for row in rows:
            if len(row) == len(columns):
                yield {_CSV: True, **{meaning: row[place] for meaning, place in places.items() if row[place]}}
            elif row:
                yield RowRejected(Reason.INVALID_ROW, f"expected {len(columns)} cells, got {len(row)}")
    except csv.Error as error:
        raise InvalidFile(f"line {rows.line_num:,} is no CSV: {error}") from None


def _has_columns(line: str, delimiter: str) -> bool:
    """Whether the first line of a table names a column of indices and one of labels."""
    try:
        names = set(_columns(next(csv.reader([line], delimiter=delimiter), [])))
    except csv.Error:
        return False
    return all(not names.isdisjoint(_NAMES[meaning]) for meaning in ("index", "label"))


def _columns(names: Sequence[str]) -> list[str]:
    return [name.strip().lower() for name in names]


def _by_meaning(values: Mapping[str, object]) -> dict[str, object]:
    """The values that say something of a label, by what they mean; without missing ones."""
    fields = {name.strip().lower(): value for name, value in values.items()}
    names = _field_names(fields)
    return {meaning: fields[name] for meaning, name in names.items() if not _is_missing(fields[name])}


def _field_names(fields: Collection[str]) -> dict[str, str]:
    """Of each meaning the field that holds it, in all rows the same, also where its value is missing."""
    return {
        meaning: next(name for name in names if name in fields)
        for meaning, names in _NAMES.items()
        if not set(names).isdisjoint(fields)
    }


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _label_row(values: Mapping[str, object]) -> LabelRow | RowRejected:
    try:
        return _checked_row(values)
    except RowRejected as rejection:
        return rejection


def _checked_row(values: Mapping[str, object]) -> LabelRow:
    """Raises RowRejected."""
    index = _index(values.get("index"))
    text = clean_line(_string(values, "label", index, Reason.INVALID_LABEL))
    description = clean_text(_string(values, "description", index, Reason.INVALID_DESCRIPTION))
    model = clean_line(_string(values, "model", index, Reason.INVALID_SOURCE))
    author = clean_line(_string(values, "author", index, Reason.INVALID_SOURCE))
    for name, value, limit, reason in (
        ("label", text, MAX_TEXT, Reason.INVALID_LABEL),
        ("description", description, MAX_DESCRIPTION, Reason.INVALID_DESCRIPTION),
        ("model", model, MAX_MODEL, Reason.INVALID_SOURCE),
        ("author", author, MAX_MODEL, Reason.INVALID_SOURCE),
    ):
        if len(with_formula(value)) > limit:
            message = f"{name}: expected at most {limit:,} characters, got {len(value):,}"
            raise RowRejected(reason, message, index=str(index))
    return LabelRow(
        index=index,
        text=text,
        description=description,
        source=_source(_string(values, "source", index, Reason.INVALID_SOURCE), model, index),
        model=model or None,
        author=author or None,
        is_active=str(values.get("active", True)).strip().lower() not in ("false", "0", "no"),
        weights=str(values["weights"]).strip().lower() if values.get("weights") else None,
        run=match[1] if (match := _RUN.match(str(values.get("name", "")))) else None,
        is_of_csv=_CSV in values,
    )


def _index(value: object) -> int:
    """A whole number, also as text or as a float, which pandas makes of it. Raises RowRejected."""
    text = str(value).strip() if value is not None else ""
    text = re.sub(r"\.0+$", "", text)
    if isinstance(value, bool) or not (text.isascii() and text.isdecimal()) or len(text) > 9:
        sample = repr(text[:50]) if text else "nothing"
        raise RowRejected(Reason.INVALID_INDEX, f"index: expected a whole number from 0, got {sample}", index=text[:50])
    return int(text)


def _string(values: Mapping[str, object], name: str, index: int, reason: Reason) -> str:
    """A text; that of a number, as labels such as 1984 are numbers in JSON. Raises RowRejected."""
    value = values.get(name, "")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise RowRejected(reason, f"{name}: expected text, got {type(value).__name__}", index=str(index))
    return str(value)


def _source(source: str, model: str, index: int) -> Source:
    """Who wrote a label; where the row does not say it, a model if one is named, else a person. Raises RowRejected."""
    word = source.strip().upper().removeprefix("SOURCE_")
    if not word:
        return Source.KEYWORDS if model == KEYWORDS else Source.MODEL if model else Source.HUMAN
    if word not in tuple(Source):
        kinds = ", ".join(kind.lower() for kind in Source)
        raise RowRejected(
            Reason.INVALID_SOURCE, f"source: expected one of {kinds}, got {source[:50]!r}", index=str(index)
        )
    if bool(model) == (word == Source.HUMAN):
        message = (
            f"a person's label has no model, got model {model!r}" if model else f"source {source}: expected its model"
        )
        raise RowRejected(Reason.INVALID_SOURCE, message, index=str(index))
    return Source(word)
