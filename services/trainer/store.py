"""The trainer's SQL: runs, their metrics and their codes. All calls block; callers use threads."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, bindparam, delete, func, insert, select, update

from services.chassis import names
from services.chassis.blobs import Blob, Blobs
from services.chassis.database import Database, newest_first, repeats_transactions
from services.chassis.filters import Comparison, Filter, Leaf, evaluate
from services.chassis.history import Histories
from services.chassis.idempotency import Call, Requests
from services.chassis.moments import utc_now
from services.chassis.sql_filters import SQL
from services.trainer import sql_rows
from services.trainer.code_index import ALL_CODES, CodeFile, CodeIndex, CodeSelection, Deletion
from services.trainer.errors import RunExists, RunNotFound
from services.trainer.runs import Coverage, DatasetChanges, NewRun, Run, Selection, weights_path
from services.trainer.sae.codes import CodeShard
from services.trainer.sae.config import Config
from services.trainer.sae.sizing import Sizing
from services.trainer.tables import BLOBS, CODE_DELETIONS, CODE_SHARDS, HISTORIES, METRICS, REQUESTS, RUNS
from services.trainer.training.protocol import Quality

_HISTORY = Histories(HISTORIES, uid=RUNS.c.uid, revision=RUNS.c.revision, living=RUNS.c.delete_time.is_(None))
_ANSWERS = Requests(REQUESTS)
_ATTEMPT = select(RUNS.c.attempt).where(RUNS.c.id == bindparam("run_id"), RUNS.c.delete_time.is_(None))
_SIBLINGS = 1000
"""Runs of a dataset that are searched for one that differs in its seed only."""


@dataclass(frozen=True)
class TrainingResult:
    """What a training has written."""

    attempt: str
    """Folder of the weights."""
    shards: Sequence[CodeShard]
    dead_count: int
    quality: Quality | None
    """None for imported weights."""
    blobs: Sequence[Blob]


@dataclass(frozen=True)
class NewCodes:
    """Codes that follow a change of the dataset."""

    files: Sequence[tuple[str, CodeShard]]
    """Path and content of each new file."""
    deleted: Sequence[tuple[int, int]]
    """Inclusive ranges of rows whose codes are deleted."""
    code_count: int
    dead_count: int
    coded_revision: int
    """The dataset's revision that the codes reflect now."""
    coded_history: str
    blobs: Sequence[Blob]
    replaces_all: bool = False
    """Whether all earlier files are dropped."""


