"""What all formats of files have in common: the options, the layout that results, and the reader of items."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol, TypeAlias, runtime_checkable

Item: TypeAlias = tuple[int, object]
"""An item's place in the file, from 1, and its value as JSON has it, or the ItemRejected that says why it has none.

Fields of columns that hold vectors are arrays (d,) of float16, float32 or float64.
"""


class Format(StrEnum):
    """How documents stand in a file."""

    JSON = "JSON"
    JSON_LINES = "JSON_LINES"
    CSV = "CSV"
    PARQUET = "PARQUET"
    ARROW = "ARROW"
    SPREADSHEET = "SPREADSHEET"
    TEXT_FILES = "TEXT_FILES"
    TEXT_LINES = "TEXT_LINES"
    NPY = "NPY"


@dataclass(frozen=True)
class FileOptions:
    """How to read a file; None where it is to be guessed.

    encoding: of text, a name that Python knows. delimiter: between the cells of a CSV row. has_header: whether the
    first row of a table names its columns. sheet: the name of a workbook's sheet.
    """

    format: Format | None = None
    encoding: str | None = None
    delimiter: str | None = None
    has_header: bool | None = None
    sheet: str | None = None


@dataclass(frozen=True)
class Limits:
    """Bounds of what is read.

    item_bytes: of one item. file_bytes: of a file after it is unpacked. is_partial: whether the file is the beginning
    of a longer one, so that its end says nothing.
    """

    item_bytes: int
    file_bytes: int
    is_partial: bool = False


@dataclass(frozen=True)
class Layout:
    """How a file is read; None for what its format does not have.

    columns: the names of a table's columns in their order; None where each object has names of its own.
    notes: what was guessed and what is left out, a sentence each.
    """

    format: Format
    encoding: str | None = None
    delimiter: str | None = None
    has_header: bool | None = None
    sheet: str | None = None
    columns: Sequence[str] | None = None
    notes: Sequence[str] = ()


class Reader(Protocol):
    """An open file."""

    @property
    def layout(self) -> Layout:
        """How the file is read."""
        ...

    def items(self, texts: Collection[str] = ()) -> Iterator[Item]:
        """The items from the first on; each call begins again. texts: columns whose values are wanted as text."""
        ...


class Location(NamedTuple):
    """Where an item is: the path of its table in an archive, and its place in that table, from 1."""

    table: str
    item: int


@runtime_checkable
class _PartsReader(Protocol):
    """A reader of several files."""

    def location(self, place: int) -> Location | None:
        """The file of an item, and the item's place in it."""
        ...


def location(reader: Reader, place: int) -> Location | None:
    """Where an item of the latest pass is, if the reader reads several tables."""
    return reader.location(place) if isinstance(reader, _PartsReader) else None
