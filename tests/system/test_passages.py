"""A long document among others, through all services and on both back ends: found, explained and attributed by span."""

from __future__ import annotations

import itertools
import os
import subprocess
import time
from collections.abc import Iterator

import httpx
import pytest

from prisma_client import Prisma, sample
from prisma_client.sync.datasets import Dataset
from prisma_client.sync.runs import Run
from tests.children import tied
from tests.stack import PRISMA, environment

PLANTED = "The zebrafish larvae swam through the luminescent aquarium at midnight."
QUERY = "zebrafish larvae swam luminescent aquarium"
LENGTH = 200_000
CHAPTERS = [f"chapter {number}" for number in range(800)]
"""More than 10 KiB: passages do not return them."""
SHORT_COUNT = 250
MODES = ("full_text", "semantic", "sparse", "hybrid")


def long_text() -> str:
    """LENGTH characters of prose, with the planted sentence three quarters in."""
    prose = " ".join(
        document["text"].strip()
        for document in itertools.islice(itertools.cycle(sample.documents()), SHORT_COUNT, 4000)
    )
    place = prose.index(". ", LENGTH * 3 // 4) + 2
    text = f"{prose[:place]}{PLANTED} {prose[place:]}"[:LENGTH]
    assert len(text) == LENGTH and text.count(PLANTED) == 1
    return text


@pytest.fixture(scope="module", params=["embedded", "opensearch"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a stack with this back end is."""
    folder = tmp_path_factory.mktemp("passages")
    settings = environment(folder)
    if request.param == "opensearch":
        settings["PRISMA_OPENSEARCH_URL"] = request.getfixturevalue("opensearch_url")
        settings["PRISMA_OPENSEARCH_PREFIX"] = f"passages{os.getpid()}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            tied(PRISMA, "up"), env=settings, stdout=subprocess.PIPE, stderr=log, text=True, cwd=folder
        )
        assert process.stdout is not None
        assert "PRISMA is up" in process.stdout.readline(), (folder / "log").read_text()
        try:
            yield settings["PRISMA_URL"]
        finally:
            process.terminate()
            process.wait(30)


@pytest.fixture(scope="module")
def prisma(url: str) -> Iterator[Prisma]:
    with Prisma(url) as connected:
        yield connected
        for dataset in connected.datasets.list():
            dataset.delete()


@pytest.fixture(scope="module")
def books(prisma: Prisma) -> Dataset:
    documents = list(itertools.islice(sample.documents(), SHORT_COUNT))
    long = {"id": "long-one", "text": long_text(), "kind": "book", "chapters": CHAPTERS}
    return prisma.datasets.create("Books", [*documents, long], dataset_id="books", passages=200, overlap=20)


@pytest.fixture(scope="module")
def run(books: Dataset) -> Run:
    books.embed()
    # A search by latents needs a code that tells passages apart: 5 epochs of 256 latents with 8 active do not.
    run = books.train(run_id="books", expansion=4, k=32, epochs=40, siblings=0)
    run.compute_statistics()
    status = None
    for _ in range(600):
        if (status := books.index_status()).current and len(status.streams) == 4:
            return run
        time.sleep(0.1)
    raise AssertionError(status)


@pytest.mark.parametrize("mode", MODES)
def test_a_sentence_deep_in_a_long_document_is_found(books: Dataset, run: Run, mode: str) -> None:
    whole = books.document("long-one")
    assert whole.text == long_text()
    response = books.search(QUERY, mode=mode, run=run, limit=10)
    hit = response.hits[0]
    passage = hit.passage
    assert (hit.key, passage.document) == ("long-one", whole.name)
    assert passage.count == whole.passage_count > 200
    assert whole.text[passage.start : passage.end] == books.document(hit.document.rsplit("/", 1)[1]).text
    place = whole.text.index(PLANTED)
    assert passage.start <= place and place + len(PLANTED) <= passage.end
    assert hit.metadata["kind"] == "book"
    assert hit.shared_features, "it is explained by features"
    assert len({other.passage.document for other in response.hits}) == len(response.hits)
    if mode != "full_text":
        assert len(response.hits) == 10
        assert any("of each document is shown" in notice for notice in response.notices)
    row = response.to_pandas().iloc[0]
    assert row["passage.document"] == whole.name
    assert (row["passage.index"], row["passage.count"]) == (passage.index, passage.count)
    assert (row["passage.start"], row["passage.end"]) == (passage.start, passage.end)


@pytest.mark.parametrize("mode", MODES)
def test_filters_compare_metadata_that_passages_do_not_return(books: Dataset, run: Run, mode: str) -> None:
    def keys(filter: str) -> set[str]:
        hits = books.search(QUERY, mode=mode, run=run, filter=filter, limit=10).hits
        assert all(hit.key != "long-one" or "chapters" not in hit.metadata for hit in hits)
        return {hit.key for hit in hits}

    assert keys('metadata.chapters = "chapter 799"') == {"long-one"}
    assert keys('metadata.chapters = "chapter 800"') == set()
    assert keys('metadata.kind = "book" AND metadata.chapters = "chapter 8"') == {"long-one"}
    assert "long-one" not in keys("NOT metadata.chapters:*")


def test_analyses_compare_it_too(books: Dataset, run: Run) -> None:
    whole = books.document("long-one")
    comparison = run.analyses.compare_datasets('metadata.chapters = "chapter 700"', "NOT metadata.chapters:*")
    assert comparison.first_document_count == whole.passage_count
    assert comparison.second_document_count == books.message.embedded_count - whole.passage_count


def test_filters_follow_a_change_of_metadata_alone(books: Dataset, run: Run) -> None:
    text = long_text()
    changed = {"id": "long-one", "text": text, "kind": "book", "chapters": [*CHAPTERS, "epilogue"]}
    assert books.add([changed], on_duplicate="replace").updated_count == 1
    hits = None
    for _ in range(600):
        hits = books.search(QUERY, mode="full_text", filter='metadata.chapters = "epilogue"', limit=10).hits
        if books.index_status().current and hits:
            break
        time.sleep(0.1)
    assert hits and {hit.key for hit in hits} == {"long-one"}


def test_a_hit_is_attributed_and_compared_by_span(books: Dataset, run: Run) -> None:
    text = long_text()
    first, second = books.search(QUERY, mode="semantic", run=run, limit=2).hits
    feature = first.shared_features[0].index
    attribution = run.analyses.attribute_sentences(first.document, indices=[feature], features="dead = false")
    assert attribution.passage == first.passage
    for sentence in attribution.sentences:
        start = attribution.passage.start + sentence.start
        assert text[start : start + len(sentence.text)] == sentence.text
    assert any(PLANTED in sentence.text for sentence in attribution.sentences)
    explanation = run.analyses.explain_similarity(first.document, second.document)
    assert (explanation.first_passage, explanation.second_passage) == (first.passage, second.passage)
    example = run.features.examples(feature, limit=1)[0]
    assert example.passage.document and example.passage.count


def test_similar_documents_are_other_documents(books: Dataset, run: Run) -> None:
    hit = books.search(QUERY, mode="semantic", run=run, limit=1).hits[0]
    similar = books.similar(hit.document.rsplit("/", 1)[1], limit=5).hits
    assert len(similar) == 5
    assert hit.passage.document not in {other.passage.document for other in similar}


def test_all_passages_of_a_document_go_with_it(url: str, books: Dataset, run: Run) -> None:
    httpx.delete(f"{url}/v1/{books.name}/documents/long-one").raise_for_status()
    hits = None
    for _ in range(600):
        hits = books.search(QUERY, mode="full_text", limit=10).hits
        is_followed = books.index_status().current and run.refresh().dataset_changes == "-1"
        if is_followed and not any(hit.key == "long-one" for hit in hits):
            return
        time.sleep(0.1)
    raise AssertionError(hits)
