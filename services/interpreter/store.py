"""The interpreter's SQL: interpretations, labels and their history, families. All calls block.

All methods raise DatabaseUnavailable and StorageFull.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, bindparam, delete, func, insert, select, update

from services.chassis.blobs import Blob, Blobs
from services.chassis.database import Database, once, repeats_transactions
from services.chassis.history import Histories
from services.chassis.idempotency import Call, Requests
from services.chassis.moments import utc_now
from services.interpreter import sql_rows
from services.interpreter.errors import LabelNotFound, RunNotFound
from services.interpreter.families import Family, Member
from services.interpreter.labels import DatasetKey, Draft, Label, LabelScores, Provenance, Source, seen_rows
from services.interpreter.runs import Interpretation, Run
from services.interpreter.tables import ACTIVE, HISTORIES, INTERPRETATIONS, LABELS, REQUESTS

HISTORY = Histories(
    HISTORIES,
    uid=INTERPRETATIONS.c.run_uid,
    revision=INTERPRETATIONS.c.label_revision,
    living=INTERPRETATIONS.c.delete_time.is_(None),
)
ANSWERS = Requests(REQUESTS)
_SAME_FEATURE = and_(ACTIVE.c.run_uid == LABELS.c.run_uid, ACTIVE.c.feature == LABELS.c.feature)
"""Joins a label to its feature's active label."""
_ACTIVE = and_(_SAME_FEATURE, ACTIVE.c.revision == LABELS.c.revision)
"""Joins a label to itself if it is active."""
_BRIEF_COLUMNS = [column for column in LABELS.c if column.name not in ("provenance", "measurements")]
"""What is read of the labels of all features: the rest is long."""
_FEATURES_AT_ONCE = 500
"""Features of one `IN (…)`."""


@dataclass(frozen=True)
class LabelChanges:
    """Active labels that changed, by index; and what a follower stores to read the next changes."""

    labels: Mapping[int, Label]
    revision: int
    history: str