@repeats_transactions
class Store:
    """Runs, metrics and codes."""

    def __init__(self, database: Database, blobs: Blobs) -> None:
        self._database = database
        self._blobs = blobs
        self._weights: dict[str, tuple[int | None, str]] = {}
        """Of trained runs: the database's count of writes before their weights' path was read, and the path."""

    def begin_histories(self) -> None:
        """Begins a new history for each run; call it once at start."""
        with self._database.write() as connection:
            _HISTORY.renew(connection)

    def answered(self, call: Call | None) -> Run | None:
        """The run that an earlier call with this request id created. Raises RequestIdReused, RunNotFound."""
        if call is None:
            return None
        with self._database.read() as connection:
            return _answered(connection, call)

    def create(self, new: NewRun, call: Call | None = None, *, blobs: Sequence[Blob] = ()) -> Run:
        """Creates a run, and records its blobs; the same call returns the same run.

        Raises RunExists, RequestIdReused.
        """
        with self._database.write() as connection:
            earlier = _answered(connection, call)
            if earlier is not None:
                return earlier
            run_id = new.run_id or _free_id(connection, new)
            if _find(connection, run_id) is not None:
                raise RunExists(
                    f"runs/{run_id} exists; choose another id, or none to have one generated",
                    metadata={"run": f"runs/{run_id}"},
                )
            uid = new.uid or names.new_uid()
            connection.execute(insert(RUNS).values(sql_rows.run_values(new, run_id, uid)))
            _HISTORY.begin(connection, uid)
            self._blobs.record(connection, blobs)
            _ANSWERS.store(connection, call, uid.encode(), resource_uid=uid)
            return _by_uid(connection, uid)

    def run(self, run_id: str) -> Run:
        """A run by id. Raises RunNotFound."""
        with self._database.read() as connection:
            return _run(connection, _need(connection, run_id))

    def weights(self, run_id: str) -> str | None:
        """Path of a run's weights, with one short statement; None if it has none yet. Raises RunNotFound."""
        write_count = self._database.write_count
        with self._database.read() as connection:
            row = connection.execute(_ATTEMPT, {"run_id": run_id}).first()
        if row is None:
            raise _run_not_found(run_id)
        if not row.attempt:
            return None
        self._weights[run_id] = write_count, weights_path(row.attempt)
        return weights_path(row.attempt)

    def known_weights(self, run_id: str) -> str | None:
        """As `weights`, if it is known without asking the database: nothing was written since it was asked."""
        write_count, path = self._weights.get(run_id, (None, None))
        return path if write_count is not None and write_count == self._database.write_count else None

    def runs(self, after: Sequence[Any] | None, limit: int, condition: Filter, *, show_deleted: bool) -> list[Run]:
        """Runs, newest first, after the (create time, uid) of a page's last run."""
        query = newest_first(RUNS, after, limit)
        if not show_deleted:
            query = query.where(RUNS.c.delete_time.is_(None))
        query = query.where(evaluate(condition, _matches, SQL))
        with self._database.read() as connection:
            return _runs(connection, query)

    def living_runs(self) -> list[Run]:
        """All runs that are not deleted."""
        with self._database.read() as connection:
            return _living(connection)

    def change(self, run_id: str, *, uid: str | None = None, **values: Any) -> Run:
        """Changes columns of a run. Raises RunNotFound, also when its name belongs to another run than `uid` now."""
        with self._database.write() as connection:
            row = _need(connection, run_id, uid)
            _update(connection, row.uid, values)
            return _by_uid(connection, row.uid)

    def begin_training(self, run: Run, selection: Selection, config: Config | None, *, job: str, device: str) -> Run:
        """Fixes the run's rows, and its configuration if that is known, unless an earlier attempt did.

        Notes job and device. Raises RunNotFound.
        """
        with self._database.write() as connection:
            row = _need(connection, run.id, run.uid)
            values: dict[str, Any] = {"job": job, "device": device}
            if row.source.get("ranges") is None:
                values["source"] = sql_rows.source_values(run.source, selection)
                if config is not None:
                    values |= _of_config(run, row, config)
            _update(connection, run.uid, values)
            return _by_uid(connection, run.uid)

    def size(self, run: Run, config: Config, sizing: Sizing) -> Run:
        """Keeps the configuration that was chosen for the data. Raises RunNotFound."""
        with self._database.write() as connection:
            row = _need(connection, run.id, run.uid)
            values = {**_of_config(run, row, config), "sizing": sizing.to_dict()}
            _update(connection, run.uid, values)
            return _by_uid(connection, run.uid)

    def commit(self, run: Run, result: TrainingResult) -> Run:
        """Makes an attempt's weights and codes those of the run; if the run is trained already, changes nothing.

        Raises RunNotFound.
        """
        assert run.selection is not None
        with self._database.write() as connection:
            row = _need(connection, run.id, run.uid)
            if row.attempt:
                return _run(connection, row)
            revision = row.revision + 1
            files = [(f"{result.attempt}/{shard.name}", shard) for shard in result.shards]
            _insert_files(connection, run.uid, revision, files)
            self._blobs.record(connection, result.blobs)
            changes = {
                "attempt": result.attempt,
                "revision": revision,
                "train_time": utc_now(),
                "code_count": run.selection.row_count,
                "dead_count": result.dead_count,
                "quality": None if result.quality is None else result.quality.to_dict(),
                "embedded_count": row.embedded_count or run.selection.row_count,
                "coded_revision": run.selection.revision,
                "coded_history": run.selection.history,
            }
            _update(connection, run.uid, changes)
            return _by_uid(connection, run.uid)

    def commit_codes(self, run: Run, codes: NewCodes) -> tuple[Run, bool]:
        """Adds codes that follow the dataset, unless the run's codes have changed since it was read.

        Returns the run as it is then, and whether the codes were added. Raises RunNotFound.
        """
        with self._database.write() as connection:
            row = _need(connection, run.id, run.uid)
            if row.revision != run.revision:
                return _run(connection, row), False
            changes: dict[str, Any] = {
                "coded_revision": codes.coded_revision,
                "coded_history": codes.coded_history,
                "code_count": codes.code_count,
                "dead_count": codes.dead_count,
            }
            if codes.files or codes.deleted or codes.replaces_all:
                changes["revision"] = row.revision + 1
                self._insert_codes(connection, run.uid, codes, row.revision + 1)
            _update(connection, run.uid, changes)
            return _by_uid(connection, run.uid), True

    def code_index(self, run: Run, selection: CodeSelection = ALL_CODES) -> tuple[Run, CodeIndex]:
        """The run and its files of codes, in one view: as far as a selection needs them.

        Raises HistoryChanged, RunNotFound.
        """
        follower, intervals = selection.follower, selection.intervals
        with self._database.read() as connection:
            row = _need(connection, run.id, run.uid)
            _HISTORY.check(connection, run.uid, history=follower.history, revision=follower.revision)
            shards = connection.execute(
                select(CODE_SHARDS).where(CODE_SHARDS.c.run_uid == run.uid).order_by(CODE_SHARDS.c.first_row)
            )
            files = [CodeFile(path=row.path, revision=row.revision, shard=sql_rows.code_shard(row)) for row in shards]
            query = select(CODE_DELETIONS).where(CODE_DELETIONS.c.run_uid == run.uid)
            if not follower.revision and intervals:  # a follower is told of all deletions
                first, end = intervals[0][0], intervals[-1][1]
                query = query.where(CODE_DELETIONS.c.last_row >= first, CODE_DELETIONS.c.first_row < end)
            deletions = connection.execute(query.order_by(CODE_DELETIONS.c.revision))
            return _run(connection, row), CodeIndex(
                files=sorted(files, key=lambda file: (file.shard.first_row or 0, file.path)),
                deletions=[Deletion(row.revision, row.first_row, row.last_row) for row in deletions],
            )

    def _insert_codes(self, connection: Connection, uid: str, codes: NewCodes, revision: int) -> None:
        if codes.replaces_all:
            connection.execute(delete(CODE_SHARDS).where(CODE_SHARDS.c.run_uid == uid))
        _insert_files(connection, uid, revision, codes.files)
        deletions = [
            {"run_uid": uid, "revision": revision, "first_row": first, "last_row": last}
            for first, last in codes.deleted
        ]
        if deletions:
            connection.execute(insert(CODE_DELETIONS), deletions)
        self._blobs.record(connection, codes.blobs)

    def delete(self, run_id: str) -> Run:
        """Leaves a tombstone. Raises RunNotFound."""
        with self._database.write() as connection:
            uid = _need(connection, run_id).uid
            _update(connection, uid, {"delete_time": utc_now()})
            for table in (METRICS, CODE_SHARDS, CODE_DELETIONS):
                connection.execute(delete(table).where(table.c.run_uid == uid))
            _ANSWERS.forget(connection, uid)
            return _by_uid(connection, uid)

    def other_seed(self, run: Run) -> Run | None:
        """The newest other trained run on the run's dataset whose configuration differs in its seed only.

        A copy of another run's weights (`EncodeDataset`) is none.
        """
        query = newest_first(RUNS, None, _SIBLINGS).where(
            RUNS.c.delete_time.is_(None), RUNS.c.attempt != "", RUNS.c.dataset_uid == run.source.dataset_uid
        )
        with self._database.read() as connection:
            for other in _runs(connection, query):
                if run.config is None or other.config is None or other.uid == run.uid:
                    continue
                if (other.imported_from or "").startswith("runs/"):
                    continue
                same_recipe = replace(other.config, seed=run.config.seed) == run.config
                if same_recipe and other.imported_from == run.imported_from:
                    return other
        return None

    def add_metrics(self, uid: str, values: Mapping[str, Any]) -> None:
        """Keeps the metrics of a step, in place of earlier ones of the same step."""
        with self._database.write(uid) as connection:
            same_step = and_(METRICS.c.run_uid == uid, METRICS.c.step == values["step"])
            connection.execute(delete(METRICS).where(same_step))
            connection.execute(insert(METRICS).values(run_uid=uid, step=values["step"], values=dict(values)))

    def metrics(self, uid: str, after_step: int) -> list[Mapping[str, Any]]:
        """Metrics after a step, in order."""
        query = (
            select(METRICS.c["values"])
            .where(METRICS.c.run_uid == uid, METRICS.c.step > after_step)
            .order_by(METRICS.c.step)
        )
        with self._database.read() as connection:
            return list(connection.execute(query).scalars())

    def fingerprints(self) -> set[str]:
        """Fingerprints of the vectors that living runs are trained on."""
        query = select(RUNS.c.fingerprint).where(RUNS.c.delete_time.is_(None), RUNS.c.fingerprint != "")
        with self._database.read() as connection:
            return set(connection.execute(query).scalars())

    def note_embedded(self, run: Run, embedded_count: int) -> None:
        """Notes how many embedded documents a run's dataset has, unless the run was deleted."""
        with self._database.write() as connection:
            values = {"embedded_count": embedded_count}
            connection.execute(update(RUNS).where(RUNS.c.uid == run.uid).values(values))

    def note_changes(self, run: Run, changes: DatasetChanges) -> None:
        """Notes how a run's dataset has changed since the run was trained on it, unless the run was deleted."""
        with self._database.write() as connection:
            values = {"dataset_changes": asdict(changes)}
            connection.execute(update(RUNS).where(RUNS.c.uid == run.uid).values(values))

    def note_coded(self, run: Run, coverage: Coverage) -> None:
        """Notes that a run's codes reflect a later state of the dataset too, unless they have changed meanwhile."""
        with self._database.write() as connection:
            values = {"coded_revision": coverage.revision, "coded_history": coverage.history}
            same = (RUNS.c.uid == run.uid) & (RUNS.c.revision == run.revision)
            connection.execute(update(RUNS).where(same).values(values))

    def forget_damaged_codes(self, paths: Collection[str]) -> None:
        """Has all codes of the runs with codes in these files written again: they count as those of no dataset."""
        damaged = select(CODE_SHARDS.c.run_uid).where(CODE_SHARDS.c.path.in_(paths))
        with self._database.write() as connection:
            forgotten = {"coded_revision": None, "coded_history": None}
            connection.execute(update(RUNS).where(RUNS.c.uid.in_(damaged)).values(forgotten))

    def blobs_of_runs(self) -> list[str]:
        """Paths of the blobs of all trained runs."""
        with self._database.read() as connection:
            return _blobs_of(connection, _living(connection))

    def named_blobs(self) -> list[str]:
        """Paths of blobs, and folders of blobs, that living runs need: read in one transaction."""
        with self._database.read() as connection:
            runs = _living(connection)
            return [*_blobs_of(connection, runs), *(run.folder for run in runs if not run.trained)]

    def deleted_folders(self) -> list[str]:
        """Folders of all deleted runs, whether there is anything left in them or not."""
        with self._database.read() as connection:
            uids = connection.execute(select(RUNS.c.uid).where(RUNS.c.delete_time.is_not(None))).scalars()
            return [f"runs/{uid}" for uid in uids]

    def recorded_folders(self) -> set[str]:
        """Folders of runs that have recorded blobs."""
        with self._database.read() as connection:
            paths = connection.execute(select(BLOBS.c.path)).scalars()
            return {"/".join(path.split("/")[:2]) for path in paths}

    def sweep_answers(self) -> None:
        """Forgets request ids of a month ago."""
        with self._database.write() as connection:
            _ANSWERS.sweep(connection)


