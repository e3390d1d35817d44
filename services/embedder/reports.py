"""The result of an import, and what is stored of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from services.embedder.documents import Failure, OnDuplicate
from services.embedder.files.fields import Guess
from services.embedder.files.formats import Layout
from services.embedder.items import Fields, Reason, Rejection

MAX_REJECTIONS = 1000


class ImportState(StrEnum):
    """How far an import came."""

    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    INTERRUPTED = "INTERRUPTED"


@dataclass
class Report:
    """The result of an import.

    notes: what was guessed and what of the file is left out, a sentence each.
    updated, skipped: documents that the dataset had already, and that were changed or stay as they are.
    passages: of the documents that were imported or updated. rejections: the first MAX_REJECTIONS.
    """

    layout: Layout
    fields: Fields
    notes: Sequence[str] = ()
    imported: int = 0
    updated: int = 0
    skipped: int = 0
    passages: int = 0
    rejections: list[Rejection] = field(default_factory=list[Rejection])
    counts: Counter[Reason] = field(default_factory=Counter[Reason])

    @staticmethod
    def of(layout: Layout, guess: Guess) -> Report:
        """The report of an import that begins."""
        return Report(layout, guess.fields, [*layout.notes, *guess.notes])

    @property
    def read(self) -> int:
        """Items that were imported, updated, skipped or rejected."""
        return self.imported + self.updated + self.skipped + self.counts.total()

    def reject(self, rejection: Rejection) -> None:
        """Counts a rejection, and keeps the first MAX_REJECTIONS."""
        self.counts[rejection.reason] += 1
        if len(self.rejections) < MAX_REJECTIONS:
            self.rejections.append(rejection)

    def note(self, sentence: str) -> None:
        """Adds a note, once."""
        if sentence not in self.notes:
            self.notes = [*self.notes, sentence]

    def copy(self) -> Report:
        """A report that says the same, and changes by itself."""
        return replace(self, rejections=list(self.rejections), counts=Counter(self.counts))


@dataclass(frozen=True)
class ImportProgress:
    """How far an import is, as it is stored.

    uid: the import's. create_time: when the file had arrived, or when one began to that did not.
    file_name: empty if nobody named it.
    report: with all that is committed; None where the file could not be read.
    rejections: those that are not stored yet, in the order of the file.
    failure: why it failed; None if it did not.
    """

    dataset_uid: str
    uid: str
    create_time: datetime
    file_name: str
    file_bytes: int
    on_duplicate: OnDuplicate
    state: ImportState
    report: Report | None
    rejections: Sequence[Rejection] = ()
    failure: Failure | None = None


@dataclass(frozen=True)
class StoredImport:
    """What an import did.

    report: without its rejections; None where the file could not be read. stored_rejections: how many can be read.
    end_time: None while it goes on, and where it was cut off.
    """

    uid: str
    state: ImportState
    file_name: str
    file_bytes: int
    on_duplicate: OnDuplicate
    report: Report | None
    stored_rejections: int
    failure: Failure | None
    create_time: datetime
    end_time: datetime | None
