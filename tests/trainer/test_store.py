"""The trainer's SQL, on SQLite and PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import AsyncMock, Mock

import numpy as np
import obstore
import pytest
from obstore.exceptions import GenericError
from sqlalchemy import event, insert, select, text, update

import services.trainer
from prisma_common.wire import Codes
from services.chassis.blobs import Blob, BlobDamaged, Blobs, Records
from services.chassis.database import Database, DatabaseUnavailable
from services.chassis.filters import UNFILTERED
from services.chassis.history import HistoryChanged
from services.chassis.idempotency import Call, RequestIdReused
from services.chassis.job_context import JobContext
from services.chassis.jobs import Jobs
from services.trainer import messages
from services.trainer.autoencoders import Autoencoders
from services.trainer.code_index import CodeSelection, Follower
from services.trainer.encoding import CodeWriter, DatasetEncoder
from services.trainer.errors import RunExists, RunNotFound
from services.trainer.following import DatasetFollower
from services.trainer.lifecycle import Runs
from services.trainer.recipes import Recipe
from services.trainer.runs import Coverage, Dataset, DatasetChanges, Import, NewRun, Run, Selection, Source
from services.trainer.sae import checkpoint
from services.trainer.sae.codes import CodeShard
from services.trainer.sae.config import Config
from services.trainer.sae.sizing import Sizing
from services.trainer.shared_checkpoints import SharedCheckpoints
from services.trainer.store import NewCodes, Store, TrainingResult
from services.trainer.tables import BLOBS, CODE_SHARDS, METRICS, RUNS
from services.trainer.training.protocol import Quality
from services.trainer.upstream import Embedder
from tests.chassis.test_migrations import create_old, open_database

SOURCE = Source(dataset="datasets/d", dataset_uid="u", embedding_model="builtin/x", dimension=4)
SELECTION = Selection(ranges=[(0, 10)], row_count=10, revision=3, history="h")
LATENTS = 8


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url, Path(services.trainer.__file__).parent / "migrations")
    database.migrate()
    yield database
    database.close()


@pytest.fixture
def blobs(database: Database, tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs", records=Records(database, BLOBS))


@pytest.fixture
def store(database: Database, blobs: Blobs) -> Store:
    return Store(database, blobs)


def new_run(run_id: str | None = None, **settings: int) -> NewRun:
    return NewRun(source=SOURCE, recipe=Recipe({"expansion": 2, "k": 2, **settings}), run_id=run_id)


def call(request_id: str, content: bytes = b"") -> Call | None:
    return Call.of_bytes(request_id, "CreateRun", content)


def codes_of(rows: list[int]) -> Codes:
    """Each row activates the latent of its number, modulo 8."""
    numbers = np.array(rows, np.uint64)
    return Codes(
        rows=numbers,
        indptr=np.arange(len(rows) + 1, dtype=np.uint32),
        indices=(numbers % LATENTS).astype(np.uint32),
        values=np.ones(len(rows), np.float32),
        latent_count=LATENTS,
    )


def write(blobs: Blobs, folder: str, rows: list[int]) -> list[CodeShard]:
    writer = CodeWriter(blobs.folder / folder, latent_count=LATENTS)
    writer.add(codes_of(rows))
    writer.finish()
    return writer.shards


def begin(store: Store, run: Run) -> Run:
    config = None
    if not run.recipe.auto:
        config = run.recipe.resolve(row_count=SELECTION.row_count, dimension=SOURCE.dimension)
    return store.begin_training(run, SELECTION, config, job="jobs/j", device="cpu")


def trained(
    store: Store, blobs: Blobs, run_id: str = "r", *, quality: Quality | None = None, imported: Import | None = None
) -> Run:
    run = begin(store, store.create(replace(new_run(run_id), imported=imported)))
    attempt = f"{run.folder}/a"
    shards = write(blobs, attempt, list(range(10)))
    (blobs.folder / attempt / "weights.safetensors").write_bytes(b"weights")
    adopted = blobs.adopt(attempt)
    return store.commit(
        run, TrainingResult(attempt=attempt, shards=shards, dead_count=0, quality=quality, blobs=adopted)
    )


class CountingEmbedder:
    """Answers with a dataset of which only the pending documents are not compared, and counts comparisons."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset_now = dataset
        self.compared: list[Selection] = []

    async def dataset(self, name: str) -> Dataset:
        assert name == self.dataset_now.source.dataset
        return self.dataset_now

    async def compare(self, source: Source, selection: Selection) -> DatasetChanges:
        assert source == self.dataset_now.source
        self.compared.append(selection)
        return DatasetChanges(self.dataset_now.fingerprint, added=self.dataset_now.pending_count)

    async def changes(self, source: Source, **_position: object) -> AsyncIterator[object]:
        now = self.dataset_now
        yield SimpleNamespace(rows=(), deleted_rows=(), revision=now.revision, history=now.history)


