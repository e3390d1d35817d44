"""The names of a table's columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from services.embedder.errors import InvalidFile

ID_NAMES = ("id", "_id", "key", "uuid", "uid", "guid", "doc_id", "document_id", "docid", "identifier")
"""Usual names of columns with ids, the likeliest first."""
TEXT_NAMES = (
    "text",
    "body",
    "content",
    "contents",
    "document",
    "passage",
    "abstract",
    "description",
    "review",
    "comment",
    "message",
    "sentence",
    "summary",
    "question",
    "title",
)
"""Usual names of columns with texts, the likeliest first."""
_USUAL_NAMES = frozenset((*ID_NAMES, *TEXT_NAMES))
MAX_COLUMNS = 10_000
_MAX_NAME = 200
MAX_PREAMBLE = 20
"""Rows that may stand above a table."""


@dataclass(frozen=True)
class Header:
    """The names of a table's columns, each different. is_in_file: whether the first row holds them."""

    columns: Sequence[str]
    is_in_file: bool
    notes: Sequence[str]


def find_header(first_row: Sequence[object], *, has_header: bool | None) -> Header:
    """The names in a table's first row, or made by place. has_header: None to guess.

    Raises InvalidFile for more than MAX_COLUMNS.
    """
    if len(first_row) > MAX_COLUMNS:
        raise InvalidFile(f"the table has {len(first_row):,} columns, at most {MAX_COLUMNS:,} are read")
    is_in_file = is_header(first_row) if has_header is None else has_header
    columns, notes = _column_names(first_row if is_in_file else [None] * len(first_row))
    if has_header is None and not is_in_file:
        notes.append("The first row is taken as data, as it holds numbers, long texts or one value twice.")
    elif has_header is None and not {name.lower() for name in columns} & _USUAL_NAMES:
        listed = ", ".join(repr(name[:40]) for name in columns[:5])
        notes.append(f"The first row is taken as the names of the columns: {listed}{' …' if len(columns) > 5 else ''}.")
    return Header(columns, is_in_file, notes)


def preamble_length(rows: Sequence[Sequence[object]], *, has_header: bool | None) -> int:
    """How many of a table's first rows are none of it.

    They are blank, or titles and remarks above a header with a usual name for texts. has_header: None where the header
    is to be guessed; else the first row that is not blank belongs to the table.
    """
    rows = rows[: MAX_PREAMBLE + 1]
    start = next((place for place, row in enumerate(rows) if _filled(row)), 0)
    if has_header is not None:
        return start
    header = next((place for place, row in enumerate(rows) if _names_texts(row)), start)
    return header if all(_is_remark(row, rows[header]) for row in rows[start:header]) else start


def _filled(row: Sequence[object]) -> list[object]:
    """The cells of a row that are not blank."""
    return [cell for cell in row if cell is not None and str(cell).strip()]


def _names_texts(row: Sequence[object]) -> bool:
    """Whether a row is a header of several columns, of which one has a usual name for texts."""
    return len(_filled(row)) > 1 and is_header(row) and not _usual_names(row).isdisjoint(TEXT_NAMES)


def _usual_names(row: Sequence[object]) -> set[str]:
    return {cell.strip().lower() for cell in row if isinstance(cell, str)} & _USUAL_NAMES


def _is_remark(row: Sequence[object], header: Sequence[object]) -> bool:
    """Whether a row above a header is blank, a title or a remark, rather than the real header or the first row of data.

    A title is a single cell. Where its row is as long as the header, as Excel pads rows, one usual name in the header
    may be a value that only looks like it.
    """
    cells = _filled(row)
    if len(cells) > 1:
        return str(cells[0]).lstrip().startswith("#") and len(row) < len(header)
    return not cells or len(row) < len(header) or len(_usual_names(header)) > 1


def preamble_notes(rows: Sequence[Sequence[object]]) -> list[str]:
    """What is said of the rows that `preamble_length` counts: blank ones are not mentioned."""
    count = sum(bool(_filled(row)) for row in rows)
    return (
        [f"Above the names of the columns, {count} {'row is' if count == 1 else 'rows are'} left out."] if count else []
    )


def is_header(row: Sequence[object]) -> bool:
    """Whether a table's first row names its columns: short texts, all different or one a usual name, and no numbers."""
    names = [cell.strip() for cell in row if isinstance(cell, str) and cell.strip()]
    if not names or any(not isinstance(cell, str) and cell is not None for cell in row):
        return False
    if any(len(name) > _MAX_NAME or _is_number(name) for name in names):
        return False
    return len(set(names)) == len(names) or not {name.lower() for name in names}.isdisjoint(_USUAL_NAMES)


def _column_names(row: Sequence[object]) -> tuple[list[str], list[str]]:
    """The columns' names, each different, and notes. A cell without a name, or with another's, gets a number."""
    cells = [str(cell).lstrip("\ufeff").strip() if cell is not None else "" for cell in row]
    free = Counter(cells)
    names: list[str] = []
    used: set[str] = set()
    for place, cell in enumerate(cells, start=1):
        name = cell or f"column_{place}"
        number = place
        while name in used or (name != cell and name in free):
            name, number = f"{cell or 'column'}_{number}", number + 1
        used.add(name)
        names.append(name)
    named = [cell for cell in cells if cell]
    notes = ["Some columns have the same name: a number tells them apart."] if len(set(named)) < len(named) else []
    return names, notes


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
