"""Screens of many vectors: what they may lose, what they may not, and what is left of them after a crash."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from services.search import scoring
from services.search.backend import Kind, Rows, Stream, Vectors
from services.search.embedded import EmbeddedIndex, screens, vectors
from tests.search.contract import at, rows_of, write_vectors

ROWS, DIMENSION, DEPTH = 6000, 30, 50
STREAM = Stream(Kind.VECTORS, "u")


@pytest.fixture(autouse=True)
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "EXACT_ROWS", 2000)
    monkeypatch.setattr(vectors, "MIN_SCREENED", 100)
    monkeypatch.setattr(screens, "MIN_ROWS", 1000)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[EmbeddedIndex]:
    opened = EmbeddedIndex(tmp_path / "index")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def stored() -> Vectors:
    """Clusters, not of norm 1."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(60, DIMENSION))
    return (centres[random.integers(0, 60, ROWS)] + 0.5 * random.normal(size=(ROWS, DIMENSION))).astype(np.float32)


@pytest.fixture(scope="module")
def queries(stored: Vectors) -> Vectors:
    return stored[:20] + 0.5 * stored[100:120]


def write(index: EmbeddedIndex, rows: Rows, content: Vectors, revision: int = 1) -> None:
    write_vectors(index, STREAM, rows, content, revision=revision)
    index.screens.wait()


def recall(index: EmbeddedIndex, queries: Vectors, rows: Rows, content: Vectors, allowed: Rows | None = None) -> float:
    """The share of the nearest rows that are returned; the scores of those that are must be exact."""
    shares: list[float] = []
    is_allowed = np.ones(len(rows), bool) if allowed is None else np.isin(rows, allowed)
    for query in queries:
        candidates = index.search_vectors(STREAM, query, DEPTH, allowed)
        scores = scoring.cosines(query, content)
        assert candidates.scores.tolist() == scores[np.searchsorted(rows, candidates.rows)].tolist()
        assert candidates.total == is_allowed.sum()
        nearest = rows[is_allowed][scoring.order(rows[is_allowed], scores[is_allowed])[:DEPTH]]
        shares.append(float(np.isin(nearest, candidates.rows).mean()))
        assert np.isin(candidates.rows, rows[is_allowed]).all()
    return float(np.mean(shares))


def measured(index: EmbeddedIndex) -> float | None:
    state = index.state(STREAM)
    assert state is not None
    return state.recall


