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
from services.search import analysis
from services.search.embedded import EmbeddedIndex
from services.search.errors import BackendUnavailable
from services.search.index import Index, Kind, LatentQuery, Stream
from services.search.opensearch import OpenSearchIndex, mappings
from services.search.retrieval import Condition, LatentCondition, Mode, Query, Retrieval
from tests.search.contract import Contract, Reopen, documents, found, item, random_codes, write_texts


@pytest.fixture
def prefix() -> str:
    return f"test{uuid4().hex[:8]}"


@pytest.fixture
def index(opensearch_url: str, prefix: str) -> Iterator[OpenSearchIndex]:
    opened = OpenSearchIndex(opensearch_url, prefix=prefix)
    yield opened
    for uid in opened.uids():
        opened.delete(uid)
    opened.close()


@pytest.fixture
def reopened(opensearch_url: str, prefix: str) -> Reopen:
    return lambda: OpenSearchIndex(opensearch_url, prefix=prefix)


class TestOpenSearch(Contract):
    """The contract."""


def test_a_late_writer_of_an_older_revision_changes_nothing(index: OpenSearchIndex) -> None:
    stream = documents()
    write_texts(index, stream, [item(1, "old words"), item(2, "old words")], 1)
    late = index.text_writer(stream, 2)
    write_texts(index, stream, [item(1, "new words")], 3)
    late.upsert([item(1, "middling words"), item(2, "middling words")])
    assert found(index, stream, "new") == [1]


def test_an_index_of_another_version_is_not_used(index: OpenSearchIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = documents()
    write_texts(index, stream, [item(1, "file")], 1)
    monkeypatch.setattr(mappings, "VERSION", mappings.VERSION + 1)
    assert index.state(stream) is None
    write_texts(index, stream, [item(2, "file")], 1)
    assert found(index, stream, "file") == [2]
    assert len(index.cluster.client.indices.get(index=f"*{stream.uid}*")) == 1


def test_nobody_answers() -> None:
    index = OpenSearchIndex("http://127.0.0.1:9", seconds=2)
    with pytest.raises(BackendUnavailable, match=r"127\.0\.0\.1:9"):
        index.state(documents())
    with pytest.raises(BackendUnavailable):
        index.search_text(documents(), ["file"], 10, None)
    with pytest.raises(BackendUnavailable):
        index.check()


def test_an_address_keeps_its_password_to_itself() -> None:
    index = OpenSearchIndex("https://user:secret@127.0.0.1:9", seconds=1)
    with pytest.raises(BackendUnavailable) as caught:
        index.check()
    assert "secret" not in str(caught.value)


@pytest.fixture(scope="module")
def corpus() -> list[dict[str, Any]]:
    """The first 1,500 docstrings of the standard library."""
    return list(itertools.islice(sample.documents(), 1500))


def fill(index: Index, corpus: list[dict[str, Any]], uid: str, run: str) -> None:
    items = [item(row, each["text"], module=each["module"], kind=each["kind"]) for row, each in enumerate(corpus)]
    stream = Stream(Kind.DOCUMENTS, uid)
    write_texts(index, stream, [item(row, "to be replaced by a file") for row in range(0, 1500, 7)], 1)
    write_texts(index, stream, items, 2)
    rows = np.arange(len(corpus), dtype=np.uint64)
    vectors = index.vector_writer(Stream(Kind.VECTORS, uid), 2)
    vectors.upsert(rows[:-5], np.random.default_rng(3).normal(size=(len(rows) - 5, 48)).astype(np.float32))
    vectors.commit()
    codes = index.code_writer(Stream(Kind.CODES, run), 2)
    codes.upsert(random_codes(rows, 192, 16))
    codes.commit()
    write_texts(index, Stream(Kind.LABELS, run), [item(i, f"label {i}") for i in range(0)], 1)


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


def test_both_back_ends_rank_alike(index: OpenSearchIndex, corpus: list[dict[str, Any]], tmp_path: Path) -> None:
    uid, run = uuid4().hex, uuid4().hex
    embedded = EmbeddedIndex(tmp_path / "index")
    for each in (index, embedded):
        fill(each, corpus, uid, run)
    random = np.random.default_rng(11)
    filters = [
        Condition(),
        Condition(facets=(analysis.facet("kind", "function"),)),
        Condition(latents=(LatentCondition(7, 0.5, False),)),
        Condition((analysis.facet("kind", "method"),), (LatentCondition(7, 0.1, True),)),
    ]
    compared = 0
    for text, mode, condition in itertools.product(QUERIES, Mode, filters):
        latents = np.sort(random.choice(192, 16, replace=False)).astype(np.uint32)
        query = Query(
            [uid],
            mode,
            analysis.terms(text),
            random.normal(size=48).astype(np.float32),
            frozenset([uid]),
            run,
            LatentQuery(latents, random.normal(size=16)),
            condition,
            limit=100,
        )
        ours, theirs = Retrieval(embedded).documents(query), Retrieval(index).documents(query)
        assert ours == theirs, (text, mode, condition)
        compared += len(ours.hits)
    assert compared > 5000
    embedded.close()
