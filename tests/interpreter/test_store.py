"""Labels, their history and their counters in SQL, on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from google.protobuf.wrappers_pb2 import StringValue
from sqlalchemy import event, text

from services.chassis.blobs import Blobs, Records
from services.chassis.database import Database
from services.chassis.errors import RequestIdReused
from services.chassis.history import HistoryChanged
from services.chassis.idempotency import Call
from services.interpreter.errors import LabelNotFound, RunNotFound
from services.interpreter.families import Family, FamilyLabel, Member
from services.interpreter.labels import Draft, Options, Provenance, Rejected, Source
from services.interpreter.runs import Run
from services.interpreter.scoring import Method, Score, Scores, Share
from services.interpreter.store import Store
from services.interpreter.tables import BLOBS, METADATA
from tests.interpreter.test_matrices import RUN

MIGRATIONS = Path(__file__).parents[2] / "services/interpreter/migrations"
SCORE = Score(auc=0.8, low=0.7, high=0.9, active_count=30, silent_count=60)
SCORES = Scores(
    method=Method.EMBEDDING,
    threshold=0.5,
    score=SCORE,
    embedding_hard=SCORE,
    embedding_random=None,
    words_hard=SCORE,
    words_random=SCORE,
    deciles=(0.9, None, *[0.5] * 8),
    floor=0.4,
    mentions=Share(value=0.9, low=0.8, high=0.95, document_count=30),
    near_mentions=Share(value=0.1, low=0.05, high=0.2, document_count=60),
    breadth=1.0,
    coherence=SCORE,
)
TWIN = replace(RUN, uid="w", name="runs/twin")


def draft(index: int, label: str = "a label", source: Source = Source.KEYWORDS, job: str | None = None) -> Draft:
    return Draft(index=index, text=label, description="because", source=source, options=Options(), job=job)


def call(value: str, request_id: str = "r") -> Call | None:
    return Call.of(request_id, "CreateLabel", StringValue(value=value))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url, MIGRATIONS)
    database.migrate()
    yield database
    database.close()


@pytest.fixture
def blobs(database: Database, tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs", records=Records(database, BLOBS))


@pytest.fixture
def store(database: Database, blobs: Blobs) -> Store:
    return Store(database, blobs)


def compute_statistics(store: Store, blobs: Blobs, run: Run = RUN, attempt: str = "first") -> str | None:
    files = [blobs.put(f"statistics/{run.uid}/{attempt}/density.npy", [b"x"])]
    return store.commit_statistics(run, attempt=attempt, files=files, row_count=400, live_count=20, file_format=1)


def active_texts(store: Store, run: Run = RUN) -> dict[int, str]:
    return {index: label.draft.text for index, label in store.active_labels(run.uid).items()}


def test_a_label_comes_back_as_it_was_written(store: Store) -> None:
    options = Options(
        model="ollama/m", positive_count=3, temperature=0.5, system_prompt="Be brief.", stop_words=("a", "b")
    )
    model_draft = Draft(
        index=3,
        text="सागर 👍",
        description="d",
        source=Source.MODEL,
        model="ollama/m",
        keywords=("k",),
        options=options,
        positive_rows=(1, 2),
        negative_rows=(3,),
        job="jobs/j",
        scores=SCORES,
        provenance=Provenance(
            origin="CENTRE",
            rejected=(Rejected(text="sea", origin="CONTRAST", choice=0.5),),
            writing_rows=(1, 2),
            choosing_rows=(3,),
            scoring_rows=(),
            hard_rows=(2**40,),
        ),
    )
    person_draft = Draft(index=3, text="own", description="", source=Source.HUMAN, author="ada")
    for revision, written in enumerate((model_draft, person_draft), start=1):
        label = store.add_label(RUN, written)
        assert (label.draft, label.revision, label.active) == (written, revision, True)
        assert store.label_history(RUN.uid, 3, limit=1)[0] == label


def test_a_feature_that_cannot_be_named_is_counted_as_such(store: Store) -> None:
    store.add_labels(RUN, [draft(1), draft(2, ""), draft(3, "")])
    interpretation = store.interpretation(RUN)
    assert (interpretation.labelled_count, interpretation.unnamed_count) == (3, 2)
    store.add_label(RUN, draft(3, "mine", Source.HUMAN))
    assert store.interpretation(RUN).unnamed_count == 1


def test_the_labels_of_all_features_have_scores_and_no_provenance(store: Store) -> None:
    provenance = Provenance(
        origin=None, rejected=(), writing_rows=(1,), choosing_rows=(), scoring_rows=(), hard_rows=()
    )
    store.add_labels(RUN, [replace(draft(1), scores=SCORES, provenance=provenance)])
    active = store.active_labels(RUN.uid)[1]
    assert (active.draft.scores, active.draft.provenance) == (SCORES, None)
    assert store.label_history(RUN.uid, 1, limit=1)[0].draft.provenance == provenance


def test_a_batch_makes_its_labels_active_but_never_over_a_persons(store: Store) -> None:
    store.add_label(RUN, draft(1, "mine", Source.HUMAN))
    labels = store.add_labels(RUN, [draft(index) for index in range(1200)])
    assert [label.active for label in labels[:3]] == [True, False, True]
    assert [label.revision for label in labels[:3]] == [1, 2, 1]
    assert active_texts(store)[1] == "mine"
    assert store.interpretation(RUN).labelled_count == len(active_texts(store)) == 1200


def test_a_feature_keeps_all_labels_and_goes_back_to_any(store: Store) -> None:
    for number in range(5):
        store.add_label(RUN, draft(7, f"label {number}"))
    page = store.label_history(RUN.uid, 7, limit=3)
    assert [(label.revision, label.active) for label in page] == [(5, True), (4, False), (3, False)]
    assert [label.revision for label in store.label_history(RUN.uid, 7, before=3, limit=10)] == [2, 1]
    assert store.activate(RUN, 7, 2).draft.text == "label 1"
    assert active_texts(store) == {7: "label 1"}
    assert store.interpretation(RUN).labelled_count == 1
    with pytest.raises(LabelNotFound):
        store.activate(RUN, 7, 6)


def test_a_repeated_call_adds_one_label(store: Store) -> None:
    first = store.add_label(RUN, draft(1, "one"), call("one"))
    assert store.add_label(RUN, draft(1, "another"), call("one")) == first
    assert store.repeated_label(RUN, call("one")) == first
    assert store.repeated_label(RUN, call("two", request_id="s")) is None
    assert len(store.label_history(RUN.uid, 1, limit=10)) == 1
    with pytest.raises(RequestIdReused):
        store.add_label(RUN, draft(1, "two"), call("two"))


def test_labels_are_carried_to_matching_features(store: Store) -> None:
    store.add_labels(RUN, [replace(draft(0, "zero"), scores=SCORES), draft(1, "one"), draft(2, "two")])
    store.add_label(TWIN, draft(11, "mine", Source.HUMAN))
    store.add_labels(TWIN, [draft(12, "two")])
    matches = [(0, 10), (1, 11), (2, 12), (9, 19)]
    assert store.carry_labels(RUN, TWIN, matches, call("x")) == (4, 1)
    assert active_texts(store, TWIN) == {10: "zero", 11: "mine", 12: "two"}
    (carried,) = store.label_history(TWIN.uid, 10, limit=5)
    assert carried.draft.carried_from == "runs/r/features/0/labels/1"
    assert carried.draft.scores is None, "it was not tested here"
    assert store.carry_labels(RUN, TWIN, matches, call("x")) == (4, 1), "the answer of the first call"
    assert store.carry_labels(RUN, TWIN, matches) == (4, 0)


def test_changes_are_told_by_revision_and_history(store: Store, blobs: Blobs) -> None:
    compute_statistics(store, blobs)
    store.add_labels(RUN, [draft(0), draft(1)])
    everything = store.label_changes(RUN.uid, since=0, history="")
    store.add_label(RUN, draft(1, "new"))
    changes = store.label_changes(RUN.uid, since=everything.revision, history=everything.history)
    assert (list(changes.labels), changes.revision) == ([1], everything.revision + 1)

    # An ordinary restart costs a follower nothing; another history, or a revision that never was, is told.
    store.begin_histories()
    restarted = store.label_changes(RUN.uid, since=changes.revision, history=changes.history)
    assert (restarted.labels, restarted.history != changes.history) == ({}, True)
    with pytest.raises(HistoryChanged):
        store.label_changes(RUN.uid, since=changes.revision, history="of another copy")
    with pytest.raises(HistoryChanged):
        store.label_changes(RUN.uid, since=changes.revision + 1, history=changes.history)

    # New statistics are shown with all labels.
    assert compute_statistics(store, blobs, attempt="second") == "first"
    again = store.label_changes(RUN.uid, since=restarted.revision, history=restarted.history)
    assert sorted(again.labels) == [0, 1]


def test_statistics_and_families_have_their_counters(store: Store, blobs: Blobs) -> None:
    assert store.interpretation(RUN).statistics is None
    compute_statistics(store, blobs)
    version = store.interpretation(RUN).statistics
    assert version is not None
    assert (version.attempt, version.row_count, version.live_count) == ("first", 400, 20)
    assert store.statistics_folders() == [(RUN.uid, "first")]
    families = [Family(id="1-0", round=1, color=1, members=[Member(0, None, 0.0), Member(1, 0, 0.5)])]
    store.commit_families(RUN, families)
    assert store.families(RUN.uid) == families
    assert store.interpretation(RUN).family_count == 1


def test_what_is_deleted_leaves_a_tombstone_and_nothing_else(store: Store, blobs: Blobs) -> None:
    compute_statistics(store, blobs)
    store.add_label(RUN, draft(1), call("one"))
    assert store.forget(RUN)
    assert not store.forget(RUN)
    assert active_texts(store) == {}
    assert store.stored_run(RUN.name) is None
    assert store.statistics_folders() == []
    for change in (lambda: store.add_labels(RUN, [draft(1)]), lambda: compute_statistics(store, blobs)):
        with pytest.raises(RunNotFound):
            change()
    # The name and the request id may be used again, by a run that has them now.
    heir = replace(RUN, uid="heir")
    store.add_label(heir, draft(1), call("two"))
    stored = store.stored_run(RUN.name)
    assert stored is not None and stored.uid == "heir"


def test_what_a_job_labelled_is_known(store: Store) -> None:
    store.add_labels(RUN, [draft(1, job="jobs/j"), draft(2, job="jobs/k")])
    assert store.labelled_by(RUN.uid, "jobs/j") == {1}


@pytest.mark.parametrize("label_count", [10, 3000])
def test_no_query_reads_a_whole_table(tmp_path: Path, label_count: int) -> None:
    """The plan of each hot query at two sizes: by index, never by scanning. Of SQLite: others scan small tables."""
    database = Database(f"sqlite:///{tmp_path}/interpreter.db", MIGRATIONS)
    database.migrate()
    blobs = Blobs(tmp_path / "blobs", records=Records(database, BLOBS))
    store = Store(database, blobs)
    compute_statistics(store, blobs)
    for run in (RUN, TWIN):
        store.add_labels(run, [draft(index) for index in range(label_count)])
    statements: list[str] = []
    engine = database._engine  # pyright: ignore[reportPrivateUsage]

    def plan(connection: object, cursor: object, statement: str, parameters: object, *_rest: object) -> None:
        if statement.startswith(("SELECT", "UPDATE", "DELETE")):
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)  # type: ignore[attr-defined]
            statements.extend(f"{row[3]}  ({statement})" for row in cursor.fetchall())  # type: ignore[attr-defined]

    event.listen(engine, "before_cursor_execute", plan)
    history = store.label_changes(RUN.uid, since=0, history="")
    store.label_changes(RUN.uid, since=history.revision, history=history.history)
    store.label_history(RUN.uid, 1, before=5, limit=10)
    store.stored_run(RUN.name)
    store.interpretation(RUN)
    store.add_labels(RUN, [draft(1), draft(label_count + 1)])
    store.activate(RUN, 1, 1)
    store.labelled_by(RUN.uid, "jobs/j")
    event.remove(engine, "before_cursor_execute", plan)
    database.close()
    assert len(statements) > 10
    scans = tuple(f"SCAN {table}" for table in METADATA.tables)
    assert not [plan for plan in statements if plan.startswith(scans)]


def test_counters_of_a_database_of_an_older_version_are_right(database_url: str) -> None:
    database = Database(database_url, MIGRATIONS)
    database.migrate()
    store = Store(database, Blobs(Path("unused")))
    store.add_labels(RUN, [draft(1), draft(2)])
    store.commit_families(RUN, [Family(id="1-0", round=1, color=1, members=[Member(0, None, 0.0)])])
    with database.write() as connection:
        for column in ("statistics_history", "row_count", "live_count", "labelled_count", "family_count"):
            connection.execute(text(f"ALTER TABLE interpretations DROP COLUMN {column}"))
        for added in (
            "labels.scores",
            "labels.provenance",
            "labels.measurements",
            "labels.scored_by",
            "interpretations.unnamed_count",
            "interpretations.statistics_format",
        ):
            table, _, column = added.partition(".")
            connection.execute(text(f"ALTER TABLE {table} DROP COLUMN {column}"))
        connection.execute(text("UPDATE alembic_interpreter SET version_num = '0003'"))
    database.migrate()
    interpretation = store.interpretation(RUN)
    assert (interpretation.labelled_count, interpretation.family_count) == (2, 1)
    database.close()


def test_followers_of_an_older_version_read_all_labels_again_as_their_trust_is_another(database_url: str) -> None:
    database = Database(database_url, MIGRATIONS)
    database.migrate()
    store = Store(database, Blobs(Path("unused")))
    store.add_labels(RUN, [draft(1), draft(2)])
    store.begin_histories()
    read = store.label_changes(RUN.uid, since=0, history="")
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_interpreter SET version_num = '0006'"))
    database.migrate()
    store.begin_histories()
    with pytest.raises(HistoryChanged):
        store.label_changes(RUN.uid, since=read.revision, history=read.history)
    again = store.label_changes(RUN.uid, since=0, history="")
    database.migrate()
    store.begin_histories()
    assert store.label_changes(RUN.uid, since=again.revision, history=again.history).labels == {}
    database.close()


def test_scores_of_an_older_version_are_read_under_their_new_name(database_url: str) -> None:
    database = Database(database_url, MIGRATIONS)
    database.migrate()
    store = Store(database, Blobs(Path("unused")))
    text_with_the_key = 'a "precision": text'
    store.add_labels(RUN, [replace(draft(1), scores=SCORES), draft(2)])
    name = FamilyLabel(text="a name", description=text_with_the_key, density=0.5, scores=SCORES)
    family = Family(id="1-1", round=1, color=1, members=[Member(1, None, 0.0)], label=name)
    store.commit_families(RUN, [family])
    as_json = "::json" if database_url.startswith("postgresql") else ""
    with database.write() as connection:
        for table, column in (("labels", "scores"), ("interpretations", "families")):
            connection.execute(
                text(
                    f"UPDATE {table} SET {column} = "
                    f"REPLACE(CAST({column} AS TEXT), '\"mentions\": ', '\"precision\": '){as_json}"
                )
            )
        connection.execute(text("UPDATE alembic_interpreter SET version_num = '0007'"))
    database.migrate()
    labels = store.active_labels(RUN.uid)
    assert (labels[1].draft.scores, labels[2].draft.scores) == (SCORES, None)
    assert store.families(RUN.uid) == [family]
    database.close()
