"""Statistics of datasets: planted languages, duplicates and spectra; what they cover; SQLite and PostgreSQL."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any, cast

import grpc.aio
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from numpy.typing import NDArray

from prisma.common.v1.block_pb2 import VECTOR_ENCODING_FLOAT16
from prisma.common.v1.job_pb2 import Job
from prisma.embedder.v1 import embedder_service_pb2 as pb2
from prisma.embedder.v1.statistics_pb2 import DatasetStatistics, DuplicateStatistics
from prisma_common.words import word_count
from services.chassis import near_duplicates
from services.chassis.job_context import JobCancelled
from services.chassis.moments import utc_now
from services.embedder import statistics_messages, statistics_records
from services.embedder.documents import Dataset, NewDataset, NewDocument, OnDuplicate, Passages
from services.embedder.passages import Span
from services.embedder.statistics import duplicates, languages, texts, vectors
from services.embedder.statistics.distributions import BINS, LengthCounts, of_numbers
from services.embedder.statistics.texts import StoredText, TextScan, TextStatistics
from services.embedder.statistics.vectors import VectorScan, VectorStatistics, effective_rank
from services.embedder.statistics_job import StatisticsJob
from services.embedder.statistics_records import StatisticsRecords
from tests.calls import reason
from tests.embedder.test_given import created as created_with_vectors
from tests.embedder.test_given import imported as imported_with_vectors
from tests.embedder.test_given import npy
from tests.embedder.test_service import created, embedded, ended, imported
from tests.embedder.test_store import Attempt, Data, open_data

SENTENCES = {
    "en": "The harbour pilot boards the ferry before it enters the narrow channel.",
    "de": "Der Lotse geht an Bord der Fähre, bevor sie in die enge Fahrrinne einläuft.",
    "fr": "Le pilote du port monte à bord du ferry avant qu'il n'entre dans le chenal.",
    "ja": "港の水先案内人は、フェリーが狭い水路に入る前に乗り込みます。",
    "ru": "Портовый лоцман поднимается на борт парома до входа в узкий канал.",
}


@pytest.fixture
def data(database_url: str, tmp_path: Path) -> Iterator[Data]:
    opened = open_data(database_url, tmp_path)
    yield opened
    opened.database.close()


# Distributions


@given(st.lists(st.lists(st.integers(0, 5000), max_size=40), max_size=6))
def test_lengths_have_exact_quantiles_and_bins_that_hold_all(parts: list[list[int]]) -> None:
    counts = LengthCounts()
    for part in parts:
        counts.add(part)
    lengths = sorted(length for part in parts for length in part)
    distribution = counts.distribution()
    assert sum(distribution.counts) == len(lengths)
    if not lengths:
        assert distribution.edges == ()
        return
    assert (distribution.minimum, distribution.maximum) == (lengths[0], lengths[-1])
    assert distribution.mean == pytest.approx(np.mean(lengths))
    for quantile, share in ((distribution.median, 0.5), (distribution.p90, 0.9), (distribution.p99, 0.99)):
        assert quantile == np.quantile(lengths, share, method="inverted_cdf")
    edges = np.array(distribution.edges)
    assert len(edges) == len(distribution.counts) + 1 <= BINS + 3
    assert (np.diff(edges) > 0).all() and (edges == edges.astype(int)).all()
    assert edges[0] <= lengths[0] and edges[-1] >= lengths[-1]
    assert list(distribution.counts) == np.histogram(lengths, edges)[0].tolist()


def test_numbers_that_hardly_differ_are_in_one_bin() -> None:
    assert of_numbers(np.full(9, 1.0)).counts == [9]
    spread = of_numbers(np.arange(100.0))
    assert (sum(spread.counts), spread.edges[0], spread.edges[-1]) == (100, 0.0, 99.0)
    assert of_numbers(np.empty(0)).counts == ()


@pytest.mark.parametrize(
    ("text", "count"),
    [("", 0), ("one two, three!", 3), ("naïve café 🎉", 2), ("水路に入る", 5), ("C++ and F#", 3), (" \t\n", 0)],
)
def test_words_are_counted(text: str, count: int) -> None:
    assert word_count(text) == count


# Texts


def scanned(all_texts: Sequence[str], *, expected: int | None = None, page: int = 7) -> TextStatistics:
    scan = TextScan(len(all_texts) if expected is None else expected)
    stored = [StoredText(row, text, is_truncated=row % 2 == 1) for row, text in enumerate(all_texts)]
    for start in range(0, len(stored), page):
        scan.add(stored[start : start + page])
    return scan.statistics()


def test_planted_languages_are_identified_and_short_texts_are_undetermined() -> None:
    planted = [sentence for count, sentence in enumerate(SENTENCES.values(), start=1) for _ in range(count)]
    statistics = scanned([*planted, "", "ok", "12345", "!!!", "🎉🎉"]).languages
    assert dict(statistics.counts) == dict(zip(SENTENCES, range(1, 6), strict=True))
    assert [code for code, _count in statistics.counts] == list(reversed(SENTENCES))
    assert (statistics.sampled, statistics.undetermined) == (20, 5)
    assert statistics.method == f"py3langid {metadata.version('py3langid')}"


def test_languages_of_a_sample_are_those_of_the_same_documents_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "MAX_DOCUMENTS", 60)
    planted = [list(SENTENCES.values())[row % 2] for row in range(600)]
    first, second = scanned(planted, page=7).languages, scanned(planted, page=50).languages
    assert first == second
    assert 35 <= first.sampled <= 90
    assert sum(count for _code, count in first.counts) == first.sampled


def test_languages_say_that_nothing_identifies_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(languages, "method", lambda: "")
    statistics = scanned(list(SENTENCES.values()))
    assert (statistics.languages.method, statistics.languages.sampled, statistics.count) == ("", 0, 5)


def test_planted_duplicates_are_counted() -> None:
    unique = [f"{word} stands alone here, {word[::-1]} as well" for word in ("anchor", "buoy", "cleat", "dinghy")]
    long = "The keeper of the lighthouse wrote every evening what the weather had been, and which ships had passed: "
    long += "schooners with timber, steamers with coal, and in the autumn the herring boats of the northern islands."
    planted = [
        *unique,
        *["equal  text\n", "equal text", " equal text", "Equal text"],  # the last one only nearly
        *["cafe\u0301 au lait", "café au lait"],
        *[long, long.upper(), f"{long} 12!", long.replace("evening", "morning")],
        *["", " ", "\u200b"],
    ]
    statistics = scanned(planted)
    equal, near = statistics.equal, statistics.near
    assert (equal.compared, equal.groups, equal.excess) == (len(planted) - 3, 2, 3)
    assert [(group.size, list(group.rows)) for group in equal.largest] == [(3, [4, 5, 6]), (2, [8, 9])]
    assert [(group.size, list(group.rows)) for group in near.largest] == [
        (4, [4, 5, 6, 7]),
        (4, [10, 11, 12, 13]),
        (2, [8, 9]),
    ]
    assert (near.groups, near.excess) == (3, 7)
    assert (statistics.empty, statistics.truncated) == (3, len(planted) // 2)


@given(st.lists(st.sampled_from(["alpha beta", "alpha  beta", "gamma", "", "delta epsilon zeta"]), max_size=60))
def test_equal_texts_are_counted_as_a_dictionary_counts_them(all_texts: list[str]) -> None:
    equal = scanned(all_texts).equal
    counts: dict[str, int] = {}
    for text in all_texts:
        if text:
            counts[" ".join(text.split())] = counts.get(" ".join(text.split()), 0) + 1
    assert equal.compared == sum(counts.values())
    assert equal.groups == sum(count > 1 for count in counts.values())
    assert equal.excess == sum(count - 1 for count in counts.values())


def test_of_many_groups_the_largest_are_named_with_their_first_documents() -> None:
    planted = [f"text number {n} {'x' * n}" for n in range(40) for _ in range(2 + n % 15)]
    largest = scanned(planted).equal.largest
    assert [group.size for group in largest] == sorted((2 + n % 15 for n in range(40)), reverse=True)[:20]
    assert all(len(group.rows) == min(group.size, 10) for group in largest)
    assert largest[0].rows == sorted(largest[0].rows)


def test_only_so_many_documents_are_compared_and_the_count_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "MAX_COMPARED", 10)
    statistics = scanned(["the same text each time"] * 25)
    for groups in (statistics.equal, statistics.near):
        assert (groups.compared, groups.groups, groups.excess) == (10, 1, 9)
    assert statistics.count == 25


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=40))
def test_groups_are_joined_as_the_connected_components_of_a_graph(pairs: list[tuple[int, int]]) -> None:
    labels = np.arange(31)
    first, second = np.array(pairs, np.int64).reshape(-1, 2).T
    near_duplicates.join(labels, first, second)
    members = {n: {n} for n in range(31)}
    for one, other in pairs:
        joined = members[one] | members[other]
        for member in joined:
            members[member] = joined
    assert labels.tolist() == [min(members[n]) for n in range(31)]


# Vectors


def spectrum(array: NDArray[np.float32], *, expected: int | None = None, page: int = 13) -> VectorStatistics:
    scan = VectorScan(array.shape[1], len(array) if expected is None else expected)
    for start in range(0, len(array), page):
        part = array[start : start + page]
        scan.add(np.arange(start, start + len(part), dtype=np.uint64), part)
    statistics = scan.statistics()
    assert statistics is not None
    return statistics


@pytest.mark.parametrize("dimension", [8, 5000])
@pytest.mark.parametrize("rank", [1, 3, 8])
def test_vectors_that_vary_alike_in_k_directions_have_the_effective_rank_k(rank: int, dimension: int) -> None:
    rng = np.random.default_rng(rank)
    directions = np.linalg.qr(rng.normal(size=(dimension, 8)))[0][:, :rank].T
    both_ways = np.concatenate([directions, -directions]).repeat(5, axis=0)  # the mean is 0
    statistics = spectrum((both_ways + 3).astype(np.float32))  # centred, it is again
    assert statistics.effective_rank == pytest.approx(rank, rel=1e-3)
    assert statistics.cumulative_variance[rank - 1] == pytest.approx(1)
    assert statistics.cumulative_variance[:rank] == pytest.approx([n / rank for n in range(1, rank + 1)], rel=1e-4)
    assert statistics.spectrum_count == len(both_ways)


def test_the_effective_rank_is_that_of_roy_and_vetterli_for_a_known_spectrum() -> None:
    values = np.array([8.0, 4.0, 2.0, 2.0, 0.0])
    entropy = -sum(share * np.log(share) for share in (0.5, 0.25, 0.125, 0.125))
    assert effective_rank(values) == pytest.approx(np.exp(entropy))
    rng = np.random.default_rng(0)
    left = np.linalg.qr(np.column_stack([np.ones(64), rng.normal(size=(64, 5))]))[0][:, 1:]  # orthogonal to the mean
    right = np.linalg.qr(rng.normal(size=(6, 5)))[0]
    statistics = spectrum((left * values @ right.T + 1).astype(np.float32))
    assert statistics.effective_rank == pytest.approx(np.exp(entropy), rel=1e-4)
    assert statistics.cumulative_variance[:4] == pytest.approx(np.cumsum(values[:4] ** 2) / 88, rel=1e-5)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(2, 40), st.integers(1, 6), st.integers(0, 2**32 - 1), st.sampled_from([1e-3, 1.0, 1e4]))
def test_vectors_are_described_as_by_a_computation_on_all_at_once(
    count: int, dimension: int, seed: int, scale: float
) -> None:
    rng = np.random.default_rng(seed)
    array = (scale * (rng.normal(size=(count, dimension)) + rng.normal(size=dimension))).astype(np.float32)
    statistics = spectrum(array)
    exact = array.astype(np.float64)
    norms = np.linalg.norm(exact, axis=1)
    unit = exact / norms[:, None]
    cosines = (unit @ unit.T)[~np.eye(count, dtype=bool)]
    assert statistics.mean_cosine == pytest.approx(cosines.mean(), abs=1e-6)
    assert statistics.mean_vector_norm == pytest.approx(np.linalg.norm(exact.mean(axis=0)), rel=1e-6)
    assert (statistics.norms.minimum, statistics.norms.maximum) == pytest.approx((norms.min(), norms.max()), rel=1e-6)
    singular = np.linalg.svd(exact - exact.mean(axis=0), compute_uv=False)
    assert statistics.effective_rank == pytest.approx(effective_rank(singular), rel=1e-4, abs=1e-4)
    assert statistics.cumulative_variance[-1] == pytest.approx(1)


def test_equal_vectors_unit_norms_and_zeros() -> None:
    rng = np.random.default_rng(1)
    array = rng.normal(size=(30, 16)).astype(np.float32)
    array /= np.linalg.norm(array, axis=1, keepdims=True)
    array[[4, 9, 20]] = array[2]
    statistics = spectrum(array.astype(np.float16).astype(np.float32))
    assert statistics.is_normalized
    assert (statistics.equal.groups, statistics.equal.excess) == (1, 3)
    assert list(statistics.equal.largest[0].rows) == [2, 4, 9, 20]
    same = spectrum(np.tile(array[:1], (12, 1)))
    assert (same.effective_rank, same.cumulative_variance, same.mean_cosine) == (0, [], pytest.approx(1))
    zeros = spectrum(np.zeros((3, 4), np.float32))
    assert (zeros.mean_cosine, zeros.effective_rank, zeros.is_normalized) == (0, 0, False)
    assert VectorScan(4, 0).statistics() is None


def test_of_long_vectors_the_spectrum_is_that_of_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "MAX_DIMENSION", 16)
    monkeypatch.setattr(vectors, "MAX_SAMPLE", 200)
    rng = np.random.default_rng(2)
    array = (rng.normal(size=(1000, 4)) @ rng.normal(size=(4, 32))).astype(np.float32)
    statistics, again = spectrum(array), spectrum(array, page=100)
    assert 150 <= statistics.spectrum_count <= 200
    assert statistics.effective_rank == again.effective_rank
    exact = np.linalg.svd(array - array.mean(axis=0), compute_uv=False).astype(np.float64)
    assert statistics.effective_rank == pytest.approx(effective_rank(exact[:4]), rel=0.1)
    assert statistics.count == 1000


def test_long_vectors_have_finite_norms() -> None:
    statistics = spectrum(np.array([[3e38, 3e38], [1, 0]], np.float32))
    assert statistics.norms.maximum == pytest.approx(3e38 * 2**0.5)
    assert np.isfinite([statistics.mean_cosine, statistics.effective_rank, statistics.norms.mean]).all()


def test_a_covariance_is_computed_in_blocks_and_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "_BLOCK", 100)
    array = np.random.default_rng(4).normal(size=(50, 1024)).astype(np.float32)
    scan = VectorScan(1024, 50)
    tracemalloc.start()
    scan.add(np.arange(50, dtype=np.uint64), array)
    statistics = scan.statistics()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 1024 * 1024, "no second matrix beside that of the covariance, which was there before"
    assert statistics is not None
    exact = array.astype(np.float64)
    singular = np.linalg.svd(exact - exact.mean(axis=0), compute_uv=False)
    assert statistics.effective_rank == pytest.approx(effective_rank(singular[:49]), rel=1e-6)


# What is stored, and what it covers


async def computed(data: Data, attempt: Attempt | None = None) -> DatasetStatistics:
    records = StatisticsRecords(data.database)
    job = StatisticsJob(store=data.store, vectors=data.vectors, records=records)
    attempt = attempt or Attempt(utc_now())
    await job.run(pb2.ComputeDatasetStatisticsRequest(dataset="datasets/d"), cast(Any, attempt))
    return stored(data)


def stored(data: Data) -> DatasetStatistics:
    dataset = data.store.dataset("d")
    record = StatisticsRecords(data.database).find(dataset)
    assert record is not None
    return statistics_messages.statistics(dataset, record)


def groups_of(message: DuplicateStatistics) -> list[tuple[int, list[str], str]]:
    return [(group.document_count, list(group.documents), group.text) for group in message.largest_groups]


async def test_statistics_cover_a_state_of_the_dataset_and_are_stale_behind_it(data: Data) -> None:
    dataset = data.create()
    empty = await computed(data)
    assert (empty.document_count, empty.stale, empty.HasField("vectors")) == (0, False, False)
    data.add(dataset, 10)
    assert stored(data).stale
    pending = await computed(data)
    assert (pending.document_count, pending.stale, pending.HasField("vectors")) == (10, False, False)
    data.embed(dataset, range(8), failed=frozenset({3}))
    assert stored(data).stale
    current = await computed(data)
    assert (current.document_count, current.vectors.vector_count, current.vectors.dimension) == (10, 7, 2)
    assert current.fingerprint == data.store.dataset("d").fingerprint
    assert list(current.texts.characters.counts) and current.texts.characters.max == len("text 0")
    again = await computed(data)
    assert again == current, "nothing has changed, so nothing is computed"
    data.store.add_documents("d", dataset.uid, [NewDocument("key 0", "other", {})], on_duplicate=OnDuplicate.REPLACE)
    assert stored(data).stale
    replaced = await computed(data)
    assert (replaced.document_count, replaced.vectors.vector_count, replaced.stale) == (10, 6, False)
    metadata_only = [NewDocument("key 1", "text 1", {"n": "another"})]
    data.store.add_documents("d", dataset.uid, metadata_only, on_duplicate=OnDuplicate.REPLACE)
    assert not stored(data).stale, "metadata is no part of them"
    assert stored(data).revision < data.store.dataset("d").revision


class Changing(Attempt):
    """An attempt that finds the dataset changed once it has read some texts."""

    def __init__(self, change: Callable[[], object]) -> None:
        super().__init__(utc_now())
        self._change = change

    async def progress(self, done: int, total: int, *unit: str) -> None:
        await super().progress(done, total, *unit)
        if len(self.progresses) == 2:
            self._change()


async def test_documents_whose_metadata_changes_meanwhile_are_not_left_out(
    data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics_records, "_PAGE_ROWS", 4)
    dataset = data.create()
    data.add(dataset, 10)
    data.embed(dataset, range(10))
    changed = [NewDocument(f"key {row}", f"text {row}", {"n": "another"}) for row in range(10)]
    attempt = Changing(lambda: data.store.add_documents("d", dataset.uid, changed, on_duplicate=OnDuplicate.REPLACE))
    message = await computed(data, attempt)
    assert data.store.dataset("d").revision > message.revision
    assert (message.document_count, message.vectors.vector_count, message.stale) == (10, 10, False)


async def test_statistics_of_no_state_of_the_dataset_are_stale(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics_records, "_PAGE_ROWS", 4)
    dataset = data.create()
    data.add(dataset, 10)

    def delete_and_add() -> None:
        data.store.delete_document("d", data.store.documents_after(dataset_now(), 7, 1)[0][0].id)
        data.store.add_documents("d", dataset.uid, [NewDocument("key 8", "text 8", {"n": 8})])

    def dataset_now() -> Dataset:
        return data.store.dataset("d")

    before = dataset_now().fingerprint
    attempt = Changing(delete_and_add)
    message = await computed(data, attempt)
    assert dataset_now().fingerprint == before, "it has the same documents again"
    assert (message.document_count, message.stale, message.fingerprint) == (9, True, "")
    assert attempt.lines[-1] == "the dataset changed meanwhile: these statistics are stale"
    again = await computed(data)
    assert (again.document_count, again.stale, again.fingerprint) == (10, False, before)


async def test_later_documents_with_passages_are_left_out(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics_records, "_PAGE_ROWS", 1)
    new = NewDataset("d", None, "", "builtin/wordllama-256", passages=Passages(max_tokens=64, overlap_tokens=0))
    dataset = data.store.create_dataset(new)

    def add(*keys: str) -> None:
        documents = [NewDocument(key, "one passage", {}, spans=[Span(0, 11)]) for key in keys]
        data.store.add_documents("d", dataset.uid, documents)

    add("a", "b")

    message = await computed(data, Changing(lambda: add("c")))
    assert (message.document_count, message.stale) == (2, True)
    data.store.delete_document("d", "c")
    assert not stored(data).stale, "the dataset is again as it was read"


async def test_statistics_of_another_method_are_computed_again(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    data.add(data.create(), 3)
    with monkeypatch.context() as without:
        without.setattr(languages, "method", lambda: "")
        message = await computed(data)
        assert (message.languages.method, message.stale) == ("", False)
    assert stored(data).stale, "languages can be identified by now"
    current = await computed(data)
    assert (current.languages.sampled_count, current.stale) == (3, False)


async def test_statistics_never_replace_later_ones(data: Data) -> None:
    dataset = data.create()
    data.add(dataset, 3)
    message = await computed(data)
    records = StatisticsRecords(data.database)
    record = records.find(dataset)
    assert record is not None
    records.store(dataset, replace(record, revision=record.revision - 1, fingerprint="", content=b""))
    assert stored(data) == message


def test_pages_of_texts_are_bounded_by_their_bytes(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics_records, "_PAGE_BYTES", 10)
    dataset = data.create()
    sizes = [4, 4, 4, 25, 1]
    data.store.add_documents(
        "d", dataset.uid, [NewDocument(str(row), "x" * size, {}) for row, size in enumerate(sizes)]
    )
    data.store.delete_document("d", "1")
    dataset = data.store.dataset("d")
    records, pages, row = StatisticsRecords(data.database), list[list[int]](), -1
    while True:
        page, last_row = records.texts_after(dataset, row)
        if last_row is None:
            break
        pages.append([text.row for text in page])
        row = last_row
    assert pages == [[0, 2], [3], [4]]


async def test_duplicates_are_named_by_their_documents(data: Data) -> None:
    dataset = data.create()
    repeated = ["the same text"] * 12 + ["a text of its own", "another text, alone"]
    documents = [NewDocument(f"key-{row}", text, {}) for row, text in enumerate(repeated)]
    data.store.add_documents("d", dataset.uid, documents)
    message = await computed(data)
    assert list(message.exact_duplicates.largest_groups[0].keys) == [f"key-{row}" for row in range(10)]
    names = [f"datasets/d/documents/key-{row}" for row in range(10)]
    assert groups_of(message.exact_duplicates) == [(12, names, "the same text")]
    assert message.exact_duplicates.excess_count == 11


async def test_texts_of_passages_are_those_of_the_documents_above_them(data: Data) -> None:
    new = NewDataset("d", None, "", "builtin/wordllama-256", passages=Passages(max_tokens=64, overlap_tokens=0))
    dataset = data.store.create_dataset(new)
    text = "The first passage. The second one."
    documents = [NewDocument(key, text, {}, spans=[Span(0, 18), Span(18, len(text))]) for key in ("a", "b", "c")]
    data.store.add_documents("d", dataset.uid, documents)
    data.embed(data.store.dataset("d"), range(6))
    message = await computed(data)
    assert (message.document_count, message.vectors.vector_count) == (3, 6)
    assert message.texts.characters.min == message.texts.characters.max == len(text)
    names = [f"datasets/d/documents/{key}" for key in "abc"]
    assert groups_of(message.exact_duplicates) == [(3, names, text)]
    assert not message.stale
    data.store.delete_document("d", "b")
    assert stored(data).stale
    assert (await computed(data)).document_count == 2


async def test_what_is_stored_goes_with_the_dataset(data: Data) -> None:
    dataset = data.create()
    data.add(dataset, 3)
    await computed(data)
    record = StatisticsRecords(data.database).find(dataset)
    data.store.delete_dataset("d")
    records = StatisticsRecords(data.database)
    records.sweep()
    assert records.find(dataset) is None
    assert record is not None
    records.store(dataset, record)
    assert records.find(dataset) is None, "nothing is stored of a deleted dataset"
    assert records.find(data.create()) is None


async def test_a_cancelled_computation_leaves_what_was_stored(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = data.create()
    data.add(dataset, 3)
    before = await computed(data)
    data.add(dataset, 3, start=3)

    async def cancelled(*_arguments: object) -> None:
        raise JobCancelled("cancelled")

    monkeypatch.setattr(Attempt, "progress", cancelled)
    with pytest.raises(JobCancelled):
        await computed(data)
    after = stored(data)
    assert after.stale
    after.stale = False
    assert after == before


# As clients see them


async def test_statistics_of_an_embedded_dataset(stub: Any, jobs: Any) -> None:
    await created(stub)
    for call, request, expected in (
        ("Get", pb2.GetDatasetStatisticsRequest(name="datasets/d/statistics"), "STATISTICS_NOT_COMPUTED"),
        ("Get", pb2.GetDatasetStatisticsRequest(name="datasets/none/statistics"), "DATASET_NOT_FOUND"),
        ("Get", pb2.GetDatasetStatisticsRequest(name="datasets/d"), "INVALID_ARGUMENT"),
        ("Compute", pb2.ComputeDatasetStatisticsRequest(dataset="datasets/none"), "DATASET_NOT_FOUND"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await getattr(stub, f"{call}DatasetStatistics")(request)
        assert reason(caught.value) == expected
    await imported(stub, [{"id": str(n), "text": sentence} for n, sentence in enumerate([*SENTENCES.values()] * 3)])
    await embedded(stub, jobs)
    job = await stub.ComputeDatasetStatistics(pb2.ComputeDatasetStatisticsRequest(dataset="datasets/d"))
    assert job.kind == "compute-dataset-statistics"
    assert (await ended(jobs, job)).state == Job.STATE_SUCCEEDED
    message = await stub.GetDatasetStatistics(pb2.GetDatasetStatisticsRequest(name="datasets/d/statistics"))
    assert {language.code: language.document_count for language in message.languages.languages} == dict.fromkeys(
        SENTENCES, 3
    )
    assert (message.document_count, message.exact_duplicates.group_count, message.stale) == (15, 5, False)
    assert (message.vectors.vector_count, message.vectors.duplicates.group_count) == (15, 5)
    assert 1 < message.vectors.effective_rank <= 4.01, "five different vectors vary in four directions"
    await imported(stub, [{"id": "new", "text": "one more"}])
    assert (await stub.GetDatasetStatistics(pb2.GetDatasetStatisticsRequest(name=message.name))).stale


async def test_statistics_of_vectors_alone(stub: Any, jobs: Any) -> None:
    await created_with_vectors(stub)
    array = np.random.default_rng(3).normal(size=(50, 8)).astype(np.float16)
    array[7] = array[3]
    await imported_with_vectors(stub, npy(array))
    await ended(jobs, await stub.ComputeDatasetStatistics(pb2.ComputeDatasetStatisticsRequest(dataset="datasets/d")))
    message = await stub.GetDatasetStatistics(pb2.GetDatasetStatisticsRequest(name="datasets/d/statistics"))
    assert (message.document_count, message.texts.empty_count, message.exact_duplicates.compared_count) == (50, 50, 0)
    assert (message.languages.sampled_count, message.languages.undetermined_count) == (50, 50)
    assert message.vectors.encoding == VECTOR_ENCODING_FLOAT16
    assert groups_of(message.vectors.duplicates) == [(2, ["datasets/d/documents/3", "datasets/d/documents/7"], "")]
    exact = array.astype(np.float64)
    norms = np.linalg.norm(exact, axis=1)
    assert (message.vectors.norms.min, message.vectors.norms.max) == pytest.approx((norms.min(), norms.max()))
    singular = np.linalg.svd(exact - exact.mean(axis=0), compute_uv=False)
    assert message.vectors.effective_rank == pytest.approx(effective_rank(singular), rel=1e-6)
    assert json.loads(json.dumps(list(message.vectors.cumulative_variance)))[-1] == pytest.approx(1)
