"""Fingerprints of datasets, and what has changed since a run was trained: on SQLite and PostgreSQL."""

from __future__ import annotations

import contextlib
import random
import re
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from sqlalchemy import update

from services.chassis.filters import Comparison
from services.embedder.comparing import Comparing, RowComparison
from services.embedder.documents import NewDataset, NewDocument, OnDuplicate, Passages, State, document_id
from services.embedder.errors import DocumentNotFound
from services.embedder.fingerprints import EMPTY
from services.embedder.passages import Span
from services.embedder.tables import DATASETS
from tests.embedder.test_store import MODEL, Data, open_data


@pytest.fixture
def data(database_url: str, tmp_path: Path) -> Iterator[Data]:
    opened = open_data(database_url, tmp_path)
    yield opened
    opened.database.close()


_KEYS = st.sampled_from([f"key {n}" for n in range(6)])
_CHANGES = st.lists(
    st.tuples(st.just("import"), st.dictionaries(_KEYS, st.sampled_from(["a", "b c", "c a c"]), max_size=4))
    | st.tuples(st.just("delete"), _KEYS)
    | st.tuples(st.just("delete matching"), st.sampled_from(["a", "b"]))
    | st.tuples(st.just("embed"), st.booleans())
    | st.tuples(st.just("lose"), st.none())
    | st.tuples(st.just("retry"), st.none()),
    max_size=10,
)


def words(text: str) -> list[Span]:
    """Each word is a passage."""
    return [Span(match.start(), match.end()) for match in re.finditer(r"\S+", text)]


def change(data: Data, dataset_id: str, kind: str, argument: object) -> None:
    """Changes a dataset in one of the ways in which datasets change."""
    dataset = data.store.dataset(dataset_id)
    match kind, argument:
        case "import", dict(texts):
            is_split = dataset.passages is not None
            new = [NewDocument(key, text, {}, spans=words(text) if is_split else ()) for key, text in texts.items()]
            data.store.add_documents(dataset_id, dataset.uid, new, on_duplicate=OnDuplicate.REPLACE)
        case "delete", str(key):
            with contextlib.suppress(DocumentNotFound):
                data.store.delete_document(dataset_id, document_id(key))
        case "delete matching", str(word):
            condition = Comparison("text", ":", word)
            rows = data.store.matching_rows(dataset, condition, after_row=-1)
            data.store.delete_matching(dataset, condition, rows)
        case "embed", bool(fails):
            rows = [row for row, _text in data.store.pending(dataset_id, dataset.uid, 10)]
            failed = frozenset(rows[:1] if fails else [])
            if len(rows) > len(failed):
                data.embed(dataset, rows, failed=failed)
        case "lose", None:
            shards = {document.shard for document, _deleted in data.store.documents_after(dataset, -1, 1000)}
            data.store.make_lost_pending(dataset, [shard for shard in shards if shard])
        case _:
            data.store.make_failed_pending(dataset_id)


def content(data: Data, dataset_id: str) -> tuple[dict[str, str], Counter[tuple[str, str]]]:
    """The text of each document by key, and the keys and texts of all rows that have vectors."""
    dataset = data.store.dataset(dataset_id)
    rows = [row for row, deleted in data.store.documents_after(dataset, -1, 1000) if not deleted]
    documents = rows if dataset.passages is None else data.store.wholes_after(dataset, -1, 1000)
    embedded = Counter((row.key, row.text) for row in rows if row.state is State.EMBEDDED)
    return {document.key: document.text for document in documents}, embedded


def copy(data: Data, texts: Iterable[tuple[str, str]], embedded: Counter[tuple[str, str]], dataset_id: str) -> None:
    """Gives an empty dataset this content, in this order."""
    for key, text in texts:
        change(data, dataset_id, "import", {key: text})
    remaining, rows = Counter(embedded), list[int]()
    dataset = data.store.dataset(dataset_id)
    for row, _deleted in data.store.documents_after(dataset, dataset.next_row - 1000, 1000):
        if row.state is State.PENDING and remaining[(row.key, row.text)] > 0:
            remaining[(row.key, row.text)] -= 1
            rows.append(row.row)
    if rows:
        data.embed(dataset, rows)