@repeats_transactions
class Store:
    """Interpretations, labels and their history, families."""

    def __init__(self, database: Database, blobs: Blobs) -> None:
        self._database = database
        self._blobs = blobs

    def begin_histories(self) -> None:
        """Begins a new history of every run's labels. Call it once at start."""
        with self._database.write() as connection:
            HISTORY.renew(connection)

    def sweep_requests(self) -> None:
        """Forgets answers by request id that are older than 30 days."""
        with self._database.write() as connection:
            ANSWERS.sweep(connection)

    def stored_run(self, name: str) -> Run | None:
        """The run of this name as it was last seen; None if it never was, or was deleted."""
        query = select(INTERPRETATIONS).where(INTERPRETATIONS.c.run == name, INTERPRETATIONS.c.delete_time.is_(None))
        with self._database.read() as connection:
            row = connection.execute(query).first()
        return sql_rows.interpretation(row).run if row else None

    def interpretation(self, run: Run) -> Interpretation:
        """How far a run is interpreted; not at all for a new one."""
        with self._database.read() as connection:
            row = connection.execute(_row_of(run.uid)).first()
        return sql_rows.interpretation(row) if row else Interpretation(run=run)

    def statistics_folders(self) -> list[tuple[str, str]]:
        """(uid, attempt) of all statistics that are in use."""
        query = select(INTERPRETATIONS.c.run_uid, INTERPRETATIONS.c.attempt).where(INTERPRETATIONS.c.attempt != "")
        with self._database.read() as connection:
            return [(uid, attempt) for uid, attempt in connection.execute(query)]

    def commit_statistics(
        self, run: Run, *, attempt: str, files: Sequence[Blob], row_count: int, live_count: int, file_format: int
    ) -> str | None:
        """Makes an attempt's statistics those of the run; labels count as changed, as they are shown with them.

        Returns the attempt that they replace. Raises RunNotFound if the run was deleted meanwhile.
        """
        with self._database.write() as connection:
            before = _ensure(connection, run)
            revision = before.label_revision + 1
            self._blobs.record(connection, files)
            connection.execute(update(ACTIVE).where(ACTIVE.c.run_uid == run.uid).values(changed_at=revision))
            values = {
                **sql_rows.run_values(run),
                "attempt": attempt,
                "statistics_revision": run.revision,
                "statistics_history": run.history,
                "statistics_time": utc_now(),
                "row_count": row_count,
                "live_count": live_count,
                "statistics_format": file_format,
                "label_revision": revision,
            }
            _change(connection, run.uid, values)
            return before.attempt or None

    def confirm_history(self, run: Run) -> None:
        """Records that the run's statistics are also those of its newest history."""
        with self._database.write() as connection:
            _change(connection, run.uid, {"statistics_history": run.history})

    def commit_families(self, run: Run, families: Sequence[Family]) -> None:
        """Replaces the families of a run; labels count as changed, as they are read with their features' families.

        Raises RunNotFound if the run was deleted meanwhile.
        """
        values = [asdict(family) for family in families]
        with self._database.write() as connection:
            revision = _ensure(connection, run).label_revision + 1
            connection.execute(update(ACTIVE).where(ACTIVE.c.run_uid == run.uid).values(changed_at=revision))
            changes = {"families": values, "families_time": utc_now(), "family_count": len(values)}
            _change(connection, run.uid, {**changes, "label_revision": revision})

    def families(self, uid: str) -> list[Family]:
        """The families of a run; none before they are built."""
        query = select(INTERPRETATIONS.c.families).where(INTERPRETATIONS.c.run_uid == uid)
        with self._database.read() as connection:
            values = connection.execute(query).scalar()
        return [
            Family(
                id=family["id"],
                round=family["round"],
                color=family["color"],
                members=[Member(**member) for member in family["members"]],
                label=sql_rows.family_label(family.get("label")),
            )
            for family in values or ()
        ]

    def repeated_label(self, run: Run, call: Call | None) -> Label | None:
        """The label that this call added before; None for a new call. Raises RequestIdReused."""
        with self._database.read() as connection:
            answer = ANSWERS.answer(connection, call)
            return _answered_label(connection, run, answer) if answer is not None else None

    def add_label(self, run: Run, draft: Draft, call: Call | None = None) -> Label:
        """Adds one label and makes it the active one; for a repeated call, returns the label of the first.

        Raises RunNotFound if the run was deleted meanwhile, RequestIdReused.
        """
        with self._database.write() as connection:
            answer = ANSWERS.answer(connection, call)
            if answer is not None:
                return _answered_label(connection, run, answer)
            (label,) = _add(connection, run, [draft], over_people=True)
            answer = json.dumps({"feature": draft.index, "revision": label.revision}).encode()
            ANSWERS.store(connection, call, answer, resource_uid=run.uid)
            return label

    def add_labels(self, run: Run, drafts: Sequence[Draft]) -> list[Label]:
        """Adds labels, at most one for each feature, all or none.

        They become the active ones, except where a person's label is active. Raises RunNotFound if the run was deleted
        meanwhile.
        """
        with self._database.write() as connection:
            return _add(connection, run, drafts, over_people=False)

    @once
    def replace_labels(self, run: Run, select: Callable[[Mapping[int, Label]], Sequence[Draft]]) -> list[Label]:
        """Adds the labels that `select` returns for the active ones by index, and makes them active, all or none.

        At most one for each feature. Raises RunNotFound if the run was deleted meanwhile.
        """
        with self._database.write() as connection:
            _ensure(connection, run)
            drafts = select(_active_labels(connection, run.uid))
            return _add(connection, run, drafts, over_people=True) if drafts else []

    def carry_labels(
        self, source: Run, run: Run, matches: Sequence[tuple[int, int]], call: Call | None = None
    ) -> tuple[int, int]:
        """Adds the active labels of one run's features to the features of another that they match.

        matches: (feature of the source, feature of the run). None is added where a person wrote the active label, or
        where it says the same already. Returns how many matched and how many labels were added; for a repeated call,
        what the first one returned. Raises RunNotFound, RequestIdReused.
        """
        with self._database.write() as connection:
            answer = ANSWERS.answer(connection, call)
            if answer is not None:
                counts = json.loads(answer)
                return counts["matched"], counts["carried"]
            theirs, ours = _complete_labels(connection, source.uid), _active_labels(connection, run.uid)
            drafts = [
                copy
                for source_index, index in matches
                if source_index in theirs
                and (copy := _copy(source, theirs[source_index], index, existing=ours.get(index))) is not None
            ]
            if drafts:
                _add(connection, run, drafts, over_people=False)
            answer = json.dumps({"matched": len(matches), "carried": len(drafts)}).encode()
            ANSWERS.store(connection, call, answer, resource_uid=run.uid)
            return len(matches), len(drafts)

    def activate(self, run: Run, index: int, revision: int) -> Label:
        """Makes a label of the history the active one. Raises LabelNotFound, RunNotFound."""
        with self._database.write() as connection:
            reached = _ensure(connection, run).label_revision + 1
            row = connection.execute(_label_row(run.uid, index, revision)).first()
            if row is None:
                name = f"{run.name}/features/{index}/labels/{revision}"
                raise LabelNotFound(f"there is no label {name}", metadata={"label": name})
            _activate(connection, run.uid, {index: revision}, reached)
            return sql_rows.label(row, active=True)

    def label_history(self, uid: str, index: int, *, before: int | None = None, limit: int) -> list[Label]:
        """Labels of a feature, the newest first; only those before a revision."""
        query = (
            select(LABELS, (ACTIVE.c.revision == LABELS.c.revision).label("active"))
            .join(ACTIVE, _SAME_FEATURE, isouter=True)
            .where(LABELS.c.run_uid == uid, LABELS.c.feature == index)
            .order_by(LABELS.c.revision.desc())
            .limit(limit)
        )
        if before is not None:
            query = query.where(LABELS.c.revision < before)
        with self._database.read() as connection:
            return [sql_rows.label(row, active=bool(row.active)) for row in connection.execute(query)]

    def labels_between(self, uid: str, first: int, end: int, *, active_only: bool) -> list[Label]:
        """The labels of the features from `first` to before `end`, by feature, the newest last."""
        active = ACTIVE.c.revision == LABELS.c.revision
        query = (
            select(*_BRIEF_COLUMNS, active.label("active"))
            .join(ACTIVE, _SAME_FEATURE, isouter=True)
            .where(LABELS.c.run_uid == uid, LABELS.c.feature >= first, LABELS.c.feature < end)
            .order_by(LABELS.c.feature, LABELS.c.revision)
        )
        with self._database.read() as connection:
            rows = connection.execute(query.where(active) if active_only else query)
            return [sql_rows.label(row, active=bool(row.active)) for row in rows]

    def active_labels(self, uid: str, since: int = 0) -> dict[int, Label]:
        """The active labels that changed after a revision, by index."""
        with self._database.read() as connection:
            return _active_labels(connection, uid, since)

    def label_changes(self, uid: str, *, since: int, history: str) -> LabelChanges:
        """The active labels that changed after a revision of a history; after revision 0 all. Raises HistoryChanged."""
        with self._database.read() as connection:
            current = HISTORY.check(connection, uid, history=history, revision=since)
            query = select(INTERPRETATIONS.c.label_revision).where(INTERPRETATIONS.c.run_uid == uid)
            revision = connection.execute(query).scalar() or 0
            return LabelChanges(_active_labels(connection, uid, since), revision, current)

    def labelled_by(self, uid: str, job: str) -> set[int]:
        """The features that a job has labelled."""
        query = select(LABELS.c.feature).where(LABELS.c.run_uid == uid, LABELS.c.job == job)
        with self._database.read() as connection:
            return set(connection.execute(query).scalars())

    def complete_labels(self, uid: str, indices: Sequence[int]) -> dict[int, Label]:
        """The active labels of some features with all that is stored of them, by index."""
        with self._database.read() as connection:
            return _complete_labels(connection, uid, indices)

    def score_labels(self, run: Run, results: Sequence[LabelScores], job: str) -> None:
        """Replaces the scores of labels, all or none. Those that are active count as changed.

        Raises RunNotFound if the run was deleted meanwhile.
        """
        if not results:
            return
        with self._database.write() as connection:
            reached = _ensure(connection, run).label_revision + 1
            for result in results:
                of_label = (
                    LABELS.c.run_uid == run.uid,
                    LABELS.c.feature == result.index,
                    LABELS.c.revision == result.revision,
                )
                connection.execute(
                    update(LABELS).where(*of_label).values(**sql_rows.score_values(result), scored_by=job)
                )
                is_active = (
                    ACTIVE.c.run_uid == run.uid,
                    ACTIVE.c.feature == result.index,
                    ACTIVE.c.revision == result.revision,
                )
                connection.execute(update(ACTIVE).where(*is_active).values(changed_at=reached))
            _change(connection, run.uid, {"label_revision": reached})

    def scored_by(self, uid: str, job: str) -> dict[int, int]:
        """The features whose labels a job has scored, with the questions that it asked a judge."""
        query = select(LABELS.c.feature, LABELS.c.measurements).where(
            LABELS.c.run_uid == uid, LABELS.c.scored_by == job
        )
        with self._database.read() as connection:
            return {
                feature: sum(scorer["question_count"] for scorer in values["scorers"])
                for feature, values in connection.execute(query)
            }

    def forget(self, run: Run) -> bool:
        """Deletes all that derives from a run and leaves a tombstone; returns whether files may be left to delete."""
        with self._database.write() as connection:
            row = connection.execute(_row_of(run.uid)).first()
            if row is not None and row.delete_time is not None:
                return False
            for table in (LABELS, ACTIVE):
                connection.execute(delete(table).where(table.c.run_uid == run.uid))
            ANSWERS.forget(connection, run.uid)
            HISTORY.forget(connection, run.uid)
            if row is None:
                _insert(connection, run)
            changes = {"delete_time": utc_now(), "families": None, "attempt": "", "label_revision": 0}
            _change(connection, run.uid, {**changes, "labelled_count": 0, "unnamed_count": 0, "family_count": 0})
            return row is not None