def _answered(connection: Connection, call: Call | None) -> Run | None:
    answer = _ANSWERS.answer(connection, call)
    return None if answer is None else _by_uid(connection, answer.decode())


def _living(connection: Connection) -> list[Run]:
    return _runs(connection, select(RUNS).where(RUNS.c.delete_time.is_(None)))


def _blobs_of(connection: Connection, runs: Sequence[Run]) -> list[str]:
    trained = [run for run in runs if run.trained]
    imported = [run.imported_weights for run in trained if run.imported_from is not None]
    stabilities = [run.stability for run in trained if run.stability is not None]
    weights = [run.weights for run in trained]
    return [*weights, *stabilities, *imported, *connection.execute(select(CODE_SHARDS.c.path)).scalars()]


def _find(connection: Connection, run_id: str) -> Row[Any] | None:
    return connection.execute(select(RUNS).where(RUNS.c.id == run_id, RUNS.c.delete_time.is_(None))).first()


def _matches(leaf: Leaf) -> ColumnElement[bool]:
    assert isinstance(leaf, Comparison), "these columns are never absent"
    if leaf.field == "dataset":
        condition = RUNS.c.dataset == leaf.value
    else:
        condition = (RUNS.c.attempt != "") if leaf.value == "TRAINED" else (RUNS.c.attempt == "")
    return condition if leaf.op == "=" else ~condition


