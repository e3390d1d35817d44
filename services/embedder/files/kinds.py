"""What kind of file it is, by its bytes: a JSON array or JSON lines, or a description of something else."""

from __future__ import annotations

import re
from enum import Enum
from typing import IO

from services.embedder.errors import InvalidFile
from services.embedder.files.lines import split_lines
from services.embedder.files.structure import StructureScanner

HEAD_BYTES = 1 << 20
_SAMPLE_LINES = 20
UTF8_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_SIGNATURES = {
    b"\x1f\x8b": "a gzip file: unpack it first",
    b"BZh": "a bzip2 file: unpack it first",
    b"\xfd7zXZ\x00": "an xz file: unpack it first",
    b"\x28\xb5\x2f\xfd": "a Zstandard file: unpack it first",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive: unpack it first",
    b"PK\x03\x04": "a zip file or an Excel workbook: unpack it, or save the table as JSON lines",
    b"\xd0\xcf\x11\xe0": "an Excel workbook or another Office file: save the table as JSON lines",
    b"%PDF": "a PDF: extract its text first",
    b"PAR1": "a Parquet file: convert it to JSON lines first",
    b"\x93NUMPY": "a NumPy array: documents are texts",
    b"SQLite format 3\x00": "an SQLite database: export the table as JSON lines",
}
_MARKUP = {
    rb"<(?:!doctype html|html)": "an HTML page, such as an error or sign-in page that was saved in place of the file",
    rb"<(?:\?xml|[a-z])": "XML: put each text into an object with id and text",
}
_CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_TEXT_START = re.compile(rb"\s*[\[{][^\x00]")
_TO_JSON_LINES = "convert it, for example with pandas: df.to_json(path, orient='records', lines=True)"
_PLAIN_TEXT = "plain text: put each text into an object with id and text"
_TABLES = {b"\t": "a table with tabs (TSV)", b";": "a CSV table with semicolons", b",": "a CSV table"}


class Layout(Enum):
    """How documents stand in a file."""

    ARRAY = "array"
    LINES = "lines"


def find_start(file: IO[bytes]) -> tuple[Layout, int]:
    """The file's layout, and the offset of its first byte that is neither blank nor a byte order mark.

    Raises InvalidFile for a file of another kind, in one sentence about the file as a whole.
    """
    head = file.read(HEAD_BYTES)
    for signature, kind in _SIGNATURES.items():
        if head.startswith(signature):
            raise _unexpected(kind)
    start = 0
    while head.startswith(UTF8_MARK, start):
        start += len(UTF8_MARK)
    if head.startswith(_UTF16_MARKS) or (not _TEXT_START.match(head, start) and _CONTROLS.search(head[:64])):
        raise _unexpected("UTF-16 or a binary file: save it as UTF-8")
    file.seek(start)
    while chunk := file.read(HEAD_BYTES):
        if rest := chunk.lstrip():
            start = file.tell() - len(rest)
            return _layout(rest, file), start
    raise InvalidFile("expected a JSON array or JSON lines; the file is empty")


def _layout(head: bytes, file: IO[bytes]) -> Layout:
    if head.startswith(b"["):
        return Layout.ARRAY
    if len(head) < HEAD_BYTES:
        head += file.read(HEAD_BYTES - len(head))
    sample = [line for line in split_lines(head)[: 4 * _SAMPLE_LINES] if line.strip()][:_SAMPLE_LINES]
    if not any(line.lstrip().removeprefix(UTF8_MARK).startswith(b"{") for line in sample):
        raise _unexpected(_text_kind(sample))
    if _is_one_object_over_lines(sample):
        raise _unexpected("JSON over several lines: put the objects into an array, or each on a line of its own")
    return Layout.LINES


def _text_kind(sample: list[bytes]) -> str:
    """A description of a text file without JSON."""
    for pattern, description in _MARKUP.items():
        if re.match(pattern, sample[0].lstrip(), re.IGNORECASE):
            return description
    table = _table(sample)
    return f"{table}: {_TO_JSON_LINES}" if table else _PLAIN_TEXT


def _table(sample: list[bytes]) -> str | None:
    """A description of the table that the lines are, None if they are none."""
    for delimiter, description in _TABLES.items():
        counts = {re.sub(rb'"[^"]*"?', b"", line).count(delimiter) for line in sample}
        if len(sample) > 1 and len(counts) == 1 and counts != {0}:
            return description
    columns = [line.count(b",") for line in sample]
    return _TABLES[b","] if len(sample) > 1 and columns[0] and min(columns) >= columns[0] else None


def _is_one_object_over_lines(sample: list[bytes]) -> bool:
    """Whether the first line opens an object whose parts follow. One that is cut short has complete lines behind it."""
    scanner = StructureScanner()
    scanner.scan(sample[0])
    if scanner.depth <= 0 or len(sample) < 2:
        return False
    closed = len(sample) > 2 and sample[2].lstrip().startswith((b"]", b"}"))
    return closed or not sample[1].lstrip().startswith(b"{") or sample[1].rstrip().endswith(b",")


def _unexpected(kind: str) -> InvalidFile:
    return InvalidFile(f"expected a JSON array or JSON lines; this looks like {kind}")