def _row_of(uid: str) -> Select[Any]:
    return select(INTERPRETATIONS).where(INTERPRETATIONS.c.run_uid == uid)


def _label_row(uid: str, index: int, revision: int) -> Select[Any]:
    return select(LABELS).where(LABELS.c.run_uid == uid, LABELS.c.feature == index, LABELS.c.revision == revision)


def _insert(connection: Connection, run: Run) -> None:
    empty = {"run_uid": run.uid, "attempt": "", "statistics_revision": 0, "label_revision": 0}
    connection.execute(insert(INTERPRETATIONS).values(**empty, **sql_rows.run_values(run)))


def _ensure(connection: Connection, run: Run) -> Row[Any]:
    """The run's row, inserted if there is none. Raises RunNotFound for a tombstone."""
    row = connection.execute(_row_of(run.uid)).first()
    if row is None:
        _insert(connection, run)
        HISTORY.begin(connection, run.uid)
        row = connection.execute(_row_of(run.uid)).one()
    if row.delete_time is not None:
        raise RunNotFound(f"{run.name} was deleted", metadata={"run": run.name})
    return row


def _change(connection: Connection, uid: str, values: Mapping[str, Any]) -> None:
    connection.execute(update(INTERPRETATIONS).where(INTERPRETATIONS.c.run_uid == uid).values(values))


