"""The result of an import."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from services.embedder.files.fields import Guess
from services.embedder.files.formats import Layout
from services.embedder.items import Fields, Reason, Rejection

MAX_REJECTIONS = 1000


@dataclass
class Report:
    """The result of an import.

    notes: what was guessed and what of the file is left out, a sentence each. rejections: the first MAX_REJECTIONS.
    """

    layout: Layout
    fields: Fields
    notes: Sequence[str] = ()
    imported: int = 0
    rejections: list[Rejection] = field(default_factory=list[Rejection])
    counts: Counter[Reason] = field(default_factory=Counter[Reason])

    @staticmethod
    def of(layout: Layout, guess: Guess) -> Report:
        """The report of an import that begins."""
        return Report(layout, guess.fields, [*layout.notes, *guess.notes])

    def reject(self, rejection: Rejection) -> None:
        """Counts a rejection, and keeps the first MAX_REJECTIONS."""
        self.counts[rejection.reason] += 1
        if len(self.rejections) < MAX_REJECTIONS:
            self.rejections.append(rejection)
