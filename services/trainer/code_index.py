"""Which files hold a run's codes, and which of their rows count."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prisma_common.wire import Codes
from services.trainer.sae.codes import CodeShard

Rows = NDArray[np.uint64]
_MAX_ROW = (1 << 63) - 1
_LOOKS = 64
"""Of a file with fewer rows than this for each interval, all row numbers are read at once."""


@dataclass(frozen=True)
class CodeFile:
    """A blob of codes. `revision` is the run's when the file was added."""

    path: str
    revision: int
    shard: CodeShard


@dataclass(frozen=True)
class Deletion:
    """Rows from `first_row` to `last_row`, inclusive, whose codes in files of earlier revisions no longer count."""

    revision: int
    first_row: int
    last_row: int


@dataclass(frozen=True)
class Follower:
    """How far a reader has read a run's codes before."""

    history: str = ""
    revision: int = 0
    """0 for not at all."""


NEW_FOLLOWER = Follower()


@dataclass(frozen=True)
class CodeSelection:
    """Which codes to read."""

    follower: Follower = NEW_FOLLOWER
    start_row: int = 0
    ranges: Sequence[tuple[int, int]] = ()
    """Half-open ranges of rows; empty for all."""
    held_out: bool = False
    """Whether to read only rows that the training has not seen."""

    @property
    def intervals(self) -> list[tuple[int, int]]:
        """The selected rows as ascending half-open intervals that do not overlap."""
        position, intervals = self.start_row, list[tuple[int, int]]()
        for start, end in sorted(self.ranges or [(0, _MAX_ROW)]):
            if max(start, position) < end:
                intervals.append((max(start, position), end))
                position = end
        return intervals

    def places(self, rows: Rows) -> NDArray[np.intp]:
        """Where the selected ones stand among ascending rows; of these, only some are looked at."""
        bounds = self.intervals
        if len(bounds) * _LOOKS < len(rows):
            spans = [(bisect_left(rows, start), bisect_left(rows, end)) for start, end in bounds]
        else:
            spans = np.searchsorted(rows, np.array(bounds, np.uint64).reshape(-1, 2)).tolist()
        return np.concatenate([np.empty(0, np.intp), *(np.arange(first, end) for first, end in spans)])


ALL_CODES = CodeSelection()


@dataclass(frozen=True)
class CodeIndex:
    """All files and deletions of one run, at one moment."""

    files: Sequence[CodeFile]
    """By first row."""
    deletions: Sequence[Deletion]

    def files_of(self, selection: CodeSelection) -> list[CodeFile]:
        """The files that may hold selected rows."""
        bounds = selection.intervals
        return [
            file
            for file in self.files
            if file.revision > selection.follower.revision
            and any(file.shard.may_hold(start, end) for start, end in bounds)
        ]

    def living(self, codes: Codes, file: CodeFile) -> Codes:
        """The codes of a file without rows that were deleted after it was added."""
        hidden = np.zeros(len(codes), dtype=np.bool_)
        for deletion in self.deletions:
            if deletion.revision > file.revision:
                first, end = np.searchsorted(codes.rows, [deletion.first_row, deletion.last_row + 1])
                hidden[first:end] = True
        return codes.take(np.flatnonzero(~hidden)) if hidden.any() else codes

    def deleted_since(self, revision: int) -> list[Deletion]:
        """Deletions after a revision of the run."""
        return [deletion for deletion in self.deletions if deletion.revision > revision]


def ranges_of(rows: Sequence[int] | Rows) -> list[tuple[int, int]]:
    """Rising row numbers as inclusive ranges (first, last)."""
    numbers = np.unique(np.asarray(rows, dtype=np.uint64))
    if not len(numbers):
        return []
    breaks = np.flatnonzero(np.diff(numbers) > 1)
    firsts, lasts = numbers[np.r_[0, breaks + 1]], numbers[np.r_[breaks, len(numbers) - 1]]
    return list(zip(firsts.tolist(), lasts.tolist(), strict=True))
