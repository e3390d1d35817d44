"""Several tables of an archive, read one after the other as one."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TypeAlias

from services.embedder.errors import InvalidFile
from services.embedder.files.archives import Unpacking
from services.embedder.files.formats import Item, Layout, Location, Reader

MAX_TABLES = 10_000

Part: TypeAlias = tuple[str, Callable[[Unpacking], AbstractContextManager[Reader]]]
"""The path of a table in an archive, and what unpacks and opens it."""


class TablesReader:
    """The tables of an archive as one. One of them is unpacked at a time, again in each pass."""

    def __init__(self, parts: Sequence[Part], unpacking: Unpacking) -> None:
        """Raises InvalidFile for too many tables, or tables of several formats, and what the readers of them raise."""
        if len(parts) > MAX_TABLES:
            raise InvalidFile(f"the archive has {len(parts):,} tables, at most {MAX_TABLES:,} are read")
        self._parts = parts
        self._unpacking = unpacking
        self._starts: list[int] = []
        layouts: list[Layout] = []
        for _name, opened in parts:
            with opened(unpacking) as reader:
                layouts.append(reader.layout)
        self._layout = _layout_of_all([name for name, _opened in parts], layouts)

    @property
    def layout(self) -> Layout:
        """How the tables are read: as the first of them, with the columns of all."""
        return self._layout

    def items(self, texts: Collection[str] = ()) -> Iterator[Item]:
        """The rows of all tables."""
        unpacking = self._unpacking.another_pass()
        self._starts = []
        place = 0
        for _name, opened in self._parts:
            self._starts.append(place)
            with opened(unpacking) as reader:
                for place_in_part, value in reader.items(texts):
                    place = self._starts[-1] + place_in_part
                    yield place, value

    def location(self, place: int) -> Location:
        """The table of an item of the latest pass, and the item's place in it."""
        number = bisect(self._starts, place - 1) - 1
        return Location(self._parts[number][0], place - self._starts[number])


def _layout_of_all(names: Sequence[str], layouts: Sequence[Layout]) -> Layout:
    """Raises InvalidFile for files of several formats."""
    formats = {layout.format for layout in layouts}
    if len(formats) > 1:
        raise InvalidFile(f"expected an archive with tables of one format; this one has {', '.join(sorted(formats))}")
    first = layouts[0]
    columns = dict.fromkeys(name for layout in layouts for name in layout.columns or ())
    notes = [f"{len(layouts):,} files are read as one table.", *_differences(names, layouts)]
    notes.extend(dict.fromkeys(note for layout in layouts for note in layout.notes))
    return replace(first, columns=None if first.columns is None else list(columns), notes=notes)


def _differences(names: Sequence[str], layouts: Sequence[Layout]) -> Iterator[str]:
    """A sentence about each thing in which tables differ from the first."""
    by_property = {
        "columns": [set(layout.columns or ()) for layout in layouts],
        "encodings": [layout.encoding for layout in layouts],
        "delimiters": [layout.delimiter for layout in layouts],
    }
    for what, values in by_property.items():
        different = [name for name, value in zip(names, values, strict=True) if value != values[0]]
        if different:
            yield (
                f"The files differ in their {what}: {len(different):,} of {len(names):,} from {names[0][:60]!r}, "
                f"such as {different[0][:60]!r}."
            )
