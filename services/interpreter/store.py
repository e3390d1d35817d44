"""The interpreter's SQL. All calls block; they are made in threads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import Connection, Row, and_, delete, func, insert, select, update

from services.chassis.database import Database
from services.chassis.moments import utc_now
from services.interpreter.errors import LabelNotFound, RunNotFound
from services.interpreter.families import Family, Member
from services.interpreter.labels import Draft, Label, Options, Source
from services.interpreter.runs import Interpretation, Run
from services.interpreter.tables import ACTIVE, INTERPRETATIONS, LABELS

_OF_FEATURE = and_(ACTIVE.c.run_uid == LABELS.c.run_uid, ACTIVE.c.feature == LABELS.c.feature)
"""Joins a label to what its feature has in use."""
_IN_USE = and_(_OF_FEATURE, ACTIVE.c.revision == LABELS.c.revision)
"""Joins a label to its being in use."""


class Store:
    """Interpretations, labels and their history, families."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def known(self, name: str) -> Run | None:
        """The living run of this name, as last heard of."""
        query = select(INTERPRETATIONS).where(INTERPRETATIONS.c.run == name, INTERPRETATIONS.c.delete_time.is_(None))
        with self._database.read() as connection:
            found = connection.execute(query).first()
        return _interpretation(found).run if found else None

    def interpretation(self, run: Run) -> Interpretation:
        """How far a run is interpreted; nothing of it for one that is new."""
        with self._database.read() as connection:
            found = connection.execute(_of(run.uid)).first()
        return _interpretation(found) if found else Interpretation(run, "", 0, None, 0, None)

    def commit_statistics(self, run: Run, attempt: str) -> str:
        """Makes an attempt's statistics those of the run; labels count as changed, as they are shown with them.

        Returns the attempt whose files may go. Raises RunNotFound when the run was deleted meanwhile.
        """
        with self._database.write() as connection:
            before = _ensure(connection, run)
            changed = {
                "attempt": attempt,
                "statistics_revision": run.revision,
                "statistics_time": utc_now(),
                "label_revision": before.label_revision + 1,
            }
            connection.execute(
                update(ACTIVE).where(ACTIVE.c.run_uid == run.uid).values(changed_at=before.label_revision + 1)
            )
            connection.execute(
                update(INTERPRETATIONS)
                .where(INTERPRETATIONS.c.run_uid == run.uid)
                .values(**_run_values(run), **changed)
            )
            return before.attempt

    def commit_families(self, run: Run, families: Sequence[Family]) -> None:
        """Replaces the families of a run. Raises RunNotFound when the run was deleted meanwhile."""
        with self._database.write() as connection:
            _ensure(connection, run)
            values = {"families": [asdict(each) for each in families], "families_time": utc_now()}
            connection.execute(update(INTERPRETATIONS).where(INTERPRETATIONS.c.run_uid == run.uid).values(values))

    def families(self, uid: str) -> list[Family]:
        """The families of a run; none before they are built."""
        with self._database.read() as connection:
            held = connection.execute(select(INTERPRETATIONS.c.families).where(INTERPRETATIONS.c.run_uid == uid))
            return [
                Family(each["id"], each["round"], each["color"], [Member(**member) for member in each["members"]])
                for each in held.scalar() or ()
            ]

    def add_labels(self, run: Run, drafts: Sequence[Draft], *, over_people: bool) -> list[Label]:
        """Adds labels, one for each feature, and makes them the active ones, all or none.

        Where `over_people` is false, a person's active label stays the active one. Raises RunNotFound when the run was
        deleted meanwhile.
        """
        with self._database.write() as connection:
            reached = _ensure(connection, run).label_revision + 1
            last = _last_revisions(connection, run.uid, [draft.index for draft in drafts])
            people = set[int]() if over_people else _labelled_by_people(connection, run.uid)
            moment = utc_now()
            added: list[Label] = []
            for draft in drafts:
                revision = last.get(draft.index, 0) + 1
                values = {**asdict(draft), "run_uid": run.uid, "revision": revision, "create_time": moment}
                values["feature"] = values.pop("index")
                connection.execute(insert(LABELS).values(values))
                active = draft.index not in people
                if active:
                    _activate(connection, run.uid, draft.index, revision, reached)
                added.append(Label(draft, revision, active, moment))
            _reach(connection, run.uid, reached)
            return added

    def carry_labels(self, source: Run, run: Run, matches: Sequence[tuple[int, int]]) -> int:
        """Adds the active labels of one run's features to those of another that they match; returns how many.

        None is added where a person wrote the active label, or where it says the same already. Raises RunNotFound.
        """
        given, _reached = self.active_labels(source.uid)
        held, _reached = self.active_labels(run.uid)
        drafts: list[Draft] = []
        for theirs, ours in matches:
            if (label := given.get(theirs)) is None:
                continue
            name = f"{source.name}/features/{theirs}/labels/{label.revision}"
            draft = replace(label.draft, index=ours, positive_rows=(), negative_rows=(), job="", carried_from=name)
            here = held.get(ours)
            same = here is not None and (here.draft.text, here.draft.description) == (draft.text, draft.description)
            if not same and (here is None or here.draft.source is not Source.HUMAN):
                drafts.append(draft)
        return len(self.add_labels(run, drafts, over_people=False)) if drafts else 0

    def activate(self, run: Run, index: int, revision: int) -> Label:
        """Makes a label of the history the active one. Raises LabelNotFound, RunNotFound."""
        with self._database.write() as connection:
            reached = _ensure(connection, run).label_revision + 1
            here = and_(LABELS.c.run_uid == run.uid, LABELS.c.feature == index, LABELS.c.revision == revision)
            found = connection.execute(select(LABELS).where(here)).first()
            if found is None:
                name = f"{run.name}/features/{index}/labels/{revision}"
                raise LabelNotFound(f"no label is named {name}", metadata={"label": name})
            _activate(connection, run.uid, index, revision, reached)
            _reach(connection, run.uid, reached)
            return _label(found, True)

    def history(self, uid: str, index: int, before: int | None, limit: int) -> list[Label]:
        """Labels of a feature, the newest first, those before a revision."""
        query = (
            select(LABELS, (ACTIVE.c.revision == LABELS.c.revision).label("active"))
            .join(ACTIVE, _OF_FEATURE, isouter=True)
            .where(LABELS.c.run_uid == uid, LABELS.c.feature == index)
            .order_by(LABELS.c.revision.desc())
            .limit(limit)
        )
        if before is not None:
            query = query.where(LABELS.c.revision < before)
        with self._database.read() as connection:
            return [_label(row, bool(row.active)) for row in connection.execute(query)]

    def active_labels(self, uid: str, since: int = 0) -> tuple[dict[int, Label], int]:
        """Active labels that changed after a revision, by index; and the revision that the run's labels are at."""
        query = select(LABELS).join(ACTIVE, _IN_USE).where(LABELS.c.run_uid == uid, ACTIVE.c.changed_at > since)
        with self._database.read() as connection:
            found = {row.feature: _label(row, True) for row in connection.execute(query.order_by(LABELS.c.feature))}
            held = select(INTERPRETATIONS.c.label_revision).where(INTERPRETATIONS.c.run_uid == uid)
            return found, connection.execute(held).scalar() or 0

    def made_by(self, job: str) -> set[int]:
        """Features that a job has labelled."""
        with self._database.read() as connection:
            return set(connection.execute(select(LABELS.c.feature).where(LABELS.c.job == job)).scalars())

    def forget(self, run: Run) -> str:
        """Deletes all that derives from a run and leaves a tombstone; returns the attempt whose files may go."""
        with self._database.write() as connection:
            found = connection.execute(_of(run.uid)).first()
            if found is not None and found.delete_time is not None:
                return ""
            for table in (LABELS, ACTIVE):
                connection.execute(delete(table).where(table.c.run_uid == run.uid))
            if found is None:
                _insert(connection, run)
            changed = {"delete_time": utc_now(), "families": None, "attempt": "", "label_revision": 0}
            connection.execute(update(INTERPRETATIONS).where(INTERPRETATIONS.c.run_uid == run.uid).values(changed))
            return found.attempt if found else ""


