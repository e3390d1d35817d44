"""The trainer's SQL. All calls block; the servicer and the worker call them in threads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import Connection, Row, and_, delete, insert, select, update

from services.chassis import names
from services.chassis.database import Database, newest_first
from services.chassis.filters import Term
from services.chassis.moments import utc_now
from services.trainer.errors import RunExists, RunNotFound
from services.trainer.runs import Run, Source
from services.trainer.sae.codes import CodeShard
from services.trainer.sae.config import Config
from services.trainer.tables import METRICS, RUNS


class Store:
    """Runs and their metrics."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self,
        run_id: str,
        display_name: str,
        description: str,
        source: Source,
        config: Config,
        request_id: str,
        *,
        tags: Sequence[str] = (),
        imported_from: str = "",
        latent_count: int = 0,
        uid: str = "",
    ) -> Run:
        """Makes a run; the same request id gives the same one. Raises RunExists."""
        moment = utc_now()
        with self._database.write() as connection:
            if request_id:
                known = connection.execute(select(RUNS).where(RUNS.c.request_id == request_id)).first()
                if known is not None:
                    return _run(connection, known)
            short = imported_from or f"x{config.expansion}-k{config.k}"
            chosen = run_id or names.free_id(
                f"{source.dataset.removeprefix('datasets/')[:80]}-{short}",
                lambda candidate: _find(connection, candidate) is not None,
            )
            if _find(connection, chosen) is not None:
                raise RunExists(f"a run has the id {chosen!r}; choose another, or leave it out")
            uid = uid or names.new_uid()
            values = {
                "uid": uid,
                "id": chosen,
                "display_name": display_name or short,
                "description": description,
                "dataset": source.dataset,
                "dataset_uid": source.dataset_uid,
                "source": {
                    "revision": source.revision,
                    "ranges": [list(each) for each in source.ranges],
                    "row_count": source.row_count,
                    "embedding_model": source.embedding_model,
                    "dimension": source.dimension,
                },
                "config": config.to_dict(),
                "attempt": "",
                "shards": [],
                "revision": 1,
                "job": "",
                "fingerprint": "",
                "device": "",
                "create_time": moment,
                "update_time": moment,
                "request_id": request_id or None,
                "tags": list(tags),
                "imported_from": imported_from,
                "latent_count": latent_count or config.expansion * source.dimension,
            }
            connection.execute(insert(RUNS).values(values))
            return _run(connection, _by_uid(connection, uid))

    def run(self, run_id: str) -> Run:
        """A run. Raises RunNotFound."""
        with self._database.read() as connection:
            return _run(connection, _need(connection, run_id))

    def runs(self, after: Sequence[Any] | None, limit: int, terms: Sequence[Term], show_deleted: bool) -> list[Run]:
        """Runs, the newest first, after the (create time, uid) given."""
        query = newest_first(RUNS, after, limit)
        if not show_deleted:
            query = query.where(RUNS.c.delete_time.is_(None))
        for term in terms:
            if term.field == "dataset":
                condition = RUNS.c.dataset == term.value
            else:
                condition = (RUNS.c.attempt != "") if term.value == "TRAINED" else (RUNS.c.attempt == "")
            query = query.where(condition if term.op == "=" else ~condition)
        with self._database.read() as connection:
            return [_run(connection, row) for row in connection.execute(query)]

    def change(self, run_id: str, uid: str = "", **values: Any) -> Run:
        """Changes columns of a run. Raises RunNotFound, also when another run has its name now."""
        with self._database.write() as connection:
            found = _need(connection, run_id, uid)
            connection.execute(update(RUNS).where(RUNS.c.uid == found.uid).values(**values, update_time=utc_now()))
            return _run(connection, _by_uid(connection, found.uid))

    def commit(self, run: Run, attempt: str, shards: Sequence[CodeShard]) -> Run:
        """Makes an attempt's weights and codes those of the run; repeated, it changes nothing. Raises RunNotFound."""
        known = self.run(run.id)
        if known.trained:
            return known
        changed = {
            "attempt": attempt,
            "shards": [asdict(shard) for shard in shards],
            "revision": run.revision + 1,
            "train_time": utc_now(),
        }
        return self.change(run.id, run.uid, **changed)

    def delete(self, run_id: str) -> Run:
        """Leaves a tombstone. Raises RunNotFound."""
        with self._database.write() as connection:
            uid = _need(connection, run_id).uid
            changed = {"delete_time": utc_now(), "update_time": utc_now(), "request_id": None}
            connection.execute(update(RUNS).where(RUNS.c.uid == uid).values(changed))
            connection.execute(delete(METRICS).where(METRICS.c.run_uid == uid))
            return _run(connection, _by_uid(connection, uid))

    def seeds_of(self, run: Run) -> Run | None:
        """The newest other trained run on the run's dataset with the same configuration but for its seed."""
        query = newest_first(RUNS, None, 1000).where(
            RUNS.c.delete_time.is_(None), RUNS.c.attempt != "", RUNS.c.dataset_uid == run.source.dataset_uid
        )
        with self._database.read() as connection:
            for row in connection.execute(query):
                other = _run(connection, row)
                same = replace(other.config, seed=run.config.seed) == run.config
                if other.uid != run.uid and same and other.imported_from == run.imported_from:
                    return other
        return None

    def add_metrics(self, uid: str, values: Mapping[str, Any]) -> None:
        """Keeps metrics of a step; those of a step trained twice are the later ones."""
        with self._database.write() as connection:
            here = and_(METRICS.c.run_uid == uid, METRICS.c.step == values["step"])
            connection.execute(delete(METRICS).where(here))
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
        """Of the vectors of all runs that are there."""
        query = select(RUNS.c.fingerprint).where(RUNS.c.delete_time.is_(None))
        with self._database.read() as connection:
            return set(connection.execute(query).scalars())

    def deleted_uids(self) -> list[str]:
        """Uids of all tombstones."""
        with self._database.read() as connection:
            return list(connection.execute(select(RUNS.c.uid).where(RUNS.c.delete_time.is_not(None))).scalars())


