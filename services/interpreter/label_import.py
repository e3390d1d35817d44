"""Labels of a file in a run: which of them are new, and which rows are left out and why."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import IO

from prisma_common import names
from services.chassis.errors import FailedPrecondition, NotFound
from services.chassis.events import Events
from services.chassis.table_files import is_like_formula, with_formula
from services.chassis.threads import in_thread
from services.interpreter.errors import FileTooLarge, LabelsOfOtherLatents
from services.interpreter.feature_cache import FeatureCache
from services.interpreter.feature_tables import DIGEST_CHARACTERS
from services.interpreter.features import Features
from services.interpreter.label_files import MAX_BYTES, LabelRow, Reason, RowRejected, label_rows
from services.interpreter.labels import Draft, Label, Source
from services.interpreter.runs import Run
from services.interpreter.store import Store
from services.interpreter.upstream import Upstream

IMPORTS_AT_ONCE = 1
"""Imports that hold their file in memory; further ones wait, with their file on disk."""
MAX_REJECTIONS = 1000
MAX_CHANGES = 100
_SPOOLED_BYTES = 1 << 20
"""Of a file that is received, in memory."""
_MAX_RUNS = 3
"""Runs of a file that are looked up, and named in an error."""


class OnDuplicate(StrEnum):
    """What to do with a label of a feature that has another one."""

    REJECT = "REJECT"
    SKIP = "SKIP"
    REPLACE = "REPLACE"


class Skipped(StrEnum):
    """Why a row was left out, as a note says it."""

    NO_LABEL = "without a label"
    HISTORY = "of the history, whose labels are not active"
    OTHER_LABEL = "of features that have another label"
    OF_A_PERSON = "of features whose label a person wrote"


@dataclass(frozen=True, kw_only=True)
class ImportRequest:
    """What an import is to do."""

    run: str
    on_duplicate: OnDuplicate
    validate_only: bool
    ignore_weights: bool
    user: str
    """Who imports; empty where no keys are in use."""


@dataclass(frozen=True)
class Rejection:
    """A row that cannot become a label. item: its place, from 1."""

    item: int
    index: str
    reason: Reason
    message: str


@dataclass(frozen=True)
class Change:
    """A label that is written. previous: the active label before."""

    draft: Draft
    previous: str


@dataclass
class ImportReport:
    """What an import did, or would do."""

    changes: list[Change] = field(default_factory=list[Change])
    """By index."""
    unchanged_count: int = 0
    skipped: Counter[Skipped] = field(default_factory=Counter[Skipped])
    rejected_count: int = 0
    rejections: list[Rejection] = field(default_factory=list[Rejection])
    """The first of them."""
    is_of_unknown_latents: bool = False
    """Whether the file does not say for which latents its labels were made."""

    def reject(self, item: int, rejection: RowRejected) -> None:
        """Counts a row that cannot become a label."""
        self.rejected_count += 1
        if len(self.rejections) < MAX_REJECTIONS:
            self.rejections.append(Rejection(item, rejection.index, rejection.reason, rejection.message))

    @property
    def notes(self) -> list[str]:
        """What else there is to know, in sentences."""
        notes = [f"Left out: rows {reason} ({count:,})." for reason, count in sorted(self.skipped.items()) if count]
        if self.changes and self.is_of_unknown_latents:
            notes.append(
                "The file does not say for which latents its labels were made: its indices were taken as they are."
            )
        unknown = sum(change.draft.source is not Source.HUMAN for change in self.changes)
        if unknown:
            notes.append(
                f"ScoreLabels does not test labels that models wrote ({unknown:,}), as nothing says which documents "
                "they were made of."
            )
        return notes


class LabelImports:
    """Takes over labels of files."""

    def __init__(self, *, store: Store, cache: FeatureCache, upstream: Upstream, events: Events) -> None:
        self._store = store
        self._cache = cache
        self._upstream = upstream
        self._events = events
        self._places = asyncio.Semaphore(IMPORTS_AT_ONCE)

    async def run(self, request: ImportRequest, chunks: AsyncIterator[bytes]) -> ImportReport:
        """Imports the labels of a file, all at once.

        Raises RUN_NOT_FOUND, RunNotTrained, StatisticsNotComputed, InvalidFile, FileTooLarge, LabelsOfOtherLatents,
        SERVICE_UNAVAILABLE where the file names weights.
        """
        features = await self._cache.features(request.run)
        report = ImportReport()
        with tempfile.SpooledTemporaryFile(max_size=_SPOOLED_BYTES) as file:
            await _receive(chunks, file)
            async with self._places:
                rows = await in_thread(lambda: accepted_rows(file.read(), features, report))
        if not request.ignore_weights:
            await self._check_latents([row for _item, row in rows.values()], features.run, report)

        def new_drafts(active: Mapping[int, Label]) -> list[Draft]:
            report.changes.extend(changes(rows, active, request, report))
            return [change.draft for change in report.changes]

        run = features.run
        if request.validate_only:
            new_drafts(await asyncio.to_thread(self._store.active_labels, run.uid))
            return report
        if await asyncio.to_thread(self._store.replace_labels, run, new_drafts):
            await self._events.publish(names.LABELS_CHANGED, run.name)
        return report

    async def _check_latents(self, rows: Sequence[LabelRow], run: Run, report: ImportReport) -> None:
        """Raises LabelsOfOtherLatents for labels of other weights, or of another run with such."""
        weights = {row.weights for row in rows if row.weights}
        runs = {row.run for row in rows if row.run} - {run.name}
        report.is_of_unknown_latents = not any(row.weights or row.run for row in rows)
        if not weights and not runs:
            return
        digest = (await self._upstream.weights_digest(run) or "")[:DIGEST_CHARACTERS]
        if not weights:
            weights = {await self._digest_of(name) for name in sorted(runs)[:_MAX_RUNS]}
        if digest and weights != {digest}:
            origin = f" ({', '.join(sorted(runs)[:_MAX_RUNS])})" if runs else ""
            raise LabelsOfOtherLatents(
                f"the labels of the file{origin} were made for other latents than {run.name} has. CarryLabels (`prisma "
                "carry-labels`) copies labels of another run to latents that are alike; `ignore_weights` takes the "
                "file over by index all the same",
                metadata={"run": run.name},
            )

    async def _digest_of(self, run_name: str) -> str | None:
        """The beginning of the digest of a run's weights; None for one that is not here."""
        try:
            digest = await self._upstream.weights_digest(await self._upstream.run(run_name))
        except (NotFound, FailedPrecondition):
            return None
        return digest and digest[:DIGEST_CHARACTERS]