def _of(uid: str) -> Any:
    return select(INTERPRETATIONS).where(INTERPRETATIONS.c.run_uid == uid)


def _insert(connection: Connection, run: Run) -> None:
    empty = {"run_uid": run.uid, "attempt": "", "statistics_revision": 0, "label_revision": 0}
    connection.execute(insert(INTERPRETATIONS).values(**empty, **_run_values(run)))


def _ensure(connection: Connection, run: Run) -> Row[Any]:
    """The run's row, made if it isn't there. Raises RunNotFound for a tombstone."""
    found = connection.execute(_of(run.uid)).first()
    if found is None:
        _insert(connection, run)
        found = connection.execute(_of(run.uid)).one()
    if found.delete_time is not None:
        raise RunNotFound(f"{run.name} was deleted", metadata={"run": run.name})
    return found


def _run_values(run: Run) -> dict[str, Any]:
    source = {
        "dataset": run.dataset,
        "dataset_uid": run.dataset_uid,
        "embedding_model": run.embedding_model,
        "latent_count": run.latent_count,
        "revision": run.revision,
        "trained": run.trained,
        "ranges": [list(each) for each in run.ranges],
    }
    return {"run": run.name, "source": source}


def _interpretation(row: Row[Any]) -> Interpretation:
    source: dict[str, Any] = dict(row.source)
    source["ranges"] = [(start, end) for start, end in source["ranges"]]
    run = Run(uid=row.run_uid, name=row.run, deleted=row.delete_time is not None, **source)
    return Interpretation(
        run, row.attempt, row.statistics_revision, row.statistics_time, row.label_revision, row.families_time
    )


