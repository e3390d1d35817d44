"""Apache Arrow: files (Feather) and streams, such as those in the folder of a Hugging Face dataset."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

import pyarrow as pa
from pyarrow import ipc

from services.embedder.errors import InvalidFile
from services.embedder.files.columnar import BATCH_ROWS, ColumnarReader, native_file, one_line
from services.embedder.files.formats import Format

_FILE_MARK = b"ARROW1"


def open_arrow(file: IO[bytes]) -> ColumnarReader:
    """Opens an Arrow file or stream; memory holds one record batch. Raises InvalidFile."""

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            for batch in _record_batches(file):
                for start in range(0, batch.num_rows, BATCH_ROWS):
                    yield batch.slice(start, BATCH_ROWS)
        except (pa.ArrowException, OSError) as error:
            raise InvalidFile(f"the Arrow file is damaged: {one_line(error)}") from None

    try:
        is_file = _is_file(file)
        source = native_file(file)
        schema = ipc.open_file(source).schema if is_file else ipc.open_stream(source).schema
    except (pa.ArrowException, OSError) as error:
        raise InvalidFile(f"the Arrow file is damaged: {one_line(error)}") from None
    return ColumnarReader(Format.ARROW, schema, batches)


def _record_batches(file: IO[bytes]) -> Iterator[pa.RecordBatch]:
    if not _is_file(file):
        yield from ipc.open_stream(native_file(file))
        return
    reader = ipc.open_file(native_file(file))
    for number in range(reader.num_record_batches):
        yield reader.get_batch(number)


def _is_file(file: IO[bytes]) -> bool:
    """Whether it is an Arrow file rather than a stream."""
    file.seek(0)
    return file.read(len(_FILE_MARK)) == _FILE_MARK