def test_many_vectors_are_screened_and_the_recall_is_reported(
    index: EmbeddedIndex, stored: Vectors, queries: Vectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.arange(5, ROWS + 5, dtype=np.uint64)
    write(index, rows, stored)
    reported = measured(index)
    assert reported is not None and reported >= vectors.MIN_RECALL
    monkeypatch.delattr(vectors, "_nearness")  # no segment is scanned
    assert recall(index, queries, rows, stored) >= 0.95
    assert recall(index, queries, rows, stored, allowed=rows[::2]) >= 0.95
    assert recall(index, queries, rows, stored, allowed=rows[100:1500]) >= 0.95


def test_few_vectors_are_all_compared(index: EmbeddedIndex, stored: Vectors, queries: Vectors) -> None:
    rows = np.arange(2000, dtype=np.uint64)
    write(index, rows, stored[:2000])
    assert measured(index) is None
    assert recall(index, queries, rows, stored[:2000]) == 1


def test_deletions_and_new_vectors_count_at_once(index: EmbeddedIndex, stored: Vectors, queries: Vectors) -> None:
    rows = np.arange(ROWS, dtype=np.uint64)
    write(index, rows, stored)
    content = stored.copy()
    content[:50] = queries[0]
    write(index, rows[:50], content[:50], revision=2)
    assert recall(index, queries, rows, content) >= 0.95
    assert sorted(index.search_vectors(STREAM, queries[0], 50, None).rows.tolist()) == list(range(50))
    writer = index.vector_writer(STREAM, at(3))
    writer.delete(rows[:3000])
    writer.commit()
    assert recall(index, queries, rows[3000:], content[3000:]) >= 0.95


def test_a_query_of_zero_is_as_near_to_all(index: EmbeddedIndex, stored: Vectors) -> None:
    write(index, np.arange(ROWS, dtype=np.uint64), stored)
    candidates = index.search_vectors(STREAM, np.zeros(DIMENSION, np.float32), 3, None)
    assert (candidates.scores.tolist(), candidates.total) == ([0, 0, 0], ROWS)


def test_screens_that_lose_too_many_are_not_used(
    index: EmbeddedIndex, queries: Vectors, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(vectors, "MIN_SCREENED", 10)
    monkeypatch.setattr(vectors, "MIN_RECALL", 0.9999)
    noise = np.random.default_rng(0).normal(size=(ROWS, DIMENSION)).astype(np.float32)
    rows = np.arange(ROWS, dtype=np.uint64)
    write(index, rows, noise)
    assert measured(index) is None
    assert "all vectors in" in caplog.text
    assert recall(index, queries, rows, noise) == 1


def test_equal_vectors_are_screened_in_the_order_of_their_rows(
    index: EmbeddedIndex, stored: Vectors, caplog: pytest.LogCaptureFixture
) -> None:
    content = stored.copy()
    equal = np.sort(np.random.default_rng(0).choice(ROWS, 3000, replace=False))
    content[equal] = content[0]
    write(index, np.arange(ROWS, dtype=np.uint64), content)
    reported = measured(index)
    assert reported is not None and reported >= vectors.MIN_RECALL and not caplog.messages
    for depth in range(20, 140, 20):
        nearest = np.union1d(equal, [0])[:depth]
        assert index.search_vectors(STREAM, content[0], depth, None).rows.tolist() == nearest.tolist()


def test_a_commit_and_searches_do_not_wait_for_screens(
    index: EmbeddedIndex, stored: Vectors, queries: Vectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, may_go_on = threading.Event(), threading.Event()
    build = screens.build

    def slow(*arguments: object) -> screens.Screen:
        began.set()
        assert may_go_on.wait(60)
        return build(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(screens, "build", slow)
    rows = np.arange(ROWS, dtype=np.uint64)
    write_vectors(index, STREAM, rows, stored)
    assert began.wait(60)
    assert recall(index, queries, rows, stored) == 1
    assert measured(index) is None
    may_go_on.set()
    index.screens.wait()
    assert measured(index) is not None


@pytest.mark.parametrize("damage", ["none", "flip", "cut", "remove", "other vectors"])
def test_screens_outlive_a_restart_and_are_built_again_where_they_do_not_fit(
    index: EmbeddedIndex,
    stored: Vectors,
    queries: Vectors,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    damage: str,
) -> None:
    rows = np.arange(ROWS, dtype=np.uint64)
    write(index, rows, stored)
    (path,) = (tmp_path / "index" / "u" / "vectors").glob(f"*{screens.SUFFIX}")
    index.close()
    content = path.read_bytes()
    if damage == "remove":
        path.unlink()
    elif damage != "none":
        header = content.replace(b'"source": "', b'"source": "0')
        path.write_bytes({"flip": content[:-1] + b"?", "cut": content[:-9], "other vectors": header}[damage])
    built: list[str] = []
    build = screens.build
    monkeypatch.setattr(screens, "build", lambda part, check: built.append(part.name) or build(part, check))
    reopened = EmbeddedIndex(tmp_path / "index")
    try:
        assert measured(reopened) is None or damage == "none"
        reopened.screens.wait()
        assert measured(reopened) is not None
        assert recall(reopened, queries, rows, stored) >= 0.95
        assert bool(built) == (damage != "none")
    finally:
        reopened.close()


def test_an_index_without_faiss_compares_all_vectors(
    index: EmbeddedIndex, stored: Vectors, queries: Vectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise screens.NoFaiss("faiss cannot be loaded")

    monkeypatch.setattr(screens, "load_faiss", missing)
    rows = np.arange(ROWS, dtype=np.uint64)
    write(index, rows, stored)
    assert measured(index) is None
    assert recall(index, queries, rows, stored) == 1


def test_closing_and_deleting_end_a_build(index: EmbeddedIndex, stored: Vectors, tmp_path: Path) -> None:
    write_vectors(index, STREAM, np.arange(ROWS, dtype=np.uint64), stored)
    index.delete("u")
    index.screens.wait()
    assert not list((tmp_path / "index").rglob(f"*{screens.SUFFIX}"))
    write_vectors(index, STREAM, rows_of(1), stored[:1])
    assert measured(index) is None
