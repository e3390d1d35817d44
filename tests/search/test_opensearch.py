"""The OpenSearch back end: the contract, ranks equal to the embedded one's, and what only a cluster can suffer."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from prisma_client import sample
from services.chassis.filters import parse_filter
from services.chassis.metadata_filters import METADATA, OPERATORS
from services.search import scoring, tokens
from services.search.backend import Index, Kind, LatentQuery, Stream, TextItem
from services.search.embedded import EmbeddedIndex
from services.search.errors import BackendUnavailable
from services.search.fusion import Fusion
from services.search.opensearch import Access, OpenSearchIndex, mappings
from services.search.query import (
    LATENT,
    DocumentQuery,
    Mode,
    Scoring,
    SteeringSet,
)
from services.search.ranking import Ranker
from tests.search.contract import (
    Contract,
    Reopen,
    at,
    documents,
    item,
    random_codes,
    ranked_rows,
    rows_of,
    write_texts,
    write_vectors,
)


@pytest.fixture
def prefix() -> str:
    return f"test{uuid4().hex[:8]}"


@pytest.fixture
def index(opensearch_url: str, prefix: str) -> Iterator[OpenSearchIndex]:
    index = OpenSearchIndex(Access(urls=[opensearch_url]), prefix=prefix)
    yield index
    for uid in index.uids():
        index.delete(uid)
    index.close()


@pytest.fixture
def reopened(opensearch_url: str, prefix: str) -> Reopen:
    return lambda: OpenSearchIndex(Access(urls=[opensearch_url]), prefix=prefix)


class TestOpenSearch(Contract):
    """The contract."""


def test_a_late_writer_of_an_older_revision_changes_nothing(index: OpenSearchIndex) -> None:
    stream = documents()
    write_texts(index, stream, [item(1, "old words"), item(2, "old words")], 1)
    late = index.text_writer(stream, at(2))
    write_texts(index, stream, [item(1, "new words")], 3)
    late.upsert([item(1, "middling words"), item(2, "middling words")])
    assert ranked_rows(index, stream, "new") == [1]


def test_words_weigh_what_they_do_in_texts_that_are_there(index: OpenSearchIndex) -> None:
    """Deleted ones are in the cluster's own statistics until segments are merged."""
    stream = documents()
    write_texts(index, stream, [item(row, f"rare n{row}") for row in range(300)], 1)
    write_texts(index, stream, [item(row, f"{'common' if row % 2 else 'other'} n{row}") for row in range(1, 300)], 2)
    candidates = index.search_text(stream, ["common", "rare"], 1)
    assert candidates.profiles.rows.tolist() == [0]
    exact = scoring.bm25(candidates.profiles, candidates.statistics)
    assert candidates.scores == pytest.approx(exact, rel=0.02)


def test_texts_of_a_commit_in_progress_make_no_word_weigh_less_than_nothing(index: OpenSearchIndex) -> None:
    stream = documents()
    write_texts(index, stream, [item(0, "file")], 1)
    writer = index.text_writer(stream, at(2))
    writer.upsert([item(row, "file") for row in range(9)])
    index.cluster.client.indices.refresh(index=f"*{stream.uid}*")
    candidates = index.search_text(stream, ["file", "absent"], 20)
    assert len(candidates.profiles.rows) == 9
    assert (scoring.bm25(candidates.profiles, candidates.statistics) > 0).all()
    writer.abort()