def _need(connection: Connection, run_id: str, uid: str | None = None) -> Row[Any]:
    row = _find(connection, run_id)
    if row is None or (uid is not None and row.uid != uid):
        raise _run_not_found(run_id)
    return row


def _run_not_found(run_id: str) -> RunNotFound:
    return RunNotFound(f"there is no run runs/{run_id}, or it was deleted", metadata={"run": f"runs/{run_id}"})


def _by_uid(connection: Connection, uid: str) -> Run:
    return _run(connection, connection.execute(select(RUNS).where(RUNS.c.uid == uid)).one())


def _update(connection: Connection, uid: str, values: Mapping[str, Any]) -> None:
    connection.execute(update(RUNS).where(RUNS.c.uid == uid).values(**values, update_time=utc_now()))


def _free_id(connection: Connection, new: NewRun) -> str:
    stem = f"{new.source.dataset.removeprefix('datasets/')[:80]}-{new.title}"
    return names.free_id(stem, lambda candidate: _find(connection, candidate) is not None)


def _insert_files(connection: Connection, uid: str, revision: int, files: Sequence[tuple[str, CodeShard]]) -> None:
    if not files:
        return
    rows = [
        {
            "run_uid": uid,
            "path": path,
            "revision": revision,
            "first_row": shard.first_row,
            "last_row": shard.last_row,
            "row_count": shard.row_count,
        }
        for path, shard in files
    ]
    connection.execute(insert(CODE_SHARDS), rows)


