"""JSON: an array of objects, also as the first member of one object, or one object or such an array per line.

Memory is bounded: items are separated by a byte scan, and only an item within the limits of size and depth is parsed.
An array without an end is refused as a whole before anything is taken from it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import replace
from itertools import islice
from typing import IO, cast

from services.chassis import logs
from services.embedder.errors import InvalidFile
from services.embedder.files import wrapped_array
from services.embedder.files.formats import Format, Item, Layout, Limits
from services.embedder.files.kinds import UTF8_MARK, start_of_text
from services.embedder.files.lines import read_lines
from services.embedder.files.structure import ArrayBroken, array_elements, check_array, nesting
from services.embedder.items import ItemRejected, Reason
from services.embedder.metadata import MAX_DEPTH, absent_if_not_finite

MAX_NESTING = 64
"""Levels up to which an item is parsed; metadata may have fewer, and is then rejected with its id."""
_SAMPLE_ITEMS = 20
_BLOCKS = "The documents are the objects under 'documents' on each line; what is beside them is left out."

_DESCRIPTIONS = {
    "Extra data": "something follows it: each object needs a line of its own, without a comma behind it",
    "Expecting property name enclosed in double quotes": "names of fields need double quotes",
    "Invalid control character at": "a tab, line break or other control character must be written as an escape",
    "Unterminated string starting at": "a string has no closing quote",
    "Invalid \\escape": "a backslash must be written twice",
}
"""What the JSON parser's messages mean for those who made the file."""

_log = logs.get(__name__)


class JsonReader:
    """A JSON array of objects, or one object per line."""

    def __init__(self, file: IO[bytes], format: Format, limits: Limits) -> None:
        """Raises InvalidFile for an array that is not closed, is empty, or holds no objects."""
        self._file = file
        self._limits = limits
        self._layout = Layout(format)
        self._start = start_of_text(file)
        self._has_blocks = format is Format.JSON_LINES and wrapped_array.are_blocks(file, self._start)
        if self._has_blocks:
            self._layout = replace(self._layout, notes=[_BLOCKS])
        if format is Format.JSON:
            try:
                self._find_array()
                _check_elements(self._texts())
            except ArrayBroken as error:
                raise InvalidFile(f"the JSON array cannot be read to its end: {error}") from error

    def _find_array(self) -> None:
        """Sets where the array begins, and checks that it ends. Raises ArrayBroken."""
        array = wrapped_array.find(self._file, self._start)
        self._start += array.start if array is not None else 0
        self._file.seek(self._start)
        if self._limits.is_partial:
            return
        if array is None:
            check_array(self._file)
        else:
            self._layout = replace(self._layout, notes=array.notes(self._file))

    @property
    def layout(self) -> Layout:
        """How the file is read."""
        return self._layout

    def items(self, texts: Collection[str] = ()) -> Iterator[Item]:
        """The values of the array or the lines. Blank lines keep their place. JSON says itself what is text."""
        for place, text in enumerate(self._texts(), start=1):
            if self._layout.format is Format.JSON or text is None or text.strip():
                yield place, self._value(text)

    def _texts(self) -> Iterator[bytes | None]:
        """Each item's JSON text; None for one beyond the limit."""
        self._file.seek(self._start)
        if self._has_blocks:
            return self._texts_of_blocks()
        separated = array_elements if self._layout.format is Format.JSON else read_lines
        return separated(self._file, self._limits.item_bytes)

    def _texts_of_blocks(self) -> Iterator[bytes | None]:
        """The JSON texts of the documents in all lines; a line without an array of documents is one item."""
        limit = self._limits.item_bytes
        for line in read_lines(self._file, limit + wrapped_array.MAX_BLOCK_BYTES):
            elements = None if line is None else wrapped_array.block_elements(line, limit)
            if elements is not None:
                yield from elements
            else:
                yield None if line is None or len(line) > limit else line

    def _value(self, text: bytes | None) -> object:
        """The value of an item, or why it cannot be read."""
        if text is None:
            return ItemRejected(Reason.TEXT_TOO_LONG, f"the item has more than {self._limits.item_bytes:,} bytes")
        try:
            return _parsed(text)
        except ItemRejected as rejected:
            return rejected


def _check_elements(texts: Iterator[bytes | None]) -> None:
    """Raises InvalidFile for an array that is empty, or begins with many elements without an object."""
    sample = list(islice(texts, _SAMPLE_ITEMS))
    if not sample:
        raise InvalidFile("expected an array of objects with id and text; the array is empty")
    if not any(text is None or text.lstrip().startswith(b"{") for text in sample):
        raise InvalidFile("expected an array of objects with id and text; this array holds other values")


def _parsed(text: bytes) -> object:
    if nesting(text, MAX_NESTING):
        reason = Reason.INVALID_METADATA if text.lstrip().startswith(b"{") else Reason.NOT_AN_OBJECT
        raise ItemRejected(
            reason, f"the item is nested more than {MAX_NESTING} levels deep, metadata at most {MAX_DEPTH}"
        )
    try:
        content = text.strip().removeprefix(UTF8_MARK).decode("utf-8")
        constants: list[str] = []
        value = json.loads(content, object_pairs_hook=_object, parse_constant=lambda name: _constant(name, constants))
        return _without_constants(value) if constants else value
    except UnicodeDecodeError as error:
        raise ItemRejected(Reason.INVALID_UTF8, f"expected UTF-8; byte {error.start} of the item is not") from None
    except json.JSONDecodeError as error:
        raise ItemRejected(Reason.INVALID_JSON, f"expected one JSON object; {_description(error)}") from None
    except ValueError:
        raise ItemRejected(Reason.INVALID_JSON, "the item holds a number of thousands of digits") from None
    except ItemRejected:
        raise
    except Exception as error:
        _log.warning("unexpected error in an imported item", error=type(error).__name__)
        raise ItemRejected(Reason.INVALID_JSON, f"the item cannot be read ({type(error).__name__})") from error


def _description(error: json.JSONDecodeError) -> str:
    """What is wrong with an item's JSON, and where."""
    return f"{_DESCRIPTIONS.get(error.msg.removesuffix(': '), error.msg)} (character {error.pos})"


def _constant(name: str, constants: list[str]) -> float:
    """NaN, Infinity or -Infinity, which Python writes although JSON has none."""
    constants.append(name)
    return float(name)


def _without_constants(item: object) -> object:
    """An item in which NaN and infinities are absent, as in tables; not those in lists of numbers, as vectors are."""
    if not isinstance(item, dict):
        return absent_if_not_finite(item)
    fields = cast("dict[str, object]", item)
    return {name: value if _has_numbers(value) else absent_if_not_finite(value) for name, value in fields.items()}


def _has_numbers(value: object) -> bool:
    """Whether a value is a list of numbers and nothing else."""
    return isinstance(value, list) and {type(number) for number in cast("list[object]", value)} <= {int, float}


def _object(fields: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object. Raises ItemRejected for one that gives a field twice, of which one value would be lost."""
    members = dict(fields)
    if len(members) < len(fields):
        counts = Counter(name for name, _value in fields)
        twice = next(name for name, count in counts.items() if count > 1)
        raise ItemRejected(Reason.INVALID_JSON, f"the field {twice[:200]!r} is given twice in an object")
    return members
