"""Tables of Apache Arrow, from Parquet and from Arrow files, as JSON objects row by row."""

from __future__ import annotations

import base64
import datetime
import decimal
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import IO, Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from services.chassis.metadata_terms import MAX_INTEGER, MIN_INTEGER
from services.embedder.errors import InvalidFile
from services.embedder.files.fields import MIN_VECTOR
from services.embedder.files.formats import Format, Item, Layout
from services.embedder.files.names import MAX_COLUMNS
from services.embedder.items import ItemRejected, Reason

BATCH_ROWS = 1000
_PANDAS_INDEX = "__index_level_"


def native_file(file: IO[bytes]) -> pa.NativeFile:
    """A file as Arrow reads it, from its beginning."""
    file.seek(0)
    return pa.PythonFile(file, mode="r")  # pyright: ignore[reportArgumentType] - any binary file


class ColumnarReader:
    """A table whose record batches can be read several times."""

    def __init__(self, format: Format, schema: pa.Schema, batches: Callable[[], Iterator[pa.RecordBatch]]) -> None:
        """Raises InvalidFile."""
        self._batches = batches
        self._columns, notes = _columns(schema)
        self._texts_in_bytes, self._vectors = _read_to_the_end(schema, self._columns, batches)
        notes.extend(
            f"The bytes of {name[:60]!r} are imported as base64."
            for name, place in self._columns.items()
            if _is_binary(schema.field(place).type) and place not in self._texts_in_bytes
        )
        self._layout = Layout(format, columns=list(self._columns), notes=notes)

    @property
    def layout(self) -> Layout:
        """How the table is read."""
        return self._layout

    def items(self, texts: Collection[str] = ()) -> Iterator[Item]:
        """The rows, as objects without the cells that are missing; vectors are arrays."""
        names = list(self._columns)
        item_place = 0
        for batch in self._batches():
            columns = [self._json_values(batch, name, as_text=name in texts) for name in names]
            for row in zip(*columns, strict=True) if columns else ():
                item_place += 1
                rejection = next((cell for cell in row if isinstance(cell, ItemRejected)), None)
                values = {name: value for name, value in zip(names, row, strict=True) if value is not None}
                yield item_place, rejection or values

    def _json_values(self, batch: pa.RecordBatch, name: str, *, as_text: bool) -> list[object]:
        """The cells of a column as JSON has them; an ItemRejected for one that it cannot hold."""
        place = self._columns[name]
        column = batch.column(place)
        if place in self._vectors:
            return list[object](_arrays(column))
        values = _dictionary(column)
        if place in self._texts_in_bytes:
            values = values.cast(pa.large_string())
        convert = _json_text if as_text else _json_value
        converted = [convert(value) for value in _values(values, name)]
        if not isinstance(column, pa.DictionaryArray):
            return converted
        return [None if index is None else converted[index] for index in column.indices.to_pylist()]


def _columns(schema: pa.Schema) -> tuple[dict[str, int], list[str]]:
    """The columns that are read, by name, and notes about the others."""
    columns: dict[str, int] = {}
    notes: dict[str, None] = {}
    for place, field in enumerate(schema):
        if field.name.startswith(_PANDAS_INDEX):
            notes["The index of the data frame is left out."] = None
        elif field.name in columns:
            notes[f"Another column called {field.name[:60]!r} is left out."] = None
        else:
            columns[field.name] = place
    if len(columns) > MAX_COLUMNS:
        raise InvalidFile(f"the table has {len(columns):,} columns, at most {MAX_COLUMNS:,} are read")
    return columns, list(notes)


def _read_to_the_end(
    schema: pa.Schema, columns: Mapping[str, int], batches: Callable[[], Iterator[pa.RecordBatch]]
) -> tuple[set[int], set[int]]:
    """Reads a table to its end; returns the places of the columns of bytes that are all UTF-8, and of vectors.

    Vectors are lists of floating-point numbers, the first of which has MIN_VECTOR or more. Raises InvalidFile for
    inconsistent data: reading them could read foreign memory.
    """
    texts_in_bytes = {place for place in columns.values() if _is_binary(schema.field(place).type)}
    lists = {place for place in columns.values() if _is_list_of_floats(schema.field(place).type)}
    vectors: set[int] = set()
    for batch in batches():
        try:
            batch.validate(full=True)
        except pa.ArrowException as error:
            raise InvalidFile(f"the table is damaged: {one_line(error)}") from None
        texts_in_bytes -= {place for place in texts_in_bytes if not _is_utf8(batch.column(place))}
        for place in list(lists):
            length = next((len(numbers) for numbers in _arrays(batch.column(place)) if numbers is not None), None)
            if length is not None:
                lists.remove(place)
                vectors |= {place} if length >= MIN_VECTOR else set()
    return texts_in_bytes, vectors


