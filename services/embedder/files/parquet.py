"""Apache Parquet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from services.embedder.errors import FileTooLarge, InvalidFile
from services.embedder.files.columnar import BATCH_ROWS, ColumnarReader, native_file, one_line
from services.embedder.files.formats import Format

_MAX_ROW_GROUP_BYTES = 1 << 30
"""Of a row group, unpacked: its pages may be held in memory."""


def open_parquet(file: IO[bytes], max_bytes: int) -> ColumnarReader:
    """Opens a Parquet file. max_bytes: of its data, unpacked. Raises InvalidFile, FileTooLarge."""

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            yield from _open(file).iter_batches(BATCH_ROWS)
        except (pa.ArrowException, OSError) as error:
            raise InvalidFile(f"the Parquet file is damaged: {one_line(error)}") from None

    try:
        parquet = _open(file)
        schema = parquet.schema_arrow
        sizes = [parquet.metadata.row_group(place).total_byte_size for place in range(parquet.num_row_groups)]
    except (pa.ArrowException, OSError) as error:
        raise InvalidFile(f"the Parquet file is damaged: {one_line(error)}") from None
    if max(sizes, default=0) > _MAX_ROW_GROUP_BYTES or sum(sizes) > max_bytes:
        raise FileTooLarge(
            f"the Parquet file has {sum(sizes):,} bytes unpacked, {max(sizes):,} in one row group; at most "
            f"{max_bytes:,} and {_MAX_ROW_GROUP_BYTES:,} are read: write it with smaller row groups, or split it",
            metadata={"limit": str(max_bytes)},
        )
    return ColumnarReader(Format.PARQUET, schema, batches)


def _open(file: IO[bytes]) -> pq.ParquetFile:
    """Columns of texts stay dictionaries where the file has them: a long text that stands in many rows is read once."""
    parquet = pq.ParquetFile(native_file(file), pre_buffer=False)
    texts = [field.name for field in parquet.schema_arrow if field.type in (pa.string(), pa.binary())]
    return pq.ParquetFile(native_file(file), pre_buffer=False, read_dictionary=texts)
