"""Reads a file of documents: a JSON array of objects, or one object a line. What it is, its bytes say.

Memory stays bounded: lines are read up to a limit, arrays are parsed as a stream after a pass that looks for strings
beyond the limit. A broken array is refused whole, before anything is taken from it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import IO, Any, NoReturn

import ijson
import numpy as np

from services.embedder.documents import MAX_KEY_BYTES, NewDocument
from services.embedder.errors import InvalidFile

MAX_REJECTIONS = 1000
MAX_METADATA_BYTES = 64 << 10
MAX_METADATA_DEPTH = 8
_CHUNK = 1 << 20
_KNOWN_TYPES = {
    b"\x1f\x8b": "a gzip file: unpack it first",
    b"PK\x03\x04": "a zip file (or a spreadsheet): unpack it, or save it as JSON lines",
    b"%PDF": "a PDF: extract its text first",
    b"PAR1": "a Parquet file: convert it to JSON lines first",
}


class Reason(StrEnum):
    """Why an item is not taken."""

    INVALID_JSON = "INVALID_JSON"
    NOT_AN_OBJECT = "NOT_AN_OBJECT"
    MISSING_ID = "MISSING_ID"
    INVALID_ID = "INVALID_ID"
    MISSING_TEXT = "MISSING_TEXT"
    INVALID_TEXT = "INVALID_TEXT"
    TEXT_TOO_LONG = "TEXT_TOO_LONG"
    DUPLICATE_IN_FILE = "DUPLICATE_IN_FILE"
    DUPLICATE_IN_DATASET = "DUPLICATE_IN_DATASET"
    INVALID_UTF8 = "INVALID_UTF8"
    INVALID_METADATA = "INVALID_METADATA"


@dataclass(frozen=True)
class Rejection:
    """An item that is not taken: its place in the file from 1, its key as far as it could be read, and why."""

    item: int
    key: str
    reason: Reason
    message: str


@dataclass
class Report:
    """What became of a file."""

    imported: int = 0
    rejections: list[Rejection] = field(default_factory=list[Rejection])
    counts: Counter[Reason] = field(default_factory=Counter[Reason])

    def reject(self, rejection: Rejection) -> None:
        """Counts a rejection, and keeps the first thousand."""
        self.counts[rejection.reason] += 1
        if len(self.rejections) < MAX_REJECTIONS:
            self.rejections.append(rejection)


@dataclass(frozen=True)
class Options:
    """How to read a file."""

    id_field: str = "id"
    text_field: str = "text"
    max_text_bytes: int = 1 << 20


class _Rejected(Exception):
    def __init__(self, reason: Reason, message: str, key: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.key = key


def read_documents(path: Path, options: Options) -> Iterator[tuple[int, NewDocument] | Rejection]:
    """The items of a file: each a document with its place from 1, or the reason why it is none.

    Raises InvalidFile for a file that can't be read as a whole, before it gives the first item.
    """
    with path.open("rb") as file:
        start = _skip_blank(file)
        file.seek(start)
        items = _array(file, start, options) if file.read(1) == b"[" else _lines(file, start, options)
        seen: set[str] = set()
        for place, item in items:
            try:
                document = _document(item, options)
                if document.key in seen:
                    raise _Rejected(
                        Reason.DUPLICATE_IN_FILE, "an earlier item of the file has the same id", document.key
                    )
            except _Rejected as rejected:
                yield Rejection(place, rejected.key[:200], rejected.reason, rejected.message)
                continue
            seen.add(document.key)
            yield place, document


def _skip_blank(file: IO[bytes]) -> int:
    """Where the first byte is that says something. Raises InvalidFile where there is none, or a foreign type."""
    head = file.read(_CHUNK)
    for magic, what in _KNOWN_TYPES.items():
        if head.startswith(magic):
            raise InvalidFile(f"expected a JSON array or JSON lines; this is {what}")
    start = 3 if head.startswith(b"\xef\xbb\xbf") else 0
    rest = head[start:].lstrip()
    if not rest:
        raise InvalidFile("expected a JSON array or JSON lines; the file is empty")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\x00" in head[:64]:
        raise InvalidFile("expected a JSON array or JSON lines in UTF-8; this is UTF-16 or a binary file")
    return len(head) - len(rest)


def _array(file: IO[bytes], start: int, options: Options) -> Iterator[tuple[int, Any]]:
    file.seek(start)
    _refuse_long_strings(file, options)
    file.seek(start)
    try:
        for _event in ijson.basic_parse(file, use_float=True):
            pass  # the whole file once, so that a broken end leaves nothing half taken
    except (ijson.JSONError, UnicodeDecodeError) as error:
        raise InvalidFile(f"the JSON array can't be read to its end: {_one_line(error)}") from error
    file.seek(start)
    yield from enumerate(ijson.items(file, "item", use_float=True), start=1)


def _refuse_long_strings(file: IO[bytes], options: Options) -> None:
    """Raises InvalidFile where two quotes are so far apart that a string between them is beyond all limits."""
    limit, since_quote = options.max_text_bytes * 2, 0
    while chunk := file.read(_CHUNK):
        quotes = np.flatnonzero(np.frombuffer(chunk, dtype=np.uint8) == ord('"'))
        edges = np.concatenate([[-since_quote], quotes, [len(chunk)]])
        if int(np.diff(edges).max()) > limit:
            raise InvalidFile(f"the array holds a string of more than {limit} bytes; texts may have {limit // 2}")
        since_quote = len(chunk) - int(edges[-2])


def _lines(file: IO[bytes], start: int, options: Options) -> Iterator[tuple[int, Any]]:
    limit = options.max_text_bytes * 2 + MAX_METADATA_BYTES
    file.seek(start)
    place = 0
    while line := file.readline(limit):
        place += 1
        if not line.endswith(b"\n") and len(line) == limit:
            while (rest := file.readline(_CHUNK)) and not rest.endswith(b"\n"):
                pass
            yield place, _Rejected(Reason.TEXT_TOO_LONG, f"the line has more than {limit} bytes")
        elif line.strip():
            yield place, _parse(line)


def _parse(line: bytes) -> Any:
    try:
        return json.loads(line.decode("utf-8"), parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        return _Rejected(Reason.INVALID_UTF8, f"expected UTF-8; byte {error.start} of the line is none")
    except (ValueError, RecursionError) as error:
        return _Rejected(Reason.INVALID_JSON, f"expected one JSON object; {_one_line(error)}")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _document(item: Any, options: Options) -> NewDocument:
    if isinstance(item, _Rejected):
        raise item
    if not isinstance(item, dict):
        raise _Rejected(Reason.NOT_AN_OBJECT, f"expected an object with id and text, got {_kind(item)}")
    values: Mapping[str, Any] = item
    key = _key(values, options.id_field)
    text = _text(values, options, key)
    metadata = {name: value for name, value in values.items() if name not in (options.id_field, options.text_field)}
    _check_metadata(metadata, key)
    return NewDocument(key, text, metadata)


def _key(item: Mapping[str, Any], name: str) -> str:
    value = item.get(name)
    if value is None:
        raise _Rejected(Reason.MISSING_ID, f"expected an id under {name!r}; the keys are {', '.join(item)[:200]}")
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _Rejected(Reason.INVALID_ID, f"expected an id of text or a whole number, got {_kind(value)}")
    key = str(value)
    if not key or not _is_utf8(key) or len(key.encode()) > MAX_KEY_BYTES:
        raise _Rejected(Reason.INVALID_ID, f"expected an id of 1 to {MAX_KEY_BYTES} bytes of UTF-8", key[:100])
    return key


def _text(item: Mapping[str, Any], options: Options, key: str) -> str:
    value = item.get(options.text_field)
    if value is None:
        raise _Rejected(Reason.MISSING_TEXT, f"expected a text under {options.text_field!r}", key)
    if not isinstance(value, str):
        raise _Rejected(Reason.INVALID_TEXT, f"expected a text, got {_kind(value)}", key)
    if not value.strip():
        raise _Rejected(Reason.INVALID_TEXT, "expected a text, got only white space", key)
    if not _is_utf8(value):
        raise _Rejected(Reason.INVALID_UTF8, "the text holds half a surrogate pair", key)
    size = len(value.encode())
    if size > options.max_text_bytes:
        raise _Rejected(Reason.TEXT_TOO_LONG, f"the text has {size} bytes, at most {options.max_text_bytes}", key)
    return value


def _check_metadata(metadata: Mapping[str, Any], key: str) -> None:
    if _depth(metadata) > MAX_METADATA_DEPTH:
        raise _Rejected(Reason.INVALID_METADATA, f"metadata may be nested {MAX_METADATA_DEPTH} deep", key)
    text = json.dumps(metadata, ensure_ascii=False, default=str)
    if not _is_utf8(text) or len(text.encode()) > MAX_METADATA_BYTES:
        raise _Rejected(Reason.INVALID_METADATA, f"metadata may have {MAX_METADATA_BYTES} bytes of UTF-8", key)


def _depth(value: Any) -> int:
    if isinstance(value, Mapping):
        return 1 + max((_depth(each) for each in value.values()), default=0)
    if isinstance(value, list):
        return 1 + max((_depth(each) for each in value), default=0)
    return 0


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "text", bool: "true or false", int: "a number"}
    return names.get(type(value), "a number" if isinstance(value, float) else "null")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