def _find(connection: Connection, run_id: str) -> Row[Any] | None:
    return connection.execute(select(RUNS).where(RUNS.c.id == run_id, RUNS.c.delete_time.is_(None))).first()


def _need(connection: Connection, run_id: str, uid: str = "") -> Row[Any]:
    found = _find(connection, run_id)
    if found is None or (uid and found.uid != uid):
        raise RunNotFound(f"no run is named runs/{run_id}, or it was deleted", metadata={"run": f"runs/{run_id}"})
    return found


def _by_uid(connection: Connection, uid: str) -> Row[Any]:
    return connection.execute(select(RUNS).where(RUNS.c.uid == uid)).one()


def _run(connection: Connection, row: Row[Any]) -> Run:
    latest = select(METRICS.c["values"]).where(METRICS.c.run_uid == row.uid).order_by(METRICS.c.step.desc()).limit(1)
    source = row.source
    return Run(
        uid=row.uid,
        id=row.id,
        display_name=row.display_name,
        description=row.description,
        source=Source(
            row.dataset,
            row.dataset_uid,
            source["revision"],
            [(start, end) for start, end in source["ranges"]],
            source["row_count"],
            source["embedding_model"],
            source["dimension"],
        ),
        config=Config.from_dict(row.config),
        attempt=row.attempt,
        shards=[_shard(value) for value in row.shards],
        revision=row.revision,
        metrics=connection.execute(latest).scalar(),
        job=row.job,
        fingerprint=row.fingerprint,
        device=row.device,
        create_time=row.create_time,
        update_time=row.update_time,
        train_time=row.train_time,
        delete_time=row.delete_time,
        tags=row.tags,
        evaluation=row.evaluation,
        imported_from=row.imported_from,
        latent_count=row.latent_count or row.config["expansion"] * source["dimension"],
    )


def _shard(value: str | dict[str, Any]) -> CodeShard:
    return CodeShard(name=value) if isinstance(value, str) else CodeShard(**value)