def follow(run: Run, blobs: Blobs, *, rows: list[int], deleted: list[tuple[int, int]], name: str) -> NewCodes:
    folder = f"{run.folder}/{name}"
    shards = write(blobs, folder, rows) if rows else []
    return NewCodes(
        files=[(f"{folder}/{shard.name}", shard) for shard in shards],
        deleted=deleted,
        code_count=0,
        dead_count=0,
        coded_revision=run.revision + 10,
        coded_history="h",
        blobs=blobs.adopt(folder) if shards else [],
    )


def read(store: Store, blobs: Blobs, run: Run, selection: CodeSelection) -> tuple[list[int], list[int]]:
    """Rows with codes, and deleted rows."""
    run, index = store.code_index(run, selection)
    parts = list(Autoencoders(blobs).codes(run, index, selection))
    rows = [row for part in parts if part.codes is not None for row in part.codes.rows.tolist()]
    return rows, [row for part in parts for row in part.deleted_rows]


def test_a_run_is_created_once_for_each_request(store: Store) -> None:
    first = store.create(new_run(), call("one"))
    assert first.id == "d-x2-k2"
    assert (first.trained, first.selection, first.config, first.latent_count) == (False, None, None, 8)
    assert store.create(new_run(), call("one")).uid == first.uid
    assert store.answered(call("one")) == first
    assert store.answered(call("two")) is None
    assert store.create(new_run()).id == "d-x2-k2-2"
    with pytest.raises(RequestIdReused):
        store.create(new_run(), call("one", b"another request"))
    with pytest.raises(RunExists):
        store.create(new_run("d-x2-k2"))


def test_a_deleted_runs_request_id_and_name_may_be_used_again(store: Store) -> None:
    first = store.create(new_run("r"), call("one"))
    store.delete("r")
    assert store.create(new_run("r"), call("one", b"other")).uid != first.uid
    with pytest.raises(RunNotFound):
        store.change("r", uid=first.uid, tags=[])


def test_rows_and_configuration_are_fixed_by_the_first_attempt(store: Store) -> None:
    run = begin(store, store.create(NewRun(source=SOURCE, recipe=Recipe(auto=True), run_id="r")))
    assert run.selection == SELECTION
    assert (run.config, run.latent_count, run.display_name) == (None, None, "auto")
    config = Config.resolve(SELECTION.row_count, SOURCE.dimension, 1, latent_count=24, k=2)
    sizing = Sizing(goal="faithful", latent_count=24, k=2, epochs=20, reason="Because.", pilots=[])
    run = store.size(run, config, sizing)
    assert (run.config, run.latent_count, run.display_name, run.sizing) == (config, 24, "n24-k2", sizing)
    assert not run.recipe.auto
    later = Selection(ranges=[(0, 99)], row_count=99, revision=9, history="h")
    again = store.begin_training(run, later, run.config, job="jobs/k", device="cpu")
    assert (again.selection, again.job) == (SELECTION, "jobs/k")


def test_of_two_attempts_that_end_at_once_one_is_the_runs(store: Store, blobs: Blobs) -> None:
    run = begin(store, store.create(new_run("r")))
    results = [
        TrainingResult(attempt=f"{run.folder}/{name}", shards=[], dead_count=0, quality=None, blobs=[]) for name in "ab"
    ]
    with ThreadPoolExecutor() as threads:
        committed = [attempt.result() for attempt in [threads.submit(store.commit, run, result) for result in results]]
    assert committed[0].attempt == committed[1].attempt
    assert {other.revision for other in committed} == {2}