def _last_revisions(connection: Connection, uid: str, indices: Sequence[int]) -> dict[int, int]:
    query = (
        select(LABELS.c.feature, func.max(LABELS.c.revision)).where(LABELS.c.run_uid == uid).group_by(LABELS.c.feature)
    )
    if len(indices) == 1:
        query = query.where(LABELS.c.feature == indices[0])
    return {index: last for index, last in connection.execute(query)}


def _labelled_by_people(connection: Connection, uid: str) -> set[int]:
    query = (
        select(LABELS.c.feature).join(ACTIVE, _IN_USE).where(LABELS.c.run_uid == uid, LABELS.c.source == Source.HUMAN)
    )
    return set(connection.execute(query).scalars())


def _activate(connection: Connection, uid: str, index: int, revision: int, reached: int) -> None:
    here = and_(ACTIVE.c.run_uid == uid, ACTIVE.c.feature == index)
    changed = connection.execute(update(ACTIVE).where(here).values(revision=revision, changed_at=reached))
    if not changed.rowcount:
        connection.execute(insert(ACTIVE).values(run_uid=uid, feature=index, revision=revision, changed_at=reached))


def _reach(connection: Connection, uid: str, reached: int) -> None:
    connection.execute(update(INTERPRETATIONS).where(INTERPRETATIONS.c.run_uid == uid).values(label_revision=reached))


def _label(row: Row[Any], active: bool) -> Label:
    draft = Draft(
        index=row.feature,
        text=row.text,
        description=row.description,
        source=Source(row.source),
        model=row.model,
        author=row.author,
        keywords=row.keywords,
        options=Options(**row.options) if row.options else None,
        positive_rows=row.positive_rows,
        negative_rows=row.negative_rows,
        job=row.job,
        carried_from=row.carried_from,
    )
    return Label(draft, row.revision, active, row.create_time)
