"""JSON whose documents are the first member of one object, as lists respond: `{"documents": [{…}, …], …}`."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, cast

from services.embedder.files.structure import ArrayBroken, StructureScanner, members_after_array, nesting

MAX_MEMBERS_BYTES = 64 << 10
"""Of the members behind the array."""
_MAX_NESTING = 8
_START = re.compile(rb'\{\s*"([^"\\]{1,200})"\s*:\s*\[\s*\{')
_LIST_NAMES = ("documents", "docs", "data", "results", "items", "records", "rows", "entries", "hits")
"""What the array is called where its end is not in sight, so that lines of objects cannot be excluded."""
_DOCUMENT_NAMES = ("id", "text")
"""Members that an object has which is a document itself."""
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


def find(head: bytes) -> WrappedArray | None:
    """The array of objects that is the first member of a file's one object; None in all other files.

    head: the file's first bytes, from its first object on. Where more objects follow the first, they are JSON lines.
    """
    start = _START.match(head)
    if start is None:
        return None
    name = start[1].decode(errors="replace")
    array = WrappedArray(name, start[0].rindex(b"["))
    structure = StructureScanner().scan(head)
    ends = structure.positions[structure.depths == 0]
    if not len(ends):
        return array if name in _LIST_NAMES else None
    if head[int(ends[0]) + 1 :].strip():
        return None
    try:
        members = _members(members_after_array(io.BytesIO(head[array.start :]), MAX_MEMBERS_BYTES))
    except ArrayBroken:
        return array
    return None if members.keys() & set(_DOCUMENT_NAMES) else array


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
