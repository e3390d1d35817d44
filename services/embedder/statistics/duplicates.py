"""Which documents are alike: by equal digests, or by near-duplicate texts."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.chassis import near_duplicates

MAX_COMPARED = 1_000_000
"""Documents that are compared with each other, the first ones by row: 8 bytes of each by digest and 8 for its row, and
about 190 bytes for near-duplicates."""
MAX_GROUPS = 20
"""Groups that are reported, the largest."""
MAX_MEMBERS = 10
"""Documents of a reported group, the first by row."""
_DIGEST_BYTES = 8


@dataclass(frozen=True)
class Group:
    """Documents that are alike. rows: the first of them, ascending."""

    size: int
    rows: Sequence[int]


@dataclass(frozen=True)
class DuplicateStatistics:
    """Groups of documents that are alike.

    compared: documents that were compared. groups: of two or more. excess: the groups' documents but one of each.
    """

    compared: int = 0
    groups: int = 0
    excess: int = 0
    largest: Sequence[Group] = ()


class EqualScan:
    """Counts equal things, by digests of 64 bits."""

    def __init__(self, expected: int) -> None:
        """expected: how many documents there are, about."""
        self._rows = _Columns(expected, 1, np.uint64)
        self._digests = _Columns(expected, 1, np.uint64)

    def add(self, rows: Iterable[int], contents: Iterable[bytes]) -> None:
        """Adds things in the order of their rows."""
        digests = [
            int.from_bytes(hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest(), "little")
            for content in contents
        ]
        self._rows.add(np.array(list(rows), np.uint64).reshape(-1, 1))
        self._digests.add(np.array(digests, np.uint64).reshape(-1, 1))

    def statistics(self) -> DuplicateStatistics:
        """Which are equal."""
        rows = self._rows.filled.ravel()
        return _grouped(rows, np.unique(self._digests.filled.ravel(), return_inverse=True)[1])


class NearScan:
    """Counts texts that are nearly equal, see `near_duplicates`."""

    def __init__(self, expected: int) -> None:
        """expected: how many documents there are, about."""
        self._rows = _Columns(expected, 1, np.uint64)
        self._signatures = _Columns(expected, near_duplicates.PLACES, np.uint32)

    def add(self, rows: Sequence[int], texts: Sequence[str]) -> None:
        """Adds texts in the order of their rows."""
        if self._rows.is_full:
            return
        self._rows.add(np.array(rows, np.uint64).reshape(-1, 1))
        self._signatures.add(near_duplicates.signatures(texts))

    def statistics(self) -> DuplicateStatistics:
        """Which are nearly equal."""
        return _grouped(self._rows.filled.ravel(), near_duplicates.groups(self._signatures.filled))


def normal_text(text: str) -> str:
    """What is compared of a text: it has no differences of white space and of Unicode's normal forms."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def _grouped(rows: NDArray[np.uint64], group_of: NDArray[np.int64]) -> DuplicateStatistics:
    """rows: (n,) ascending; group_of: (n,) the number of each one's group."""
    if not len(rows):
        return DuplicateStatistics()
    sizes = np.bincount(group_of)
    order = np.argsort(group_of, kind="stable")
    starts = np.cumsum(sizes) - sizes
    numbers = np.flatnonzero(sizes > 1)
    largest = numbers[np.lexsort((rows[order[starts[numbers]]], -sizes[numbers]))][:MAX_GROUPS]
    members = [order[starts[number] : starts[number] + min(sizes[number], MAX_MEMBERS)] for number in largest]
    return DuplicateStatistics(
        compared=len(rows),
        groups=len(numbers),
        excess=int((sizes[numbers] - 1).sum()),
        largest=[
            Group(int(sizes[number]), rows[places].tolist()) for number, places in zip(largest, members, strict=True)
        ],
    )


class _Columns:
    """Up to MAX_COMPARED lines of numbers, in memory that is taken once."""

    def __init__(self, expected: int, width: int, dtype: type[np.unsignedinteger[Any]]) -> None:
        self._numbers = np.empty((min(expected, MAX_COMPARED), width), dtype)
        self._count = 0

    @property
    def filled(self) -> NDArray[Any]:
        """The lines that were added, (count, width)."""
        return self._numbers[: self._count]

    @property
    def is_full(self) -> bool:
        """Whether further lines are left out."""
        return self._count == len(self._numbers)

    def add(self, numbers: NDArray[Any]) -> None:
        """Adds lines as far as there is room."""
        fitting = numbers[: len(self._numbers) - self._count]
        self._numbers[self._count : self._count + len(fitting)] = fitting
        self._count += len(fitting)