def test_codes_are_read_by_rows_and_since_a_revision(store: Store, blobs: Blobs) -> None:
    run = trained(store, blobs)
    assert read(store, blobs, run, CodeSelection()) == (list(range(10)), [])
    assert read(store, blobs, run, CodeSelection(start_row=7, ranges=[(2, 9)])) == ([7, 8], [])
    grown, added = store.commit_codes(run, follow(run, blobs, rows=[10, 11], deleted=[(3, 4)], name="more"))
    assert added
    assert grown.revision == run.revision + 1
    assert read(store, blobs, grown, CodeSelection()) == ([0, 1, 2, 5, 6, 7, 8, 9, 10, 11], [])
    since = CodeSelection(follower=Follower(history=run.history, revision=run.revision))
    assert read(store, blobs, grown, since) == ([10, 11], [3, 4])


def test_a_row_that_is_encoded_again_has_its_newer_code_and_is_not_deleted(store: Store, blobs: Blobs) -> None:
    run = trained(store, blobs)
    grown, _added = store.commit_codes(run, follow(run, blobs, rows=[4], deleted=[(4, 4)], name="more"))
    assert read(store, blobs, grown, CodeSelection())[0].count(4) == 1
    since = CodeSelection(follower=Follower(history=run.history, revision=run.revision))
    assert read(store, blobs, grown, since) == ([4], [])


def test_codes_that_another_worker_has_updated_meanwhile_are_left_alone(store: Store, blobs: Blobs) -> None:
    run = trained(store, blobs)
    first, _added = store.commit_codes(run, follow(run, blobs, rows=[10], deleted=[], name="one"))
    second, added = store.commit_codes(run, follow(run, blobs, rows=[10], deleted=[], name="two"))
    assert (added, second.revision) == (False, first.revision)
    assert read(store, blobs, second, CodeSelection())[0].count(10) == 1


def test_only_files_that_may_hold_the_rows_are_opened(store: Store, blobs: Blobs) -> None:
    run = trained(store, blobs)
    grown, _added = store.commit_codes(run, follow(run, blobs, rows=[10, 11], deleted=[], name="more"))
    [newer] = (blobs.folder / grown.folder / "more").iterdir()
    newer.write_bytes(b"damaged")
    assert read(store, blobs, grown, CodeSelection(ranges=[(0, 5)]))[0] == [0, 1, 2, 3, 4]
    with pytest.raises(BlobDamaged):
        read(store, blobs, grown, CodeSelection(ranges=[(10, 11)]))


def test_only_deletions_among_the_rows_are_looked_up_but_a_follower_is_told_of_all(store: Store, blobs: Blobs) -> None:
    run = trained(store, blobs)
    deleted = [(1, 1), (3, 4), (8, 8)]
    grown, _added = store.commit_codes(run, follow(run, blobs, rows=[], deleted=deleted, name="more"))
    for selection, first_rows in (
        (CodeSelection(), [1, 3, 8]),
        (CodeSelection(ranges=[(2, 4)]), [3]),
        (CodeSelection(ranges=[(5, 8)]), []),
        (CodeSelection(ranges=[(8, 9), (4, 5)]), [3, 8]),
        (CodeSelection(start_row=5), [8]),
        (CodeSelection(ranges=[(2, 4)], follower=Follower(history=run.history, revision=run.revision)), [1, 3, 8]),
    ):
        _run, index = store.code_index(grown, selection)
        assert [deletion.first_row for deletion in index.deletions] == first_rows
    assert read(store, blobs, grown, CodeSelection(ranges=[(0, 5)]))[0] == [0, 2]


def test_a_reader_of_another_history_reads_everything_again(store: Store, blobs: Blobs) -> None:
    run = trained(store, blobs)
    with pytest.raises(HistoryChanged):
        store.code_index(run, CodeSelection(follower=Follower(history="unknown", revision=1)))
    store.begin_histories()
    renewed = store.run("r")
    assert renewed.history != run.history
    store.code_index(renewed, CodeSelection(follower=Follower(history=run.history, revision=run.revision)))