def _active_labels(connection: Connection, uid: str, since: int = 0) -> dict[int, Label]:
    query = (
        select(*_BRIEF_COLUMNS)
        .join(ACTIVE, _ACTIVE)
        .where(LABELS.c.run_uid == uid, ACTIVE.c.run_uid == uid, ACTIVE.c.changed_at > since)
        .order_by(LABELS.c.feature)
    )
    return {row.feature: sql_rows.label(row, active=True) for row in connection.execute(query)}


def _complete_labels(connection: Connection, uid: str, indices: Sequence[int] | None = None) -> dict[int, Label]:
    """The active labels of some features, or of all, with their provenance."""
    query = select(LABELS).join(ACTIVE, _ACTIVE).where(LABELS.c.run_uid == uid, ACTIVE.c.run_uid == uid)
    queries = [query] if indices is None else [query.where(LABELS.c.feature.in_(part)) for part in _parts(indices)]
    return {
        row.feature: sql_rows.label(row, active=True) for statement in queries for row in connection.execute(statement)
    }


def _copy(source: Run, label: Label, index: int, *, existing: Label | None) -> Draft | None:
    """A copy of another run's label; None where that has no text, or the feature keeps its own.

    It remembers the documents that it was made with, which cannot test it here either.
    """
    if not label.draft.text:
        return None
    name = f"{source.name}/features/{label.draft.index}/labels/{label.revision}"
    draft = replace(
        label.draft,
        index=index,
        positive_rows=(),
        negative_rows=(),
        job=None,
        carried_from=name,
        scores=None,
        provenance=_carried(source, label.draft),
        measurements=None,
    )
    if existing is None:
        return draft
    same = (existing.draft.text, existing.draft.description) == (draft.text, draft.description)
    return None if same or existing.draft.source is Source.HUMAN else draft


def _carried(source: Run, draft: Draft) -> Provenance | None:
    """What a carried label was made with; None where that is not recorded."""
    rows = seen_rows(draft)
    return rows and Provenance(
        origin=draft.provenance.origin if draft.provenance else None,
        rejected=(),
        writing_rows=rows.writing,
        choosing_rows=rows.choosing,
        scoring_rows=(),
        hard_rows=(),
        dataset=rows.dataset or DatasetKey(name=source.dataset, uid=source.dataset_uid),
    )