def test_a_zero_vector_that_another_service_has_just_written_is_no_error(
    index: OpenSearchIndex, reopened: Reopen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.search.opensearch.index._STATE_SECONDS", 60.0)
    stream, units = Stream(Kind.VECTORS, uuid4().hex), np.eye(3, dtype=np.float32)
    write_vectors(index, stream, rows_of(0, 1), units[:2])
    assert index.search_vectors(stream, units[0], 3, None).rows.tolist() == [0, 1]
    write_vectors(reopened(), stream, rows_of(2), 0 * units[:1], revision=2)
    candidates = index.search_vectors(stream, units[0], 3, None)
    assert (candidates.rows.tolist(), candidates.scores.tolist(), candidates.total) == ([0, 1, 2], [1, 0, 0], 3)


def test_an_index_of_another_version_is_not_used(index: OpenSearchIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = documents()
    write_texts(index, stream, [item(1, "file")], 1)
    monkeypatch.setattr(mappings, "VERSION", mappings.VERSION + 1)
    assert index.state(stream) is None
    write_texts(index, stream, [item(2, "file")], 1)
    assert ranked_rows(index, stream, "file") == [2]
    assert len(index.cluster.client.indices.get(index=f"*{stream.uid}*")) == 1


def test_a_cluster_that_does_not_answer_is_unavailable() -> None:
    index = OpenSearchIndex(Access(urls=["http://127.0.0.1:9"], seconds=2))
    with pytest.raises(BackendUnavailable, match=r"127\.0\.0\.1:9"):
        index.state(documents())
    with pytest.raises(BackendUnavailable):
        index.search_text(documents(), ["file"], 10)
    with pytest.raises(BackendUnavailable):
        index.check()


def test_an_address_keeps_its_password_to_itself() -> None:
    index = OpenSearchIndex(Access(urls=["https://user:secret@127.0.0.1:9"], seconds=1))
    with pytest.raises(BackendUnavailable) as caught:
        index.check()
    assert "secret" not in str(caught.value)


@pytest.fixture(scope="module")
def corpus() -> list[dict[str, Any]]:
    """The first 1,500 docstrings of the standard library."""
    return list(itertools.islice(sample.documents(), 1500))


def fill(index: Index, corpus: list[dict[str, Any]], uid: str, run: str) -> None:
    items = [
        item(row, document["text"], module=document["module"], kind=document["kind"])
        for row, document in enumerate(corpus)
    ]
    stream = Stream(Kind.DOCUMENTS, uid)
    write_texts(index, stream, [item(row, "to be replaced by a file") for row in range(0, 1500, 7)], 1)
    write_texts(index, stream, items, 2)
    rows = np.arange(len(corpus), dtype=np.uint64)
    vectors = np.random.default_rng(3).normal(size=(len(rows) - 5, 48)).astype(np.float32)
    write_vectors(index, Stream(Kind.VECTORS, uid), rows[:-5], vectors, revision=2)
    codes = index.code_writer(Stream(Kind.CODES, run), at(2))
    codes.upsert(random_codes(rows, 192, 16))
    codes.commit()
    labels = [
        TextItem(
            row=latent,
            text=f"label {latent}",
            payload={"label": f"label {latent}", "threshold": latent % 3},
            fingerprint=latent,
        )
        for latent in range(192)
    ]
    write_texts(index, Stream(Kind.LABELS, run), labels, 1)


QUERIES = [
    "file",
    "open a file for reading",
    "json.dumps",
    "HTTPServer request handler",
    "the",
    "sort list of numbers",
    "regular expression pattern match",
    "asyncio event loop",
    "__init__",
    "return a string",
    "UTF-8 decode error",
]


def steering_sets(latents: list[int], random: np.random.Generator) -> tuple[SteeringSet, ...]:
    """Single latents and sets of them."""
    members = [latents[:1], latents[1:2], latents[2:5], latents[5:]]
    return tuple(SteeringSet(tuple(part), float(random.uniform(-3, 3))) for part in members)


def test_a_vector_alone_ranks_alike_on_both_back_ends(
    index: OpenSearchIndex, corpus: list[dict[str, Any]], tmp_path: Path
) -> None:
    uid, run = uuid4().hex, uuid4().hex
    embedded = EmbeddedIndex(tmp_path / "index")
    for backend in (index, embedded):
        fill(backend, corpus, uid, run)
    stored = random_codes(np.arange(len(corpus), dtype=np.uint64), 192, 16)
    rows = list(range(0, len(corpus) - 5, 100))
    for row, mode, condition in itertools.product(rows, (Mode.SEMANTIC, Mode.SPARSE), ("", "metadata.kind = function")):
        vector = Ranker(embedded).vector_of(uid, row)
        assert vector is not None
        query = DocumentQuery(
            datasets=[uid],
            mode=mode,
            terms=[],
            vector=vector,
            dense_datasets=frozenset([uid]),
            run=run,
            code=LatentQuery(*stored.row(row)),
            condition=parse_filter(condition, {METADATA: OPERATORS, LATENT: "> >="}),
            limit=100,
        )
        page, other_page = Ranker(embedded).documents(query), Ranker(index).documents(query)
        assert page == other_page, (row, mode, condition)
        assert page.hits
        if mode is Mode.SEMANTIC and not condition:
            assert page.hits[0].row == row
    embedded.close()


def test_both_back_ends_rank_alike(index: OpenSearchIndex, corpus: list[dict[str, Any]], tmp_path: Path) -> None:
    uid, run = uuid4().hex, uuid4().hex
    embedded = EmbeddedIndex(tmp_path / "index")
    for backend in (index, embedded):
        fill(backend, corpus, uid, run)
    random = np.random.default_rng(11)
    conditions = [
        "",
        "metadata.kind = function",
        "latent.7 > 0.5",
        "metadata.kind = method AND latent.7 >= 0.1",
        "NOT metadata.kind : METH OR latent.7 > 0.5",
    ]
    compared = steered = 0
    for text, mode, condition in itertools.product(QUERIES, Mode, conditions):
        latents = np.sort(random.choice(192, 16, replace=False)).astype(np.uint32)
        query = DocumentQuery(
            datasets=[uid],
            mode=mode,
            terms=tokens.terms(text),
            vector=random.normal(size=48).astype(np.float32),
            dense_datasets=frozenset([uid]),
            run=run,
            code=LatentQuery(latents, random.normal(size=16)),
            condition=parse_filter(condition, {METADATA: OPERATORS, LATENT: "> >="}),
            steering=steering_sets(latents.tolist(), random) if random.random() < 0.5 else (),
            scoring=Scoring(Fusion(random.integers(1, 3)), sparse_weight=float(random.integers(0, 2))),
            limit=100,
            include_tail=random.random() < 0.5,
        )
        page, other_page = Ranker(embedded).documents(query), Ranker(index).documents(query)
        assert page == other_page, (text, mode, condition)
        compared += len(page.hits)
        steered += sum(bool(hit.steering) for hit in page.hits)
    assert compared > 5000
    assert steered > 1000
    embedded.close()