def test_what_a_training_wrote_is_in_the_object_store_and_read_from_there(database: Database, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    url = (tmp_path / "store").as_uri()
    blobs = Blobs(tmp_path / "one host", url, records=Records(database, BLOBS))
    run = trained(Store(database, blobs), blobs)
    elsewhere = Blobs(tmp_path / "another host", url, records=Records(database, BLOBS))
    assert elsewhere.local(run.weights).read_bytes() == b"weights"
    assert read(Store(database, elsewhere), elsewhere, run, CodeSelection())[0] == list(range(10))


def test_orphans_are_files_that_no_living_run_names(store: Store, blobs: Blobs) -> None:
    run = trained(store, blobs)
    orphan = blobs.folder / run.folder / "a/checkpoint.safetensors"
    orphan.write_bytes(b"")
    waiting = store.create(new_run("waiting"))
    checkpoint = blobs.folder / waiting.folder / "b/checkpoint.safetensors"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"")
    swept = blobs.sweep(store.named_blobs(), older_than_seconds=-1)
    assert swept == [f"{run.folder}/a/checkpoint.safetensors"]
    store.delete("r")
    assert run.folder in store.deleted_folders()
    assert run.folder in store.recorded_folders()
    blobs.delete(run.folder)
    assert run.folder not in store.recorded_folders()


def test_the_stability_of_a_run_is_no_orphan(store: Store, blobs: Blobs) -> None:
    quality = Quality(
        train_fvu=None, held_out_fvu=None, sibling_count=2, reproduced_count=5, closely_reproduced_count=3, live_count=8
    )
    run = trained(store, blobs, quality=quality)
    assert run.stability is not None
    (blobs.folder / run.stability).write_bytes(b"stability")
    assert blobs.sweep(store.named_blobs(), older_than_seconds=-1) == []
    assert (blobs.folder / run.stability).exists()


def test_runs_of_the_first_version_keep_their_codes_and_their_metrics(database_url: str, tmp_path: Path) -> None:
    create_old("trainer", database_url)
    database = open_database("trainer", database_url)
    source = {"revision": 3, "ranges": [[0, 10]], "row_count": 10, "embedding_model": "builtin/x", "dimension": 4}
    columns = {
        **dict.fromkeys(("display_name", "description", "job", "device", "imported_from"), ""),
        **dict.fromkeys(("create_time", "update_time"), "2026-01-01 00:00:00"),
        **{"uid": "u1", "id": "old", "dataset": "datasets/d", "dataset_uid": "u", "fingerprint": "f"},
        **{"source": json.dumps(source), "config": json.dumps(Config.resolve(10, 4, 1, expansion=2, k=2).to_dict())},
        **{"attempt": "runs/u1/a", "shards": '["codes-00000.npz"]', "revision": 2, "tags": "[]", "latent_count": 8},
    }
    with database.write() as connection:
        names = ", ".join(columns)
        values = ", ".join(f":{name}" for name in columns)
        connection.execute(text(f"INSERT INTO runs ({names}) VALUES ({values})"), columns)
    database.migrate()
    blobs = Blobs(tmp_path, records=Records(database, BLOBS))
    write(blobs, "runs/u1/a", list(range(10)))
    (blobs.folder / "runs/u1/a/weights.safetensors").write_bytes(b"weights")
    store = Store(database, blobs)
    store.begin_histories()
    assert blobs.adopt_unrecorded(store.blobs_of_runs()) == 2
    run = store.run("old")
    assert (run.code_count, run.uncoded_count, run.coded_revision, run.coded_history) == (10, 0, 3, None)
    assert run.selection == Selection(ranges=[(0, 10)], row_count=10, revision=3)
    assert read(store, blobs, run, CodeSelection(ranges=[(4, 6)]))[0] == [4, 5]
    database.close()


def test_where_weights_lie_is_known_until_something_is_written(database: Database, store: Store, blobs: Blobs) -> None:
    run = trained(store, blobs)
    assert store.known_weights("r") is None
    assert store.weights("r") == run.weights
    assert store.known_weights("r") == (None if database.shared else run.weights)
    store.delete("r")
    assert store.known_weights("r") is None


def test_a_copy_of_a_runs_weights_is_no_other_seed_of_it(store: Store, blobs: Blobs) -> None:
    original = trained(store, blobs)
    imported = Import(origin=original.name, latent_count=LATENTS)
    copies = [trained(store, blobs, run_id, imported=imported) for run_id in ("copy", "second-copy")]
    assert [store.other_seed(run) for run in (original, *copies)] == [None, None, None]
    other = trained(store, blobs, "other")
    assert store.other_seed(original) == other