def _arrays(column: pa.Array[Any]) -> list[NDArray[np.floating[Any]] | None]:
    """The cells of a column of lists as arrays (d,) of its type; None for one that is missing, NaN for a number."""
    lists = cast("Any", column)
    if isinstance(column.type, pa.FixedSizeListType):
        bounds = (np.arange(len(column) + 1) + column.offset) * column.type.list_size
    else:
        bounds = lists.offsets.to_numpy()
    numbers = lists.values.to_numpy(zero_copy_only=False)
    missing = column.is_null().to_pylist()
    return [
        None if is_missing else numbers[start:end]
        for is_missing, start, end in zip(missing, bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
    ]


def _dictionary(column: pa.Array[Any]) -> pa.Array[Any]:
    """The values of a column; of a dictionary, the different ones: each is converted once, however often it occurs."""
    return cast("pa.Array[Any]", column.dictionary) if isinstance(column, pa.DictionaryArray) else column


def _is_binary(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.DictionaryType):
        kind = cast("pa.DataType", kind.value_type)
    is_sized = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)
    return is_sized or pa.types.is_fixed_size_binary(kind)


def _is_utf8(column: pa.Array[Any]) -> bool:
    try:
        _dictionary(column).cast(pa.large_string())
    except pa.ArrowException:
        return False
    return True


def _values(column: pa.Array[Any], name: str) -> list[Any]:
    """A column's values as Python has them; an ItemRejected for one that Python cannot hold."""
    kind = column.type
    if isinstance(kind, pa.TimestampType) and kind.unit == "ns":
        return _nanosecond_times(column, kind.tz)
    try:
        return column.to_pylist()
    except (ValueError, OverflowError):
        return [_value(scalar, name) for scalar in column]


def _value(scalar: Any, name: str) -> Any:
    try:
        return scalar.as_py()
    except (ValueError, OverflowError):
        return ItemRejected(Reason.INVALID_METADATA, f"{name[:100]!r} holds a time that is not in the years 1 to 9999")


def _nanosecond_times(column: pa.Array[Any], zone: str | None) -> list[Any]:
    """Times as Python has them, or as text where some are finer than Python's microseconds."""
    try:
        microseconds = pa.timestamp("us") if zone is None else pa.timestamp("us", zone)
        return column.cast(microseconds).to_pylist()
    except pa.ArrowInvalid:
        texts = column.cast(pa.string()).to_pylist()
        return [None if text is None else text.replace(" ", "T", 1) for text in texts]


def one_line(error: Exception) -> str:
    """An error's message for a message to users."""
    return " ".join(str(error).split())[:200]


def _is_list_of_floats(kind: pa.DataType) -> bool:
    is_list = isinstance(kind, pa.ListType | pa.LargeListType | pa.FixedSizeListType)
    return is_list and pa.types.is_floating(kind.value_type)


def _json_text(value: Any) -> object:
    """A value as text, whatever it is."""
    if value is None or isinstance(value, str | ItemRejected):
        return value
    return format(value, "f") if isinstance(value, decimal.Decimal) else str(_json_value(value))


def _json_value(value: Any) -> object:
    """A value as JSON has it; None for one that is missing or not finite. Times are ISO 8601, bytes base64."""
    if value is None or isinstance(value, bool | str | ItemRejected):
        return value
    if isinstance(value, int):
        return value if MIN_INTEGER <= value <= MAX_INTEGER else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, decimal.Decimal):
        return _json_number(value)
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


def _json_number(value: decimal.Decimal) -> object:
    """A decimal number as JSON has it, as text where no double holds it."""
    if not value.is_finite():
        return None
    if value == value.to_integral_value():
        return int(value) if MIN_INTEGER <= value <= MAX_INTEGER else format(value, "f")
    return float(value) if decimal.Decimal(repr(float(value))) == value else format(value, "f")
