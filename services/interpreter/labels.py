"""What a label is, and how it is requested."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from services.interpreter.measurements import Measurements
from services.interpreter.scoring import Scores

KEYWORDS = "keywords"
"""The built-in label model."""


class Source(StrEnum):
    """Who wrote a label."""

    KEYWORDS = "KEYWORDS"
    MODEL = "MODEL"
    HUMAN = "HUMAN"


@dataclass(frozen=True, kw_only=True)
class Options:
    """How labels are made. Counts, temperature and prompt are for language models."""

    model: str = KEYWORDS
    """`keywords` or `<provider>/<model>`."""
    positive_count: int = 6
    """Documents that activate the feature, shown to the model."""
    negative_count: int = 4
    """Documents that do not."""
    temperature: float = 0.2
    system_prompt: str | None = None
    """Replaces the built-in one."""
    stop_words: tuple[str, ...] = ()
    """Words that labels by keywords leave out, besides those of the language."""


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """A candidate that was not the best."""

    text: str
    origin: str
    """A value of candidates.Origin."""
    choice: float
    """How good it was on the documents for choosing, 0 to 1; that of the label is at least as large."""


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What a label was made and tested with. Rows are those of documents."""

    origin: str | None
    """A value of candidates.Origin; None where no candidate was good enough, and for labels that were only scored."""
    rejected: tuple[Rejected, ...]
    """The best first."""
    writing_rows: tuple[int, ...]
    choosing_rows: tuple[int, ...]
    scoring_rows: tuple[int, ...]
    hard_rows: tuple[int, ...]
    """Silent ones that it was scored against."""
    choosing_silent_rows: tuple[int, ...] = ()
    dataset: DatasetKey | None = None
    """Whose rows those of writing and choosing are; None for that of the run."""


@dataclass(frozen=True, kw_only=True)
class DatasetKey:
    """A dataset."""

    name: str
    uid: str


@dataclass(frozen=True, kw_only=True)
class SeenRows:
    """Documents that a label was made with."""

    writing: tuple[int, ...] = ()
    choosing: tuple[int, ...] = ()
    dataset: DatasetKey | None = None
    """None for that of the run."""


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A label that is not stored yet."""

    index: int
    """The feature's."""
    text: str
    """Empty where the answer is that the feature cannot be named; the description then says why."""
    description: str
    source: Source
    model: str | None = None
    """The label model; None for a person's label."""
    author: str | None = None
    """The person; None for a model's label, and where no user is known."""
    keywords: tuple[str, ...] = ()
    options: Options | None = None
    """How it was made; None for a label that was written elsewhere, by a person or a model."""
    positive_rows: tuple[int, ...] = ()
    negative_rows: tuple[int, ...] = ()
    job: str | None = None
    """The job that made it."""
    carried_from: str | None = None
    """The label of another run that it is a copy of."""
    scores: Scores | None = None
    """None where it was not tested."""
    provenance: Provenance | None = None
    """Also None where only the active labels are read."""
    measurements: Measurements | None = None
    """Likewise; None where it was not scored after it was written."""


@dataclass(frozen=True, kw_only=True)
class Label:
    """A label of the history. Only `active` ever changes."""

    draft: Draft
    revision: int
    """Counts from 1 within the feature."""
    active: bool
    create_time: datetime
    """UTC."""


@dataclass(frozen=True, kw_only=True)
class LabelScores:
    """What was measured of a label of the history."""

    index: int
    revision: int
    scores: Scores
    measurements: Measurements
    provenance: Provenance


def seen_rows(draft: Draft) -> SeenRows | None:
    """The documents that a complete label was made with; None where that is not recorded.

    A person may have looked at any document, and is not counted as having been made to fit some of them.
    """
    provenance = draft.provenance
    if provenance is None:
        written_here = draft.options is not None and draft.carried_from is None
        is_known = draft.source is Source.HUMAN or (draft.source is Source.MODEL and written_here)
        return SeenRows(writing=(*draft.positive_rows, *draft.negative_rows)) if is_known else None
    return SeenRows(
        writing=(*draft.positive_rows, *draft.negative_rows, *provenance.writing_rows),
        choosing=(*provenance.choosing_rows, *provenance.choosing_silent_rows),
        dataset=provenance.dataset,
    )