async def test_runs_of_the_same_rows_are_compared_with_their_dataset_once(store: Store, blobs: Blobs) -> None:
    dataset = Dataset(
        source=SOURCE,
        revision=3,
        history="h",
        embedded_count=10,
        pending_count=2,
        failed_count=0,
        fingerprint="now",
    )
    embedder = CountingEmbedder(dataset)
    follower = DatasetFollower(store=store, blobs=blobs, embedder=cast(Embedder, embedder), jobs=cast(Jobs, None))
    runs = [trained(store, blobs, f"r{number}") for number in range(5)]
    await follower.follow(None)
    assert len(embedder.compared) == 1
    for run in runs:
        assert store.run(run.id).dataset_changes == DatasetChanges("now", added=2, revision=3, history="h")


async def test_documents_that_cannot_be_embedded_are_no_added_ones_although_the_content_is_the_same(
    store: Store, blobs: Blobs
) -> None:
    dataset = Dataset(
        source=SOURCE,
        revision=3,
        history="h",
        embedded_count=10,
        pending_count=2,
        failed_count=0,
        fingerprint="now",
    )
    embedder = CountingEmbedder(dataset)
    follower = DatasetFollower(store=store, blobs=blobs, embedder=cast(Embedder, embedder), jobs=cast(Jobs, None))
    trained(store, blobs)
    await follower.follow(None)
    assert store.run("r").dataset_changes == DatasetChanges("now", added=2, revision=3, history="h")
    embedder.dataset_now = replace(dataset, revision=4, pending_count=0, failed_count=2)
    for _ in range(2):
        await follower.follow(None)
    assert store.run("r").dataset_changes == DatasetChanges("now", added=0, revision=4, history="h")
    assert len(embedder.compared) == 2


def test_metrics_of_a_step_that_is_trained_again_are_the_later_ones(store: Store) -> None:
    run = store.create(new_run("r"))
    for step, loss in ((1, 1.0), (2, 2.0), (2, 3.0)):
        store.add_metrics(run.uid, {"step": step, "loss": loss})
    assert [values["loss"] for values in store.metrics(run.uid, 0)] == [1.0, 3.0]
    assert store.metrics(run.uid, 2) == []
    latest = store.run("r").metrics
    assert latest is not None
    assert latest["loss"] == 3.0
    [listed] = store.runs(None, 10, UNFILTERED, show_deleted=False)
    assert listed == store.run("r")


def test_a_configuration_of_an_older_version_has_zeros(store: Store, blobs: Blobs, database: Database) -> None:
    run = trained(store, blobs)
    assert run.config is not None
    with database.write() as connection:
        connection.execute(update(RUNS).values(config={**run.config.to_dict(), "patience": 0}))
    assert store.run("r").config == run.config
    assert messages.config(store.run("r")).patience == 0
    untrained = store.create(new_run())
    with database.write() as connection:
        old = {"k": 2, "patience": 0, "threads": 0, "auto": True}
        connection.execute(update(RUNS).where(RUNS.c.uid == untrained.uid).values(config=old))
    assert store.run(untrained.id).recipe == Recipe({"k": 2, "patience": None}, auto=True)


@pytest.mark.parametrize("analysed", [False, True])
@pytest.mark.parametrize("count", [10, 3000])
def test_no_query_of_a_run_reads_a_whole_table(tmp_path: Path, count: int, analysed: bool) -> None:
    """`count` other runs, metrics and files of codes. Of SQLite: others scan small tables."""
    database = Database(f"sqlite:///{tmp_path}/trainer.db", Path(services.trainer.__file__).parent / "migrations")
    database.migrate()
    blobs = Blobs(tmp_path / "blobs", records=Records(database, BLOBS))
    store = Store(database, blobs)
    run = trained(store, blobs)
    fill(database, run, count)
    if analysed:
        with database.write() as connection:
            connection.execute(text("ANALYZE"))
    plans: list[str] = []

    def plan(_connection: object, cursor: Any, statement: str, parameters: object, *_rest: object) -> None:
        if statement.startswith(("SELECT", "UPDATE", "DELETE")):
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.extend(f"{row[3]}  ({statement})" for row in cursor.fetchall())

    engine = database._engine  # pyright: ignore[reportPrivateUsage]
    event.listen(engine, "before_cursor_execute", plan)
    store.answered(call("one"))
    store.run("r")
    store.weights("r")
    store.change("r", uid=run.uid, tags=["tag"])
    store.add_metrics(run.uid, {"step": 1, "loss": 0.5})
    store.metrics(run.uid, 0)
    store.code_index(run)
    store.note_embedded(run, 10)
    store.note_coded(run, Coverage(revision=3, history="h"))
    store.commit_codes(run, follow(run, blobs, rows=[10], deleted=[(0, 1)], name="b"))
    event.remove(engine, "before_cursor_execute", plan)
    database.close()
    assert len(plans) > 20
    assert not [
        plan for plan in plans if plan.startswith("SCAN ") and not plan.startswith("SCAN anon_")
    ]  # a subquery's