@pytest.mark.parametrize("passages", [None, Passages(max_tokens=16, overlap_tokens=0)], ids=["documents", "passages"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=_CHANGES, second=_CHANGES, order=st.randoms(use_true_random=False))
def test_the_same_content_has_the_same_fingerprint_whatever_happened_before(
    data: Data,
    passages: Passages | None,
    first: list[tuple[str, object]],
    second: list[tuple[str, object]],
    order: random.Random,
) -> None:
    one, other = (
        data.store.create_dataset(NewDataset(uuid.uuid4().hex, None, "", MODEL, passages=passages)) for _ in range(2)
    )
    for changes, dataset in ((first, one), (second, other)):
        for kind, argument in changes:
            change(data, dataset.id, kind, argument)
    expected = content(data, one.id)
    assert (data.store.dataset(other.id).fingerprint == data.store.dataset(one.id).fingerprint) == (
        content(data, other.id) == expected
    )
    change(data, other.id, "delete matching", "")
    assert data.store.dataset(other.id).fingerprint == EMPTY
    texts, embedded = list(expected[0].items()), expected[1]
    order.shuffle(texts)
    copy(data, texts, embedded, other.id)
    assert content(data, other.id) == expected
    assert data.store.dataset(other.id).fingerprint == data.store.dataset(one.id).fingerprint


async def test_documents_above_passages_are_compared(data: Data) -> None:
    new = NewDataset("d", None, "", MODEL, passages=Passages(max_tokens=16, overlap_tokens=0))
    dataset = data.store.create_dataset(new)
    change(data, "d", "import", {f"key {n}": "a b c" for n in range(6)})
    data.embed(dataset, range(15), failed=frozenset([13]))  # key 4 with two of its passages, key 5 with none
    ranges = [(0, 13), (14, 15)]
    comparing = Comparing(data.store, data.vectors)
    assert await comparing.compare("d", ranges) == RowComparison(1, 0, 0, data.store.dataset("d").fingerprint)
    change(data, "d", "import", {"key 0": "a b d", "key 1": "c b a", "new": "e"})
    data.store.delete_document("d", document_id("key 2"))
    before = data.store.dataset("d").fingerprint
    assert await comparing.compare("d", ranges) == RowComparison(2, 1, 1, before)  # key 1 has the same passages
    data.store.make_failed_pending("d")
    assert await comparing.compare("d", ranges) == RowComparison(2, 1, 2, before)
    data.embed(dataset, range(15, 20), failed=frozenset([15, 16, 17]))  # nothing of key 5 can be embedded
    assert await comparing.compare("d", ranges) == RowComparison(1, 1, 2, data.store.dataset("d").fingerprint)
    everything = await comparing.compare("d", [(0, 1 << 63)])
    assert (everything.added, everything.deleted) == (0, 1)


def test_ids_texts_and_models_are_told_apart(data: Data) -> None:
    fingerprints: set[str] = set()
    for number, (key, text, model) in enumerate(
        [("a", "b", MODEL), ("b", "a", MODEL), ("a", "bb", MODEL), ("ab", "b", MODEL), ("a", "b", "ollama/other")]
    ):
        dataset = data.create(f"d{number}", model)
        assert dataset.fingerprint == EMPTY
        data.store.add_documents(dataset.id, dataset.uid, [NewDocument(key, text, {})])
        pending = data.store.dataset(dataset.id).fingerprint
        data.embed(dataset, [0])
        fingerprints |= {pending, data.store.dataset(dataset.id).fingerprint}
    assert len(fingerprints) == 4 + 5  # the model says something once there is a vector
    changed = [NewDocument("a", "b", {"n": 1})]
    before = data.store.dataset("d0")
    data.store.add_documents("d0", before.uid, changed, on_duplicate=OnDuplicate.REPLACE)
    assert data.store.dataset("d0").fingerprint == before.fingerprint  # metadata do not count


async def test_rows_are_compared_with_the_present_documents(data: Data) -> None:
    dataset = data.create()
    data.add(dataset, 10)
    data.embed(dataset, range(8))
    new = [
        NewDocument("key 0", "another text", {}),
        NewDocument("key 1", "text 1", {"n": 5}),
        NewDocument("new", "t", {}),
    ]
    data.store.add_documents("d", dataset.uid, new, on_duplicate=OnDuplicate.REPLACE)
    data.store.delete_document("d", document_id("key 2"))
    data.store.delete_document("d", document_id("key 9"))
    comparing = Comparing(data.store, data.vectors)
    expected = RowComparison(added=2, deleted=1, changed=1, fingerprint=data.store.dataset("d").fingerprint)
    assert await comparing.compare("d", [(0, 8)]) == expected  # key 8 and new were added
    data.embed(dataset, [8, 10, 11])
    expected = replace(expected, fingerprint=data.store.dataset("d").fingerprint)
    assert await comparing.compare("d", [(4, 8), (0, 5)]) == expected
    everything = await comparing.compare("d", [(0, 1 << 63)])
    assert (everything.added, everything.deleted, everything.changed) == (0, 2, 1)


async def test_a_changed_document_that_failed_hides_no_added_one(data: Data) -> None:
    dataset = data.create()
    data.add(dataset, 4)
    data.embed(dataset, range(4))
    changed = [NewDocument("key 0", "another text", {})]
    data.store.add_documents("d", dataset.uid, changed, on_duplicate=OnDuplicate.REPLACE)
    data.add(dataset, 2, start=4)
    data.embed(dataset, [4, 5, 6], failed=frozenset([4]))
    assert data.store.dataset("d").counts.failed == 1
    comparison = await Comparing(data.store, data.vectors).compare("d", [(0, 4)])
    assert (comparison.added, comparison.deleted, comparison.changed) == (2, 0, 1)


def test_given_vectors_count_by_their_values(data: Data) -> None:
    def add(dataset_id: str, vector: list[float], dtype: type[np.float16] | type[np.float32]) -> str:
        dataset = data.store.dataset(dataset_id)
        vectors = np.array([vector], dtype=dtype)
        new = [NewDocument("a", "b", {}, vectors[0])]
        shard = data.vectors.write_shard(dataset.uid, vectors)
        data.store.add_documents(dataset_id, dataset.uid, new, on_duplicate=OnDuplicate.REPLACE, shard=shard)
        return data.store.dataset(dataset_id).fingerprint

    for name in ("one", "two"):
        data.create(name, "given")
    first = add("one", [1, 2], np.float32)
    second = add("one", [1, 3], np.float32)
    assert len({first, second, EMPTY}) == 3
    assert add("one", [1, 2], np.float32) == first == add("two", [1, 2], np.float16)
    data.store.delete_document("one", "a")
    assert data.store.dataset("one").fingerprint == EMPTY


def test_the_migration_gives_datasets_with_passages_their_fingerprints(data: Data) -> None:
    new = NewDataset("d", None, "", MODEL, passages=Passages(max_tokens=16, overlap_tokens=0))
    dataset = data.store.create_dataset(new)
    data.create("plain")
    for name in ("d", "plain"):
        change(data, name, "import", {"a": "first second", "b": "\x00 third", "c": "fourth"})
        data.embed(data.store.dataset(name), [0, 2], failed=frozenset([1]))
    change(data, "d", "delete", "c")
    expected = [data.store.dataset(name).fingerprint for name in ("d", "plain")]
    with data.database.write() as connection:
        connection.execute(update(DATASETS).where(DATASETS.c.uid == dataset.uid).values(fingerprint=EMPTY))
        for later in ("dataset_statistics", "dataset_maps"):
            connection.exec_driver_sql(f"DROP TABLE {later}")
        connection.exec_driver_sql(f"UPDATE alembic_{data.database.service} SET version_num = '0009'")
    data.database.migrate()
    assert [data.store.dataset(name).fingerprint for name in ("d", "plain")] == expected