def accepted_rows(data: bytes, features: Features, report: ImportReport) -> dict[int, tuple[int, LabelRow]]:
    """The rows that may become labels, each with its place, by index. Raises InvalidFile, FileTooLarge."""
    rows: dict[int, tuple[int, LabelRow]] = {}
    for item, row in label_rows(data):
        if isinstance(row, RowRejected):
            report.reject(item, row)
        elif row.index >= features.count:
            message = f"index: expected 0 to {features.count - 1}, as the run has {features.count:,} features"
            report.reject(item, RowRejected(Reason.INVALID_INDEX, message, index=str(row.index)))
        elif not row.is_active:
            report.skipped[Skipped.HISTORY] += 1
        elif not row.text:
            report.skipped[Skipped.NO_LABEL] += 1
        elif row.index in rows:
            message = f"row {rows[row.index][0]:,} has a label for this feature already"
            report.reject(item, RowRejected(Reason.DUPLICATE_IN_FILE, message, index=str(row.index)))
        else:
            rows[row.index] = item, row
    return rows


def changes(
    rows: Mapping[int, tuple[int, LabelRow]], active: Mapping[int, Label], request: ImportRequest, report: ImportReport
) -> Iterable[Change]:
    """The labels to write, by index; counts in the report what is left out. active: the active labels by index."""
    is_guarded = _is_guarded([row for _item, row in rows.values()])
    for index in sorted(rows):
        item, row = rows[index]
        existing = active.get(index)
        draft = existing.draft if existing else None
        row = _with_formulas(row, draft, is_guarded=is_guarded and row.run is not None)
        if draft is not None and row.run in (None, request.run):
            row = _as_edited(row, draft)
        if draft is None or not draft.text:
            yield Change(_draft(row, request.user), "")
        elif _says_the_same(row, draft):
            report.unchanged_count += 1
        elif request.on_duplicate is OnDuplicate.REJECT:
            message = f"the feature has the label {draft.text!r}"
            report.reject(item, RowRejected(Reason.DUPLICATE, message, index=str(index)))
        elif request.on_duplicate is OnDuplicate.SKIP:
            report.skipped[Skipped.OTHER_LABEL] += 1
        elif draft.source is Source.HUMAN and row.source is not Source.HUMAN:
            report.skipped[Skipped.OF_A_PERSON] += 1
        else:
            yield Change(_draft(row, request.user), draft.text)


