"""Tables as files, written batch by batch: CSV, JSON lines, and through `columnar_files` Parquet and Arrow."""

from __future__ import annotations

import csv
import importlib
import io
import json
import math
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from services.chassis.errors import InvalidArgument
from services.chassis.threads import in_thread

PART_BYTES = 1 << 20
"""Of a part of a file, at most."""
_BYTE_ORDER_MARK = "\ufeff"

Cells = Sequence[Any] | NDArray[np.float32]
"""The cells of a column: values as ValueType says, None where there is none."""
Batch = Sequence[Cells]
"""Rows: the cells of each column, all equally many."""


class Format(StrEnum):
    """Of a table's file."""

    CSV = "CSV"
    """RFC 4180 in UTF-8, with a header line."""
    JSON_LINES = "JSON_LINES"
    """An object for each row, without the cells that have no value."""
    PARQUET = "PARQUET"
    ARROW = "ARROW"
    """An Arrow file, also called Feather 2."""

    @property
    def content_type(self) -> str:
        """The media type."""
        return _CONTENT_TYPES[self]


_CONTENT_TYPES = {
    Format.CSV: "text/csv; charset=utf-8",
    Format.JSON_LINES: "application/jsonl",
    Format.PARQUET: "application/vnd.apache.parquet",
    Format.ARROW: "application/vnd.apache.arrow.file",
}


class ValueType(StrEnum):
    """What the cells of a column hold."""

    TEXT = "TEXT"
    """str."""
    BOOLEAN = "BOOLEAN"
    """bool."""
    INTEGER = "INTEGER"
    """int of 64 bits."""
    UNSIGNED = "UNSIGNED"
    """int of 64 bits without a sign."""
    DECIMAL = "DECIMAL"
    """int of 20 digits: for columns with both of the above."""
    NUMBER = "NUMBER"
    """float."""
    FLOAT32 = "FLOAT32"
    """The numbers of an array of float32; none is missing."""
    DATE = "DATE"
    """datetime.date."""
    TIME = "TIME"
    """datetime.datetime without a zone."""
    INSTANT = "INSTANT"
    """datetime.datetime in UTC."""
    JSON = "JSON"
    """What JSON can hold: text where a format has no such values."""
    MEMBERS = "MEMBERS"
    """dict whose members stand beside the other cells of the row: in JSON lines only."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table."""

    name: str
    type: ValueType
    is_list: bool = False
    """Whether each cell is a list of such values."""
    attributes: Mapping[str, str] = field(default_factory=dict[str, str])
    """What Parquet and Arrow files say of the column besides."""


@dataclass(frozen=True, kw_only=True)
class FileOptions:
    """How a table is written. All but `format` are for some formats only."""

    format: Format
    byte_order_mark: bool = False
    """Whether a CSV file begins with one, which some spreadsheets need to read UTF-8."""
    keeps_formulas: bool = False
    """Whether texts of a CSV file stand as they are, also those that spreadsheets take for formulas."""
    attributes: Mapping[str, str] = field(default_factory=dict[str, str])
    """What a Parquet or Arrow file says of the table besides."""


class TableWriter(Protocol):
    """Writes one table. What it returns, joined, is the file; it holds a bounded number of rows."""

    def write(self, batch: Batch) -> bytes:
        """Takes rows; returns what of the file is complete. Raises ValueError for a value not of its column's type."""
        ...

    def finish(self) -> bytes:
        """The rest of the file."""
        ...


def open_writer(columns: Sequence[Column], options: FileOptions) -> TableWriter:
    """The writer of a table. Raises InvalidArgument where this installation cannot write the format."""
    match options.format:
        case Format.CSV:
            return _CsvWriter(columns, options)
        case Format.JSON_LINES:
            return _JsonWriter(columns)
        case _:
            try:
                columnar: Any = importlib.import_module("services.chassis.columnar_files")
            except ModuleNotFoundError as error:
                if error.name != "pyarrow":
                    raise
                raise InvalidArgument.field(
                    "format",
                    "Parquet and Arrow files need pyarrow on the server: pip install 'prisma-suite[tables]'; "
                    "CSV and JSON lines do not",
                ) from None
            return columnar.ColumnarWriter(columns, options)


async def write_table(writer: TableWriter, batches: AsyncIterator[Batch]) -> AsyncIterator[bytes]:
    """The file, in parts of at most PART_BYTES, of which there is at least one.

    Raises what the batches raise, and ValueError as the writer does: the file must not look complete then.
    """
    is_empty = True
    async for batch in batches:
        for part in _parts(await in_thread(writer.write, batch)):
            yield part
            is_empty = False
    for part in _parts(await in_thread(writer.finish)) or ([b""] if is_empty else []):
        yield part


