"""The names of a table's columns."""

from __future__ import annotations

from collections.abc import Sequence

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
_MAX_NAME = 200


def is_header(row: Sequence[object]) -> bool:
    """Whether a table's first row names its columns: short texts, all different, and no numbers among them."""
    names = [cell.strip() for cell in row if isinstance(cell, str) and cell.strip()]
    if not names or any(not isinstance(cell, str) and cell is not None for cell in row):
        return False
    return len(set(names)) == len(names) and not any(len(name) > _MAX_NAME or _is_number(name) for name in names)


def column_names(row: Sequence[object]) -> tuple[list[str], list[str]]:
    """The columns' names from a header, each different, and notes. A cell without a name gets one by its place."""
    names: list[str] = []
    notes: list[str] = []
    for place, cell in enumerate(row, start=1):
        name = str(cell).strip() if cell is not None else ""
        if name in names:
            notes.append(
                f"Several columns are called {name[:60]!r}: the one at place {place} is called {name[:60]}_{place}."
            )
            name = f"{name}_{place}"
        names.append(name or f"column_{place}")
    return names, notes


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
