"""JSON whose documents are the first member of an object, as lists respond: `{"documents": [{…}, …], …}`.

A file may be one such object, or have one on each line, as `documents:read` streams them.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, cast

from services.embedder.files.names import ID_NAMES, TEXT_NAMES
from services.embedder.files.structure import (
    ArrayBroken,
    StructureScanner,
    array_elements,
    members_after_array,
    nesting,
)
from services.embedder.items import is_exported

MAX_MEMBERS_BYTES = 64 << 10
"""Of the members behind the array."""
MAX_BLOCK_BYTES = 8 << 20
"""Of a line with an array, beside its longest document: `documents:read` sends blocks of about 1 MiB before escapes."""
_MAX_NESTING = 8
_HEAD_BYTES = 1 << 20
_START = re.compile(rb'\{\s*"([^"\\]{1,200})"\s*:\s*\[\s*\{')
_LIST_NAMES = ("documents", "docs", "data", "results", "items", "records", "rows", "entries", "hits")
"""What the array is called where its end is not in sight, so that lines of objects cannot be excluded."""
_DOCUMENT_NAMES = ("id", "text")
"""Members that an object has which is a document itself."""
_STATUS_NAME = "message"
"""A usual name for texts that a response has for its status."""
_LONG_TEXT = 200
"""Characters from which on a text is a document's rather than a remark on a list."""
_BLOCK_START = re.compile(rb'\{\s*"documents"\s*:\s*\[')
_PAGE_NAMES = ("nextPageToken", "next_page_token")


@dataclass(frozen=True)
class WrappedArray:
    """An array of objects that is a member of an object.

    start: the offset of its bracket in the object.
    """

    name: str
    start: int

    def notes(self, file: IO[bytes]) -> list[str]:
        """What is read and what is left out. file: at the array. Raises ArrayBroken where it has no proper end."""
        members = _members(members_after_array(file, MAX_MEMBERS_BYTES))
        notes = [f"The documents are the objects under {self.name!r}."]
        if members:
            notes = [f"{notes[0][:-1]}; left out beside them: {', '.join(map(repr, members))[:200]}."]
        if any(members.get(name) for name in _PAGE_NAMES):
            notes.append(
                "This is one page of a list, of which more pages follow: documents:read returns all documents."
            )
        return notes


def find(file: IO[bytes], start: int) -> WrappedArray | None:
    """The array of objects that is the first member of a file's one object; None in all other files.

    start: the offset of the file's first object. Where more objects follow the first, they are JSON lines.
    """
    file.seek(start)
    head = file.read(_HEAD_BYTES)
    match = _START.match(head)
    if match is None:
        return None
    name = match[1].decode(errors="replace")
    array = WrappedArray(name, match[0].rindex(b"["))
    structure = StructureScanner().scan(head)
    ends = structure.positions[structure.depths == 0]
    if not len(ends):
        return array if name in _LIST_NAMES and not are_blocks(file, start) else None
    if head[int(ends[0]) + 1 :].strip():
        return None
    try:
        members = _members(members_after_array(io.BytesIO(head[array.start :]), MAX_MEMBERS_BYTES))
    except ArrayBroken:
        return array
    return None if _is_document(members, array, head) else array


def are_blocks(file: IO[bytes], start: int) -> bool:
    """Whether each line of a file is an object with an array of documents, as `documents:read` streams them.

    start: the offset of the file's first object. A single line is none of several.
    """
    file.seek(start)
    line = file.readline(MAX_BLOCK_BYTES)
    elements = block_elements(line, MAX_BLOCK_BYTES) if line.endswith(b"\n") else None
    return (
        elements is not None
        and is_exported(_object(next(elements, None)))
        and any(chunk.strip() for chunk in iter(lambda: file.read(_HEAD_BYTES), b""))
    )


def block_elements(line: bytes, max_bytes: int) -> Iterator[bytes | None] | None:
    """The documents in a line of `documents:read`, None for one longer than `max_bytes`; None for another line."""
    match = _BLOCK_START.match(line)
    if match is None:
        return None
    structure = StructureScanner().scan(line)
    ends = structure.positions[structure.depths == 0]
    if len(ends) != 1 or line[int(ends[0]) + 1 :].strip():
        return None
    return array_elements(io.BytesIO(line[match.end() - 1 :]), max_bytes)


def _is_document(members: Mapping[str, object], array: WrappedArray, head: bytes) -> bool:
    """Whether an object is a document that begins with an array, by the members behind it."""
    if members.keys() & set(_DOCUMENT_NAMES):
        return True
    texts = {name.lower(): value for name, value in members.items() if isinstance(value, str)}
    if len(texts.get(_STATUS_NAME, "")) < _LONG_TEXT:
        texts.pop(_STATUS_NAME, None)
    has_usual_name = not texts.keys().isdisjoint((*ID_NAMES, *TEXT_NAMES))
    if array.name not in _LIST_NAMES:
        return has_usual_name or any(len(text) >= _LONG_TEXT for text in texts.values())
    element = _object(next(array_elements(io.BytesIO(head[array.start :]), MAX_MEMBERS_BYTES), None))
    return has_usual_name and element.keys().isdisjoint(TEXT_NAMES)


def _object(text: bytes | None) -> Mapping[str, object]:
    """An object in JSON; empty where it is none, or is nested too deeply to be looked at."""
    if text is None or not text.startswith(b"{") or nesting(text, _MAX_NESTING):
        return {}
    try:
        return cast("Mapping[str, object]", json.loads(text))
    except (ValueError, RecursionError):
        return {}


def _members(rest: bytes) -> Mapping[str, object]:
    """The members of an object behind its first. Raises ArrayBroken where the rest of the object is no JSON."""
    rest = rest.strip()
    text = b"{" + (rest[1:] if rest.startswith(b",") else rest)
    if not rest.startswith((b",", b"}")) or nesting(text, _MAX_NESTING):
        raise ArrayBroken("what follows its closing bracket is not the rest of one object")
    try:
        return cast("Mapping[str, object]", json.loads(text))
    except (ValueError, RecursionError):
        raise ArrayBroken("what follows its closing bracket is not the rest of one object") from None