def _parts(data: bytes) -> Sequence[bytes]:
    return [data[start : start + PART_BYTES] for start in range(0, len(data), PART_BYTES)]


class _CsvWriter:
    def __init__(self, columns: Sequence[Column], options: FileOptions) -> None:
        self._guard: Callable[[str], str] = str if options.keeps_formulas else without_formula
        self._columns = columns
        mark = _BYTE_ORDER_MARK if options.byte_order_mark else ""
        self._header = mark.encode() + csv_rows([[self._guard(column.name) for column in columns]])

    def write(self, batch: Batch) -> bytes:
        cells = [self._texts(column, values) for column, values in zip(self._columns, batch, strict=True)]
        return self._take_header() + csv_rows(zip(*cells, strict=True))

    def finish(self) -> bytes:
        return self._take_header()

    def _take_header(self) -> bytes:
        header, self._header = self._header, b""
        return header

    def _texts(self, column: Column, values: Cells) -> Sequence[str]:
        if isinstance(values, np.ndarray):
            return _float_texts(values)
        text_of = _csv_text(column)
        if column.type is ValueType.TEXT and not column.is_list:
            text_of = self._guard
        return ["" if value is None else text_of(value) for value in values]


class _JsonWriter:
    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = columns

    def write(self, batch: Batch) -> bytes:
        cells = [_json_cells(column, values) for column, values in zip(self._columns, batch, strict=True)]
        lines: list[str] = []
        for row in zip(*cells, strict=True):
            line: dict[str, object] = {}
            for column, value in zip(self._columns, row, strict=True):
                if column.type is ValueType.MEMBERS:
                    line.update(cast("dict[str, object]", value))
                elif value is not None:
                    line[column.name] = value
            lines.append(json.dumps(line, ensure_ascii=False, separators=(",", ":"), allow_nan=False) + "\n")
        return "".join(lines).encode()

    def finish(self) -> bytes:
        return b""


def without_formula(text: str) -> str:
    """A text that no spreadsheet takes for a formula (OWASP, CSV injection). `with_formula` is its inverse."""
    return f"'{text}" if is_like_formula(text.lstrip("'")) else text


def with_formula(cell: str) -> str:
    """The text of a cell that `without_formula` has written."""
    return cell[1:] if cell.startswith("'") and is_like_formula(cell.lstrip("'")) else cell


def is_like_formula(text: str) -> bool:
    """Whether a spreadsheet takes a text for a formula."""
    return text.startswith(("=", "+", "-", "@", "\t", "\r"))


def csv_rows(rows: Iterable[Sequence[object]]) -> bytes:
    """Rows as lines of CSV in UTF-8."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows(rows)
    return buffer.getvalue().encode()


def json_text(value: object) -> str:
    """A value as JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _csv_text(column: Column) -> Callable[[Any], str]:
    """How the values of a column are written: numbers as digits, dates and times in ISO 8601, lists as JSON."""
    if column.is_list or column.type is ValueType.JSON:
        one = _json_value(column)
        return lambda value: json_text([one(item) for item in value] if column.is_list else value)
    match column.type:
        case ValueType.BOOLEAN:
            return lambda value: "true" if value else "false"
        case ValueType.NUMBER:
            return lambda value: repr(float(value)) if math.isfinite(value) else ""
        case ValueType.DATE | ValueType.TIME | ValueType.INSTANT:
            return lambda value: value.isoformat()
        case _:
            return str


def _json_value(column: Column) -> Callable[[Any], object]:
    """How one value is written in JSON."""
    match column.type:
        case ValueType.DATE | ValueType.TIME | ValueType.INSTANT:
            return lambda value: value.isoformat()
        case _:
            return lambda value: value


def _json_cells(column: Column, values: Cells) -> Sequence[object]:
    """The cells of a column as JSON has them."""
    if isinstance(values, np.ndarray):
        return shortest_decimals(values)
    one = _json_value(column)
    if column.is_list:
        return [None if value is None else [one(item) for item in value] for value in values]
    return [None if value is None else one(value) for value in values]


def shortest_decimals(values: NDArray[np.float32]) -> list[float]:
    """The shortest decimals that read back as the same float32."""
    decimals = [0.0] * len(values)
    places = np.flatnonzero(values)
    for place, text in zip(places.tolist(), values[places].astype(str).tolist(), strict=True):
        decimals[place] = float(text)
    return decimals


def _float_texts(values: NDArray[np.float32]) -> list[str]:
    """The same as texts with a decimal point: who looks at the first rows alone must not take them for integers."""
    texts = ["0.0"] * len(values)
    places = np.flatnonzero(values)
    for place, text in zip(places.tolist(), values[places].astype(str).tolist(), strict=True):
        texts[place] = text
    return texts