def _runs(connection: Connection, query: Select[Any]) -> list[Run]:
    """The runs of a query, with three statements however many there are."""
    rows = connection.execute(query).all()
    uids = [row.uid for row in rows]
    histories = _HISTORY.current_of(connection, uids)
    metrics = _latest_metrics(connection, uids)
    return [sql_rows.run(row, histories.get(row.uid, ""), metrics.get(row.uid)) for row in rows]


def _of_config(run: Run, row: Row[Any], config: Config) -> dict[str, Any]:
    """The columns that follow from a run's complete configuration."""
    values: dict[str, Any] = {"config": config.to_dict()}
    if not row.latent_count:
        values["latent_count"] = config.latents(run.source.dimension)
    if row.display_name == run.recipe.title:
        values["display_name"] = config.title
    return values


def _run(connection: Connection, row: Row[Any]) -> Run:
    history = _HISTORY.current(connection, row.uid)
    return sql_rows.run(row, history, _latest_metrics(connection, [row.uid]).get(row.uid))


def _latest_metrics(connection: Connection, uids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    newest = (
        select(METRICS.c.run_uid, func.max(METRICS.c.step).label("step"))
        .where(METRICS.c.run_uid.in_(uids))
        .group_by(METRICS.c.run_uid)
        .subquery()
    )
    query = select(METRICS.c.run_uid, METRICS.c["values"]).join(
        newest, and_(newest.c.run_uid == METRICS.c.run_uid, newest.c.step == METRICS.c.step)
    )
    return {uid: values for uid, values in connection.execute(query)}
