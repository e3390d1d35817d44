"""Tables of Apache Arrow, from Parquet and from Arrow files, as JSON objects row by row."""

from __future__ import annotations

import base64
import datetime
import decimal
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.compute as pc

from services.embedder.errors import InvalidFile
from services.embedder.files.formats import Format, Item, Layout
from services.embedder.metadata import MAX_INTEGER

BATCH_ROWS = 1000
_MIN_VECTOR = 16
"""Numbers from which on a list of floats is a vector rather than metadata."""
_PANDAS_INDEX = "__index_level_"


def native_file(file: IO[bytes]) -> pa.NativeFile:
    """A file as Arrow reads it, from its beginning."""
    file.seek(0)
    return pa.PythonFile(file, mode="r")  # pyright: ignore[reportArgumentType] - any binary file


class ColumnarReader:
    """A table whose record batches can be read several times."""

    def __init__(self, format: Format, schema: pa.Schema, batches: Callable[[], Iterator[pa.RecordBatch]]) -> None:
        self._batches = batches
        notes: list[str] = []
        self._columns: list[str] = []
        for field in schema:
            if field.name.startswith(_PANDAS_INDEX):
                notes.append("The index of the data frame is left out.")
            elif _is_vector(field.type):
                notes.append(f"The column {field.name[:60]!r} is left out, as it seems to hold vectors.")
            elif field.name in self._columns:
                notes.append(f"A second column called {field.name[:60]!r} is left out.")
            else:
                self._columns.append(field.name)
        self._as_text = _check(schema, self._columns, batches)
        notes.extend(
            f"The integers of {name[:60]!r} are imported as text, as some are beyond ±2^53." for name in self._as_text
        )
        self._layout = Layout(format, columns=self._columns, notes=notes)

    @property
    def layout(self) -> Layout:
        """How the table is read."""
        return self._layout

    def items(self, texts: Collection[str] = ()) -> Iterator[Item]:
        """The rows, as objects without the cells that are missing."""
        as_text = self._as_text | set(texts)
        place = 0
        for batch in self._batches():
            columns = [
                [_json_text(value) if name in as_text else _json_value(value) for value in _values(batch, name)]
                for name in self._columns
            ]
            for row in zip(*columns, strict=True) if columns else ():
                place += 1
                yield place, {name: value for name, value in zip(self._columns, row, strict=True) if value is not None}


def _values(batch: pa.RecordBatch, name: str) -> list[Any]:
    """A column's values as Python has them; a time in nanoseconds as text, as Python has none."""
    column = batch.column(batch.schema.get_field_index(name))
    if isinstance(column, pa.DictionaryArray):
        column = cast("pa.Array[Any]", column.dictionary_decode())
    kind = column.type
    if isinstance(kind, pa.TimestampType) and kind.unit == "ns":
        return _nanosecond_times(column, kind.tz)
    try:
        return column.to_pylist()
    except (ValueError, OverflowError):  # a time beyond Python's
        return column.cast(pa.string()).to_pylist()


def _nanosecond_times(column: pa.Array[Any], zone: str | None) -> list[Any]:
    """Times as Python has them, or as text where some are finer than Python's microseconds."""
    try:
        microseconds = pa.timestamp("us") if zone is None else pa.timestamp("us", zone)
        return column.cast(microseconds).to_pylist()
    except pa.ArrowInvalid:
        texts = column.cast(pa.string()).to_pylist()
        return [None if text is None else text.replace(" ", "T", 1) for text in texts]


def _check(schema: pa.Schema, columns: Collection[str], batches: Callable[[], Iterator[pa.RecordBatch]]) -> set[str]:
    """Reads a table to its end, and returns its columns of integers that no double holds.

    Raises InvalidFile for data that are inconsistent: reading them could read memory that is not theirs.
    """
    wide = {name for name in columns if schema.field(name).type in (pa.int64(), pa.uint64())}
    beyond: set[str] = set()
    for batch in batches():
        try:
            batch.validate(full=True)
        except pa.ArrowException as error:
            raise InvalidFile(f"the table is damaged: {one_line(error)}") from None
        for name in wide - beyond:
            bounds = cast("dict[str, int | None]", pc.min_max(batch.column(name)).as_py())
            if any(abs(bound) > MAX_INTEGER for bound in bounds.values() if bound is not None):
                beyond.add(name)
    return beyond


def one_line(error: Exception) -> str:
    """An error's message for a message to users."""
    return " ".join(str(error).split())[:200]


def _is_vector(kind: pa.DataType) -> bool:
    """Whether a column holds vectors: lists of floating-point numbers."""
    if isinstance(kind, pa.FixedSizeListType):
        return kind.list_size >= _MIN_VECTOR and pa.types.is_floating(kind.value_type)
    return isinstance(kind, pa.ListType | pa.LargeListType) and pa.types.is_floating(kind.value_type)


def _json_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return str(_json_value(value))


def _json_value(value: Any) -> object:
    """A value as JSON has it; None for one that is missing or not finite. Times are ISO 8601, bytes base64."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float | decimal.Decimal):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return {str(name): _json_value(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(member) for member in value]
    return str(value)
