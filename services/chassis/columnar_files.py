"""Tables as files of Apache Parquet and Apache Arrow. Needs pyarrow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import ipc

from services.chassis.table_files import Batch, Cells, Column, FileOptions, Format, ValueType, json_text

GROUP_BYTES = 16 << 20
"""Of the rows of a Parquet row group or an Arrow record batch in memory, about."""
GROUP_ROWS = 1 << 16
_TYPES: Mapping[ValueType, pa.DataType] = {
    ValueType.TEXT: pa.string(),
    ValueType.BOOLEAN: pa.bool_(),
    ValueType.INTEGER: pa.int64(),
    ValueType.UNSIGNED: pa.uint64(),
    ValueType.DECIMAL: pa.decimal128(20, 0),
    ValueType.NUMBER: pa.float64(),
    ValueType.FLOAT32: pa.float32(),
    ValueType.DATE: pa.date32(),
    ValueType.TIME: pa.timestamp("us"),
    ValueType.INSTANT: pa.timestamp("us", "UTC"),
    ValueType.JSON: pa.string(),
}


class ColumnarWriter:
    """Gathers rows to groups of GROUP_BYTES or GROUP_ROWS."""

    def __init__(self, columns: Sequence[Column], options: FileOptions) -> None:
        self._columns = columns
        attributes: dict[bytes | str, bytes | str] = {**options.attributes}
        self._schema = pa.schema([_field(column) for column in columns], metadata=attributes or None)
        self._sink = _Sink()
        self._file: Any = pa.PythonFile(self._sink, mode="w")  # pyright: ignore[reportArgumentType] - any binary file
        self._writer: Any = _writer(self._file, self._schema, options.format)
        self._rows: list[pa.RecordBatch] = []
        self._row_count = 0
        self._byte_count = 0

    def write(self, batch: Batch) -> bytes:
        """Takes rows; returns what of the file is complete. Raises ValueError for a value not of its column's type."""
        arrays = [_array(column, values) for column, values in zip(self._columns, batch, strict=True)]
        rows = pa.RecordBatch.from_arrays(arrays, schema=self._schema)
        self._rows.append(rows)
        self._row_count += rows.num_rows
        self._byte_count += rows.nbytes
        if self._byte_count >= GROUP_BYTES or self._row_count >= GROUP_ROWS:
            self._write_group()
        return self._sink.take()

    def finish(self) -> bytes:
        """The rest of the file."""
        if self._row_count:
            self._write_group()
        self._writer.close()
        self._file.flush()
        pa.default_memory_pool().release_unused()  # the pool would keep what the largest group needed
        return self._sink.take()

    def _write_group(self) -> None:
        table = pa.Table.from_batches(self._rows, schema=self._schema).combine_chunks()
        self._rows, self._row_count, self._byte_count = [], 0, 0
        self._writer.write_table(table)
        self._file.flush()


class _Sink:
    """A file that is only written to; what was written can be taken away."""

    closed = False

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._length = 0

    def write(self, data: Any) -> int:
        part = bytes(data)
        self._parts.append(part)
        self._length += len(part)
        return len(part)

    def tell(self) -> int:
        return self._length

    def flush(self) -> None:
        """Does nothing: all is taken as it is."""

    def close(self) -> None:
        """Does nothing: what was written can still be taken."""

    def take(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


def _writer(file: Any, schema: pa.Schema, format: Format) -> Any:
    if format is Format.PARQUET:
        return pq.ParquetWriter(file, schema, compression="zstd")
    return ipc.new_file(file, schema, options=ipc.IpcWriteOptions(compression="lz4"))


def _field(column: Column) -> Any:
    kind = _TYPES[column.type]
    attributes = dict(column.attributes) or None
    return pa.field(column.name, pa.list_(kind) if column.is_list else kind, metadata=attributes)


def _array(column: Column, values: Cells) -> Any:
    kind = _TYPES[column.type]
    if isinstance(values, np.ndarray):
        return pa.array(values, type=kind)
    if column.type is ValueType.JSON:
        values = [None if value is None else json_text(value) for value in values]
    try:
        return pa.array(values, type=pa.list_(kind) if column.is_list else kind)
    except (pa.ArrowException, OverflowError) as error:
        raise ValueError(f"{column.name[:100]!r}: {error}") from None
