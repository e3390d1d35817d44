"""Reads a file of documents: a JSON array of objects, or one object per line.

Memory is bounded: items are separated by a byte scan, and only an item within the limits of size and depth is parsed.
An array without an end is refused as a whole before anything is taken from it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice
from typing import IO

from services.chassis import logs
from services.embedder.documents import NewDocument
from services.embedder.errors import InvalidFile
from services.embedder.files.kinds import UTF8_MARK, Layout, find_start
from services.embedder.files.lines import read_lines
from services.embedder.files.structure import ArrayBroken, array_elements, check_array, nesting
from services.embedder.items import ItemRejected, Options, Reason, Rejection, document
from services.embedder.metadata import MAX_BYTES, MAX_DEPTH

MAX_NESTING = 64
"""Levels up to which an item is parsed; metadata may have fewer, and is then rejected with its id."""
_SAMPLE_ITEMS = 20

_DESCRIPTIONS = {
    "Extra data": "something follows it: each object needs a line of its own, without a comma behind it",
    "Expecting property name enclosed in double quotes": "names of fields need double quotes",
    "Invalid control character at": "a tab, line break or other control character must be written as an escape",
    "Unterminated string starting at": "a string has no closing quote",
    "Invalid \\escape": "a backslash must be written twice",
}
"""What the JSON parser's messages mean for those who made the file."""

_log = logs.get(__name__)


def read_documents(file: IO[bytes], options: Options) -> Iterator[tuple[int, NewDocument] | Rejection]:
    """The items of a file: each a document with its place from 1, or the reason why it is rejected.

    Raises InvalidFile, before the first item, for a file that cannot be read as a whole.
    """
    keys: set[str] = set()
    for place, text in _items(file, options):
        try:
            new = _document(text, options)
            if new.key in keys:
                message = "an earlier item of the file has the same id"
                raise ItemRejected(Reason.DUPLICATE_IN_FILE, message, key=new.key)
        except ItemRejected as rejected:
            yield rejected.rejection(place)
            continue
        keys.add(new.key)
        yield place, new


def _items(file: IO[bytes], options: Options) -> Iterator[tuple[int, bytes | None]]:
    """Each item's place and JSON text; None for one beyond the limit. Blank lines keep their place."""
    limit = _max_item_bytes(options)
    try:
        file.seek(0)
        layout, start = find_start(file)
        file.seek(start)
        if layout is Layout.ARRAY:
            check_array(file)
            file.seek(start)
            texts = array_elements(file, limit)
        else:
            texts = read_lines(file, limit)
    except ArrayBroken as error:
        raise InvalidFile(f"the JSON array cannot be read to its end: {error}") from error
    for place, text in enumerate(_with_objects(texts, layout), start=1):
        if layout is Layout.ARRAY or text is None or text.strip():
            yield place, text


def _with_objects(texts: Iterator[bytes | None], layout: Layout) -> Iterator[bytes | None]:
    """The same texts. Raises InvalidFile for an array that is empty, or begins with many elements without an object."""
    if layout is Layout.LINES:
        return texts
    sample = list(islice(texts, _SAMPLE_ITEMS))
    if not sample:
        raise InvalidFile("expected an array of objects with id and text; the array is empty")
    if not any(text is None or text.lstrip().startswith(b"{") for text in sample):
        raise InvalidFile("expected an array of objects with id and text; this array holds other values")
    return chain(sample, texts)


def _max_item_bytes(options: Options) -> int:
    return options.max_text_bytes * 2 + MAX_BYTES


def _document(text: bytes | None, options: Options) -> NewDocument:
    """The document in an item's JSON text. Raises ItemRejected, whatever the text is."""
    try:
        if text is None:
            message = f"the item has more than {_max_item_bytes(options):,} bytes"
            raise ItemRejected(Reason.TEXT_TOO_LONG, message)
        return document(_parsed(text), options)
    except ItemRejected:
        raise
    except Exception as error:
        _log.warning("unexpected error in an imported item", error=type(error).__name__)
        raise ItemRejected(Reason.INVALID_JSON, f"the item cannot be read ({type(error).__name__})") from error


def _parsed(text: bytes) -> object:
    if nesting(text, MAX_NESTING):
        reason = Reason.INVALID_METADATA if text.lstrip().startswith(b"{") else Reason.NOT_AN_OBJECT
        raise ItemRejected(
            reason, f"the item is nested more than {MAX_NESTING} levels deep, metadata at most {MAX_DEPTH}"
        )
    try:
        return json.loads(text.strip().removeprefix(UTF8_MARK).decode("utf-8"), object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        raise ItemRejected(Reason.INVALID_UTF8, f"expected UTF-8; byte {error.start} of the item is not") from None
    except json.JSONDecodeError as error:
        raise ItemRejected(Reason.INVALID_JSON, f"expected one JSON object; {_description(error)}") from None
    except ValueError:
        raise ItemRejected(Reason.INVALID_JSON, "the item holds a number of thousands of digits") from None


def _description(error: json.JSONDecodeError) -> str:
    """What is wrong with an item's JSON, and where."""
    return f"{_DESCRIPTIONS.get(error.msg.removesuffix(': '), error.msg)} (character {error.pos})"


def _object(fields: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object. Raises ItemRejected for one that gives a field twice, of which one value would be lost."""
    members = dict(fields)
    if len(members) < len(fields):
        counts = Counter(name for name, _value in fields)
        twice = next(name for name, count in counts.items() if count > 1)
        raise ItemRejected(Reason.INVALID_JSON, f"the field {twice[:200]!r} is given twice in an object")
    return members
