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
_STREAM_END = b"\xff\xff\xff\xff\x00\x00\x00\x00"


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
        source = native_file(file)
        yield from ipc.open_stream(source)
        _check_end(file, source.tell())
        return
    reader = ipc.open_file(native_file(file))
    for number in range(reader.num_record_batches):
        yield reader.get_batch(number)


def _check_end(file: IO[bytes], offset: int) -> None:
    """Raises InvalidFile for a stream that ends without its mark: Arrow takes one cut between messages as complete."""
    file.seek(max(0, offset - len(_STREAM_END)))
    if file.read(len(_STREAM_END)) != _STREAM_END:
        raise InvalidFile("the Arrow stream is cut short: the mark of its end is missing")


def _is_file(file: IO[bytes]) -> bool:
    """Whether it is an Arrow file rather than a stream."""
    file.seek(0)
    return file.read(len(_FILE_MARK)) == _FILE_MARK