def _is_guarded(rows: Sequence[LabelRow]) -> bool:
    """Whether a file is an export as CSV in which no text begins like a formula: then apostrophes may guard some."""
    cells = (cell for row in rows for cell in (row.text, row.description, row.model, row.author))
    return any(row.is_of_csv and row.run for row in rows) and not any(cell and is_like_formula(cell) for cell in cells)


def _with_formulas(row: LabelRow, draft: Draft | None, *, is_guarded: bool) -> LabelRow:
    """A row without the apostrophes that an export put before what is like a formula.

    A cell is read without its apostrophe where this is what the active label has, whatever programs the file went
    through; else only in a guarded file, where the active label does not have the apostrophe too.
    """

    def text_of(cell: str, active: str | None) -> str:
        text = with_formula(cell)
        return text if text == active or (is_guarded and cell != active) else cell

    return replace(
        row,
        text=text_of(row.text, draft and draft.text),
        description=text_of(row.description, draft and draft.description),
        model=text_of(row.model or "", draft and draft.model) or None,
        author=text_of(row.author or "", draft and draft.author) or None,
    )


def _as_edited(row: LabelRow, draft: Draft) -> LabelRow:
    """A row; a person's label where it says something else than the active one under that one's model.

    No model wrote that: somebody has edited an export and left the columns of source and model alone.
    """
    is_of_model = row.source is not Source.HUMAN and (row.source, row.model) == (draft.source, draft.model)
    if not is_of_model or (row.text, row.description) == (draft.text, draft.description):
        return row
    says_why_unnamed = not draft.text and row.description == draft.description
    return replace(row, source=Source.HUMAN, model=None, description="" if says_why_unnamed else row.description)


def _says_the_same(row: LabelRow, draft: Draft) -> bool:
    """Whether a row has the active label; a person's stays one, whatever source the row still names."""
    if (row.text, row.description) != (draft.text, draft.description):
        return False
    return draft.source is Source.HUMAN or (row.source, row.model) == (draft.source, draft.model)


def _draft(row: LabelRow, user: str) -> Draft:
    return Draft(
        index=row.index,
        text=row.text,
        description=row.description,
        source=row.source,
        model=row.model,
        author=_author(row.author, user),
    )


def _author(author: str | None, user: str) -> str | None:
    """Who wrote a label by the file, behind the one who vouches for it where keys are in use."""
    prefix = f"{user}, for "
    if not user or not author:
        return user or author
    return author if author == user or author.startswith(prefix) else f"{prefix}{author}"


async def _receive(chunks: AsyncIterator[bytes], file: IO[bytes]) -> None:
    """Writes a file, which is at its beginning then. Raises FileTooLarge."""
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > MAX_BYTES:
            raise FileTooLarge(f"the file has more than {MAX_BYTES:,} bytes", metadata={"limit": str(MAX_BYTES)})
        await asyncio.to_thread(file.write, chunk)
    file.seek(0)