def fill(database: Database, run: Run, count: int) -> None:
    """Copies of a run under other names, and metrics and files of codes of all of them."""
    with database.write() as connection:
        row = dict(connection.execute(select(RUNS).where(RUNS.c.uid == run.uid)).mappings().one())
        numbers = range(count)
        connection.execute(insert(RUNS), [{**row, "uid": f"u{number}", "id": f"r{number}"} for number in numbers])
        connection.execute(insert(METRICS), [{"run_uid": f"u{number}", "step": 1, "values": {}} for number in numbers])
        connection.execute(
            insert(CODE_SHARDS), [{"run_uid": f"u{number}", "path": f"p{number}", "revision": 1} for number in numbers]
        )


class LosingAnswers(Store):
    """Its commits succeed, and their answers are lost."""

    def create(self, new: NewRun, call: Call | None = None, *, blobs: Sequence[Blob] = ()) -> Run:
        super().create(new, call, blobs=blobs)
        raise DatabaseUnavailable("lost", service="trainer")

    def commit_codes(self, run: Run, codes: NewCodes) -> tuple[Run, bool]:
        super().commit_codes(run, codes)
        raise DatabaseUnavailable("lost", service="trainer")


async def test_files_of_a_commit_whose_answer_is_lost_stay(database: Database, blobs: Blobs) -> None:
    store = LosingAnswers(database, blobs)
    imported = SimpleNamespace(weights=SimpleNamespace(to_bytes=lambda _metadata: b"weights"))
    new = replace(new_run("i"), uid="0123", imported=Import(origin="sae_lens", latent_count=LATENTS))
    keep: Any = Runs._keep_import
    with pytest.raises(DatabaseUnavailable):
        keep(SimpleNamespace(_blobs=blobs, _store=store), new, imported, None)
    assert blobs.local(store.run("i").imported_weights).read_bytes() == b"weights"

    run = trained(Store(database, blobs), blobs)

    async def changes(_source: Source, **_position: object) -> AsyncIterator[object]:
        yield SimpleNamespace(rows=[10], vectors=None, deleted_rows=[], revision=4, history="h")

    encoder = DatasetEncoder(
        store=store,
        blobs=blobs,
        embedder=cast(Embedder, SimpleNamespace(changes=changes)),
        autoencoders=cast(
            Autoencoders,
            SimpleNamespace(encode=lambda *_: SimpleNamespace(codes=codes_of([10])), load=lambda _: codes_of([0])),
        ),
    )
    with pytest.raises(DatabaseUnavailable):
        await encoder.update(run, cast(JobContext, AsyncMock(log=Mock())))
    _run, index = store.code_index(run)
    assert len(index.files) == 2
    for file in index.files:
        assert blobs.local(file.path).is_file()


async def test_a_training_goes_on_while_the_object_store_is_full(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "store").mkdir()
    blobs = Blobs(tmp_path / "cache", f"file://{tmp_path / 'store'}", records=Records(database, BLOBS))
    (blobs.folder / "runs/r/a").mkdir(parents=True)
    (blobs.folder / "runs/r/a" / checkpoint.name(0)).write_bytes(b"state")
    checkpoints, put = SharedCheckpoints(blobs, "runs/r/a"), obstore.put

    def refuse(*_arguments: object) -> None:
        raise GenericError("Generic LocalFileSystem error: No space left on device (os error 28)")

    monkeypatch.setattr(obstore, "put", refuse)
    checkpoints.share_soon()
    await checkpoints.end(share=False)
    monkeypatch.setattr(obstore, "put", put)
    await checkpoints.end(share=True)
    assert [file.read_bytes() for file in (tmp_path / "store").rglob(checkpoint.PATTERN)] == [b"state"]
