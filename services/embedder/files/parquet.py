"""Apache Parquet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from services.embedder.errors import InvalidFile
from services.embedder.files.columnar import BATCH_ROWS, ColumnarReader, native_file, one_line
from services.embedder.files.formats import Format


def open_parquet(file: IO[bytes]) -> ColumnarReader:
    """Opens a Parquet file; memory holds one row group's pages at most. Raises InvalidFile."""

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            yield from pq.ParquetFile(native_file(file), pre_buffer=False).iter_batches(BATCH_ROWS)
        except (pa.ArrowException, OSError) as error:
            raise InvalidFile(f"the Parquet file is damaged: {one_line(error)}") from None

    try:
        schema = pq.ParquetFile(native_file(file), pre_buffer=False).schema_arrow
    except (pa.ArrowException, OSError) as error:
        raise InvalidFile(f"the Parquet file is damaged: {one_line(error)}") from None
    return ColumnarReader(Format.PARQUET, schema, batches)