def _add(connection: Connection, run: Run, drafts: Sequence[Draft], *, over_people: bool) -> list[Label]:
    """Adds labels and makes them active, except over a person's label unless `over_people`."""
    reached = _ensure(connection, run).label_revision + 1
    indices = [draft.index for draft in drafts]
    last_revisions = _last_revisions(connection, run.uid, indices)
    by_people = set[int]() if over_people else _labelled_by_people(connection, run.uid, indices)
    moment = utc_now()
    labels = [
        Label(
            draft=draft,
            revision=last_revisions.get(draft.index, 0) + 1,
            active=draft.index not in by_people,
            create_time=moment,
        )
        for draft in drafts
    ]
    if labels:
        connection.execute(insert(LABELS), [sql_rows.label_values(run.uid, label) for label in labels])
    active = {label.draft.index: label.revision for label in labels if label.active}
    _activate(connection, run.uid, active, reached)
    return labels


def _activate(connection: Connection, uid: str, revisions: Mapping[int, int], reached: int) -> None:
    """Makes labels the active ones. revisions: by index. reached: the revision of the run's labels from now on."""
    existing = set[int]()
    for part in _parts(sorted(revisions)):
        query = select(ACTIVE.c.feature).where(ACTIVE.c.run_uid == uid, ACTIVE.c.feature.in_(part))
        existing.update(connection.execute(query).scalars())
    new = [
        {"run_uid": uid, "feature": index, "revision": revision, "changed_at": reached}
        for index, revision in revisions.items()
        if index not in existing
    ]
    if new:
        connection.execute(insert(ACTIVE), new)
    if existing:
        same_feature = and_(ACTIVE.c.run_uid == uid, ACTIVE.c.feature == bindparam("index"))
        statement = update(ACTIVE).where(same_feature).values(revision=bindparam("newest"), changed_at=reached)
        connection.execute(statement, [{"index": index, "newest": revisions[index]} for index in existing])
    unnamed = (
        select(func.count())
        .select_from(ACTIVE)
        .join(LABELS, _ACTIVE)
        .where(ACTIVE.c.run_uid == uid, LABELS.c.run_uid == uid, LABELS.c.text == "")
    )
    counts = {
        "labelled_count": INTERPRETATIONS.c.labelled_count + len(new),
        "unnamed_count": connection.execute(unnamed).scalar_one(),
    }
    _change(connection, uid, {"label_revision": reached, **counts})


def _last_revisions(connection: Connection, uid: str, indices: Sequence[int]) -> dict[int, int]:
    """The newest label's revision, by index."""
    revisions: dict[int, int] = {}
    for part in _parts(indices):
        query = (
            select(LABELS.c.feature, func.max(LABELS.c.revision))
            .where(LABELS.c.run_uid == uid, LABELS.c.feature.in_(part))
            .group_by(LABELS.c.feature)
        )
        revisions.update((index, revision) for index, revision in connection.execute(query))
    return revisions


def _labelled_by_people(connection: Connection, uid: str, indices: Sequence[int]) -> set[int]:
    """Which of some features have a person's label as their active one."""
    by_people: set[int] = set()
    for part in _parts(indices):
        query = (
            select(LABELS.c.feature)
            .join(ACTIVE, _ACTIVE)
            .where(LABELS.c.run_uid == uid, LABELS.c.feature.in_(part), LABELS.c.source == Source.HUMAN)
        )
        by_people.update(connection.execute(query).scalars())
    return by_people


def _parts(indices: Sequence[int]) -> list[Sequence[int]]:
    return [indices[start : start + _FEATURES_AT_ONCE] for start in range(0, len(indices), _FEATURES_AT_ONCE)]


def _answered_label(connection: Connection, run: Run, answer: bytes) -> Label:
    """The label that a stored answer refers to."""
    values = json.loads(answer)
    index, revision = values["feature"], values["revision"]
    row = connection.execute(_label_row(run.uid, index, revision)).first()
    if row is None:
        raise RunNotFound(f"{run.name} was deleted", metadata={"run": run.name})
    query = select(ACTIVE.c.revision).where(ACTIVE.c.run_uid == run.uid, ACTIVE.c.feature == index)
    return sql_rows.label(row, active=connection.execute(query).scalar() == revision)
