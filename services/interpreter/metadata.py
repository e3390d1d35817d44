"""Metadata of documents as columns: categories, numbers and dates of one key."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

MAX_CATEGORIES = 100
_SHORT_DATE = re.compile(r"(\d{4})(-\d{2})?")

Floats = NDArray[np.float64]


class Kind(StrEnum):
    """How values are read."""

    CATEGORY = "CATEGORY"
    NUMBER = "NUMBER"
    DATE = "DATE"


@dataclass(frozen=True)
class Metadata:
    """Some keys of documents' metadata, as plain JSON values; None where a document lacks the key."""

    rows: NDArray[np.uint64]
    """(N,) rising."""
    columns: Mapping[str, Sequence[Any]]
    """(N,) values by key."""

    def at(self, rows: NDArray[np.uint64]) -> Metadata:
        """That of some rows, in their order; None for rows without a document."""
        places = np.minimum(np.searchsorted(self.rows, rows), max(0, len(self.rows) - 1))
        is_document = self.rows[places] == rows if len(self.rows) else np.zeros(len(rows), bool)
        pairs = list(zip(places.tolist(), is_document.tolist(), strict=True))
        return Metadata(
            rows,
            {
                key: [values[place] if is_document else None for place, is_document in pairs]
                for key, values in self.columns.items()
            },
        )


@dataclass(frozen=True)
class Categories:
    """Which documents are in which categories."""

    names: Sequence[str]
    """(C,) the most frequent first."""
    membership: sparse.csr_array
    """(N, C) 1 where the document is in the category."""
    has_value: NDArray[np.bool_]
    """(N,) which documents are in any category, those that are left out included."""
    omitted_count: int
    """Categories that are left out, since there are too many."""


def kind_of(values: Sequence[Any]) -> Kind:
    """How values are read if nobody says: as numbers or dates where all are."""
    present = [value for value in values if value is not None]
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in present):
        return Kind.NUMBER
    if all(isinstance(value, str) and date(value) is not None for value in present):
        return Kind.DATE
    return Kind.CATEGORY


def categories(values: Sequence[Any]) -> Categories:
    """The most frequent values as categories; a list of values is in several."""
    names = [_names(value) for value in values]
    counts = Counter(name for document in names for name in document)
    frequent = [name for name, _count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))][:MAX_CATEGORIES]
    columns = {name: column for column, name in enumerate(frequent)}
    entries = [(row, columns[name]) for row, document in enumerate(names) for name in document if name in columns]
    rows, members = np.array(entries, np.int64).reshape(-1, 2).T
    matrix = sparse.csr_array((np.ones(len(rows)), (rows, members)), shape=(len(values), len(frequent)))
    has_value = np.array([bool(document) for document in names], bool)
    return Categories(frequent, matrix, has_value, len(counts) - len(frequent))


def numbers(values: Sequence[Any], kind: Kind) -> Floats:
    """(N,) values as numbers, dates in seconds; NaN where a value is neither."""
    read = number if kind is Kind.NUMBER else date
    return np.array([math.nan if (value := read(entry)) is None else value for entry in values], np.float64)


def number(value: Any) -> float | None:
    """A number, or a text that is one."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        result = float(value)
    except ValueError:
        return None
    return result if math.isfinite(result) else None


def date(value: Any) -> float | None:
    """Seconds since 1970 of a date or time in ISO 8601, in UTC where it has no zone; a year or a month begins."""
    if not isinstance(value, str):
        return None
    if match := _SHORT_DATE.fullmatch(value.strip()):
        value = f"{match[1]}{match[2] or '-01'}-01"
    try:
        moment = datetime.fromisoformat(value.strip())
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def text_of(value: Any) -> str:
    """A value as people write it: 4 for 4.0, true for True."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value)


def _names(value: Any) -> list[str]:
    if value is None or isinstance(value, dict):
        return []
    if isinstance(value, list):
        return list(dict.fromkeys(name for part in value for name in _names(part)))
    return [text_of(value)]
