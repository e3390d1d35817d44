"""What kind of file it is, by its bytes: a format that can be read, or a description of something else."""

from __future__ import annotations

import re
from typing import IO

from services.embedder.errors import InvalidFile
from services.embedder.files import npy, wrapped_array
from services.embedder.files.csv import find_delimiter, has_usual_names
from services.embedder.files.formats import Format
from services.embedder.files.lines import split_lines
from services.embedder.files.structure import StructureScanner

HEAD_BYTES = 1 << 20
_SAMPLE_LINES = 20
_SAMPLE_BYTES = 1024
_FEW_CONTROLS = 20
_MARK_BYTES = 8
"""A file of no more bytes may be nothing but a mark."""
UTF8_MARK = b"\xef\xbb\xbf"
_BINARY_FORMATS = {
    b"PAR1": Format.PARQUET,
    b"ARROW1": Format.ARROW,
    b"\xff\xff\xff\xff": Format.ARROW,
    b"\xd0\xcf\x11\xe0": Format.SPREADSHEET,
    npy.MARK: Format.NPY,
}
_UNREADABLE = {
    b"7z\xbc\xaf\x27\x1c": "a 7z archive: unpack it first",
    b"%PDF": "a PDF: extract its text first",
    b"SQLite format 3\x00": "an SQLite database: export the table as CSV",
    b"FEA1": "Feather of version 1: write it again with a current pyarrow",
    b"\x89PNG": "a picture: documents are texts",
    b"\xff\xd8\xff": "a picture: documents are texts",
    b"\x89HDF": "HDF5: write the table as Parquet",
    b"\x80\x04": "a pickle, which may run code: write the table as Parquet",
    b"\x80\x05": "a pickle, which may run code: write the table as Parquet",
}
_MARKUP = {
    rb"<(?:!doctype html|html)": "an HTML page, such as an error or sign-in page that was saved in place of the file",
    rb"<(?:\?xml|[a-z])": "XML: put each text into an object with id and text",
}
_CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_ARRAY_START = re.compile(rb'\[\s*(?:[\]\[{"0-9tfn-]|$)')
_TEXT_START = re.compile(rb"\s*[\[{][^\x00]")
_FRAME = re.compile(rb'\{\s*"(?:columns"\s*:\s*\[|0"\s*:\s*\{|(?:[^"\\]|\\.)*"\s*:\s*\{\s*"0"\s*:)')
_PLAIN_TEXT = (
    "plain text: choose the format TEXT_LINES if each line is a document, or pack files of one document each into a zip"
)


def binary_format(file: IO[bytes]) -> Format | None:
    """The binary format that a file begins with; None for text, and for archives. Raises InvalidFile for others."""
    file.seek(0)
    head = file.read(64)
    if head.isascii() and not _CONTROLS.search(head) and len(head) > _MARK_BYTES:
        return None  # a text that begins like a mark
    for mark, description in _UNREADABLE.items():
        if head.startswith(mark):
            raise _unexpected(description)
    return next((format for mark, format in _BINARY_FORMATS.items() if head.startswith(mark)), None)


def text_format(file: IO[bytes]) -> Format:
    """The format of a file in UTF-8. Raises InvalidFile, in one sentence about the file as a whole."""
    start = start_of_text(file)
    head = _head(file, start)
    if _ARRAY_START.match(head) or wrapped_array.find(file, start) is not None:
        return Format.JSON
    sample = [line for line in split_lines(head)[: 4 * _SAMPLE_LINES] if line.strip()][:_SAMPLE_LINES]
    objects = [line.lstrip().removeprefix(UTF8_MARK).startswith(b"{") for line in sample]
    if objects[0] or 2 * sum(objects) >= len(objects):
        if _is_one_object_over_lines(sample):
            raise _unexpected("JSON over several lines: put the objects into an array, or each on a line of its own")
        if len(sample) == 1 and _FRAME.match(sample[0].lstrip()):
            raise _unexpected("a data frame of pandas by columns: write it with `to_json(…, orient='records')`")
        return Format.JSON_LINES
    for pattern, description in _MARKUP.items():
        if re.match(pattern, sample[0].lstrip(), re.IGNORECASE):
            raise _unexpected(description)
    text = head.decode(errors="replace")
    if find_delimiter(text) is not None or has_usual_names(text):
        return Format.CSV
    if any(objects):
        return Format.JSON_LINES
    raise _unexpected(_PLAIN_TEXT)


def is_json(file: IO[bytes]) -> bool:
    """Whether a file of bytes beyond ASCII that are not UTF-8 is JSON all the same."""
    try:
        return text_format(file) in (Format.JSON, Format.JSON_LINES)
    except InvalidFile:
        return False


def start_of_text(file: IO[bytes]) -> int:
    """The offset of a file's first byte that is neither blank nor a byte order mark.

    Raises InvalidFile for a file that is empty or binary.
    """
    file.seek(0)
    head = file.read(HEAD_BYTES)
    start = 0
    while head.startswith(UTF8_MARK, start):
        start += len(UTF8_MARK)
    if not _TEXT_START.match(head, start) and _is_binary(head[:_SAMPLE_BYTES]):
        raise _unexpected("a binary file")
    file.seek(start)
    while chunk := file.read(HEAD_BYTES):
        if rest := chunk.lstrip():
            return file.tell() - len(rest)
    raise InvalidFile("expected a file of documents; the file is empty")


def _is_binary(sample: bytes) -> bool:
    """Whether bytes hold zeros, or more control characters than texts do."""
    return b"\x00" in sample or len(_CONTROLS.findall(sample)) > max(_FEW_CONTROLS, len(sample) // 10)


def _head(file: IO[bytes], start: int) -> bytes:
    file.seek(start)
    return file.read(HEAD_BYTES)


def _is_one_object_over_lines(sample: list[bytes]) -> bool:
    """Whether the first line opens an object whose parts follow. One that is cut short has complete lines behind it."""
    scanner = StructureScanner()
    scanner.scan(sample[0])
    if scanner.depth <= 0 or len(sample) < 2:
        return False
    closed = len(sample) > 2 and sample[2].lstrip().startswith((b"]", b"}"))
    return closed or not sample[1].lstrip().startswith(b"{") or sample[1].rstrip().endswith(b",")


def _unexpected(kind: str) -> InvalidFile:
    return InvalidFile(
        f"expected JSON, JSON lines, CSV, Parquet, Arrow, a workbook or an archive of these; this looks like {kind}"
    )
