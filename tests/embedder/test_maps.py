"""Maps of datasets: principal components, samples, colours, UMAP in a process of its own; on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from prisma.embedder.v1 import embedder_service_pb2 as pb2
from prisma.embedder.v1.statistics_pb2 import DatasetMap, MapColors
from services.chassis.errors import Internal, InvalidArgument
from services.chassis.metadata_terms import Type
from services.chassis.moments import utc_now
from services.embedder import requests, statistics_messages, umap_maps
from services.embedder.documents import Dataset, NewDocument, OnDuplicate
from services.embedder.errors import DatasetNotEmbedded, NotInstalled, StatisticsNotComputed
from services.embedder.map_job import MapJob, Maps, SampledVectors, sampled_vectors
from services.embedder.statistics import maps
from services.embedder.statistics.methods import MapMethod, versioned
from services.embedder.statistics_records import StatisticsRecords, StoredStatistics
from services.embedder.umap_maps import umap_points
from services.embedder.vector_store import VectorStore
from tests.embedder.test_store import Attempt, Data, open_data

DEFAULT = DatasetMap.METHOD_UNSPECIFIED


@pytest.fixture
def data(database_url: str, tmp_path: Path) -> Iterator[Data]:
    opened = open_data(database_url, tmp_path)
    yield opened
    opened.database.close()


def given_dataset(data: Data, vectors: NDArray[np.float32], **metadata: list[object]) -> Dataset:
    """A dataset with these vectors, and fields of metadata; None is no value."""
    dataset = data.create(model="given")
    documents = [
        NewDocument(
            str(row), "", {name: values[row] for name, values in metadata.items() if values[row] is not None}, vector
        )
        for row, vector in enumerate(vectors)
    ]
    data.store.add_documents("d", dataset.uid, documents, shard=data.vectors.write_shard(dataset.uid, vectors))
    return data.store.dataset("d")


def maps_of(data: Data) -> Maps:
    return Maps(store=data.store, vectors=data.vectors, records=StatisticsRecords(data.database), jobs=cast(Any, None))


def cluster_vectors(count: int, dimension: int = 12) -> NDArray[np.float32]:
    """Vectors of two clusters in turn."""
    rng = np.random.default_rng(5)
    centres = 4 * np.eye(dimension)[:2]
    return (centres[np.arange(count) % 2] + 0.3 * rng.normal(size=(count, dimension))).astype(np.float32)


@pytest.mark.parametrize("exact_dimension", [1024, 0])
def test_principal_components_are_those_of_a_decomposition(
    exact_dimension: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maps, "_EXACT_DIMENSION", exact_dimension)
    rng = np.random.default_rng(1)
    vectors = (rng.normal(size=(300, 40)) * np.linspace(9, 1, 40) + 5).astype(np.float32)
    points, shares = maps.principal_components(vectors)
    centred = vectors - vectors.mean(axis=0, dtype=np.float64)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    assert np.abs(points) == pytest.approx(np.abs(left[:, :2] * singular[:2]), abs=1e-2)
    assert shares == pytest.approx(np.square(singular[:2]) / np.square(singular).sum(), rel=1e-4)
    assert (points.max(axis=0) >= -points.min(axis=0)).all(), "the largest coordinate is positive"
    assert (points == maps.principal_components(vectors)[0]).all()


def test_vectors_with_little_to_see_have_a_map() -> None:
    for vectors in (np.ones((3, 4)), np.ones((1, 4)), np.arange(3.0).reshape(3, 1)):
        points, shares = maps.principal_components(vectors.astype(np.float32))
        assert points.shape == (len(vectors), 2)
        assert np.isfinite(points).all() and np.isfinite(shares).all()


def test_a_sample_is_bounded_and_depends_on_the_rows_alone() -> None:
    rows = np.arange(50_000, dtype=np.uint64)
    sample = maps.sample(rows, 384)
    assert len(sample) == 20_000 and (np.diff(sample.astype(np.int64)) > 0).all()
    assert (sample == maps.sample(rows, 8)).all()
    assert len(maps.sample(rows, 16_000)) == (64 << 20) // 64_000
    assert (maps.sample(rows[:500], 384) == rows[:500]).all()
    later = maps.sample(np.arange(51_000, dtype=np.uint64), 384)
    assert len(np.intersect1d(sample, later)) > 19_000, "new documents replace few of the points"


def test_rare_values_share_a_colour() -> None:
    values = {row: f"value {min(row // 2, 14)}" for row in range(40)}
    categories = maps.categories(values, [*range(40), 99])
    assert categories.names[0] == "value 14" and categories.names[-1] == "other values" and len(categories.names) == 9
    assert categories.numbers[-1] == 0 and categories.numbers[39] == 1 and max(categories.numbers) == 9
    assert maps.categories({0: "a"}, [0, 1]) == maps.Categories(["a"], [1, 0])


async def test_a_map_is_drawn_at_once_with_colours_and_says_what_it_covers(data: Data) -> None:
    topics: list[object] = ["sea", None, "land", "sea", "land", "sea"]
    years: list[object] = [1999, 2001.5, None, 3, 4, 5]
    dataset = given_dataset(data, cluster_vectors(6), topic=topics, year=years)
    drawing = maps_of(data)
    plain = await drawing.get("d", MapMethod.PCA, "")
    assert list(plain.rows) == list(range(6)) and len(plain.x) == len(plain.y) == 6
    assert (plain.vector_count, plain.stale, plain.method) == (6, False, DatasetMap.METHOD_PCA)
    assert plain.fingerprint == dataset.fingerprint and 0.5 < sum(plain.explained_variance) <= 1
    assert {np.sign(x) for x in plain.x[::2]} != {np.sign(x) for x in plain.x[1::2]}, "the clusters are apart"
    by_topic = (await drawing.get("d", MapMethod.PCA, "topic")).colors
    assert (list(by_topic.categories), list(by_topic.category)) == (["sea", "land"], [1, 0, 2, 1, 2, 1])
    by_year = (await drawing.get("d", MapMethod.PCA, "year")).colors
    assert np.array_equal(list(by_year.numbers), [1999, 2001.5, np.nan, 3, 4, 5], equal_nan=True)
    data.store.delete_document("d", "4")
    assert list((await drawing.get("d", MapMethod.PCA, "")).rows) == [0, 1, 2, 3, 5], "it is the present one"
    with pytest.raises(InvalidArgument, match="expected a field"):
        await drawing.get("d", MapMethod.PCA, "none")


async def test_lists_are_colours_and_texts_that_read_as_numbers_are_numbers(data: Data) -> None:
    tags: list[object] = [["a", 1.0], "a", ["a", 1.0], None, ["b"], "a"]
    scores: list[object] = [[1, 2], 3, 4, 5, 6, 7]
    ratings: list[object] = ["4.5", "4", 3, "1e400", "none", True]
    given_dataset(data, cluster_vectors(6), tags=tags, score=scores, rating=ratings)
    data.store.choose_types("d", data.store.dataset("d").uid, {"rating": Type.NUMBER})
    drawing = maps_of(data)

    async def colors(field: str) -> MapColors:
        return (await drawing.get("d", MapMethod.PCA, field)).colors

    by_tags, by_score, by_rating = await colors("tags"), await colors("score"), await colors("rating")
    assert (list(by_tags.categories), list(by_tags.category)) == (["a", "a, 1", "b"], [2, 1, 2, 0, 3, 1])
    assert by_score.categories[0] == "1, 2" and not by_score.numbers
    assert np.array_equal(list(by_rating.numbers), [4.5, 4, 3, np.nan, np.nan, np.nan], equal_nan=True)


async def test_a_map_is_computed_once_for_all_who_wait_for_it(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    given_dataset(data, cluster_vectors(6))
    drawing = maps_of(data)
    loop, began, drawn = asyncio.get_running_loop(), asyncio.Event(), list[Dataset]()

    def noted(vectors: VectorStore, dataset: Dataset) -> SampledVectors:
        drawn.append(dataset)
        loop.call_soon_threadsafe(began.set)
        return sampled_vectors(vectors, dataset)

    monkeypatch.setattr("services.embedder.map_job.sampled_vectors", noted)
    waiting = [asyncio.create_task(drawing.get("d", MapMethod.PCA, "")) for _ in range(5)]
    await began.wait()
    waiting[0].cancel()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert len(drawn) == 1
    assert isinstance(results[0], asyncio.CancelledError)
    assert all(isinstance(result, DatasetMap) and len(result.rows) == 6 for result in results[1:])


def test_documents_whose_metadata_changes_while_a_map_is_drawn_are_part_of_it(data: Data) -> None:
    vectors = cluster_vectors(6)
    dataset = given_dataset(data, vectors)
    changed = [NewDocument("2", "", {"new": 1}, vectors[2])]
    shard = data.vectors.write_shard(dataset.uid, vectors[2:3])
    data.store.add_documents("d", dataset.uid, changed, shard=shard, on_duplicate=OnDuplicate.REPLACE)
    assert data.store.dataset("d").revision > dataset.revision
    sample = sampled_vectors(data.vectors, dataset)
    assert (sample.rows.tolist(), sample.total, sample.is_complete) == (list(range(6)), 6, True)
    data.store.delete_document("d", "2")
    data.store.add_documents("d", dataset.uid, changed, shard=data.vectors.write_shard(dataset.uid, vectors[2:3]))
    sample = sampled_vectors(data.vectors, dataset)
    assert (sample.rows.tolist(), sample.is_complete) == ([0, 1, 3, 4, 5], False)


def test_a_map_of_an_older_version_is_stale_and_is_replaced(data: Data) -> None:
    dataset = given_dataset(data, cluster_vectors(6))
    records = StatisticsRecords(data.database)
    older = StoredStatistics(
        content=b"", method="UMAP", revision=dataset.revision, fingerprint=dataset.fingerprint, compute_time=utc_now()
    )
    records.store_map(dataset, older)
    assert records.find_map(dataset, MapMethod.UMAP) == older
    assert statistics_messages.dataset_map(dataset, older).stale
    newer = replace(older, method=versioned(MapMethod.UMAP))
    records.store_map(dataset, newer)
    assert records.find_map(dataset, MapMethod.UMAP) == newer
    assert not statistics_messages.dataset_map(dataset, newer).stale
    records.store_map(dataset, replace(newer, revision=newer.revision - 1))
    assert records.find_map(dataset, MapMethod.UMAP) == newer, "it is of a later revision"


async def test_what_has_no_vectors_has_no_map(data: Data) -> None:
    data.add(data.create(), 3)
    with pytest.raises(DatasetNotEmbedded, match="has 0 vectors"):
        await maps_of(data).get("d", MapMethod.PCA, "")
    with pytest.raises(DatasetNotEmbedded):
        await maps_of(data).compute(pb2.ComputeDatasetMapRequest(dataset="datasets/d"))


def test_only_known_methods_are_taken() -> None:
    assert requests.map_method(DEFAULT) is MapMethod.PCA
    assert requests.map_method(DatasetMap.METHOD_UMAP) is MapMethod.UMAP
    with pytest.raises(InvalidArgument, match="METHOD_UMAP"):
        requests.map_method(cast(Any, 7))


async def test_a_server_without_umap_says_how_to_install_it(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    given_dataset(data, cluster_vectors(6))
    monkeypatch.setattr(umap_maps.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(NotInstalled, match="embedder-map"):
        await maps_of(data).compute(pb2.ComputeDatasetMapRequest(dataset="datasets/d"))


async def test_umap_is_stored_by_a_job_until_the_dataset_changes(tmp_path: Path) -> None:
    data = open_data(f"sqlite:///{tmp_path / 'd.db'}", tmp_path)
    dataset = given_dataset(data, cluster_vectors(60))
    with pytest.raises(StatisticsNotComputed, match="no map by UMAP yet"):
        await maps_of(data).get("d", MapMethod.UMAP, "")
    folder = tmp_path / "scratch"
    job = MapJob(store=data.store, vectors=data.vectors, records=StatisticsRecords(data.database), folder=folder)
    attempt = Reporting()
    request = pb2.ComputeDatasetMapRequest(dataset="datasets/d")
    await job.run(request, cast(Any, attempt))
    assert attempt.last == (attempt.last[1], attempt.last[1]) and attempt.last[1] > 0, "all epochs were reported"
    assert list(folder.iterdir()) == [], "its files are deleted"
    drawn = await maps_of(data).get("d", MapMethod.UMAP, "")
    points = np.column_stack([drawn.x, drawn.y])
    distances = np.linalg.norm(points[:, None] - points, axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (distances.argmin(axis=1) % 2 == np.arange(60) % 2).all(), "neighbours are of the same cluster"
    assert (drawn.method, drawn.stale, len(drawn.rows)) == (DatasetMap.METHOD_UMAP, False, 60)
    again = Reporting()
    await job.run(request, cast(Any, again))
    assert again.lines == ["there is a map of the present documents and vectors already"]
    data.store.delete_document("d", "3")
    stale = await maps_of(data).get("d", MapMethod.UMAP, "")
    assert stale.stale and list(stale.x) == list(drawn.x)
    data.store.delete_dataset("d")
    records = StatisticsRecords(data.database)
    records.sweep()
    assert records.find_map(dataset, MapMethod.UMAP) is None
    data.database.close()


def test_compiled_code_has_a_place_where_the_library_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr(umap_maps.os, "access", lambda _path, _mode: False)
    assert umap_maps._environment(tmp_path)["NUMBA_CACHE_DIR"] == str(tmp_path / "compiled")
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/own")
    assert umap_maps._environment(tmp_path)["NUMBA_CACHE_DIR"] == "/own"
    monkeypatch.undo()
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    assert "NUMBA_CACHE_DIR" not in umap_maps._environment(tmp_path)


async def test_who_cancels_umap_leaves_no_process(tmp_path: Path) -> None:
    reported = asyncio.Event()

    async def report(_done: int, _total: int) -> None:
        reported.set()

    before = {child.pid for child in psutil.Process().children(recursive=True)}
    task = asyncio.create_task(umap_points(cluster_vectors(2000), report, tmp_path))
    await reported.wait()
    started = {child.pid for child in psutil.Process().children(recursive=True)} - before
    assert started
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not any(psutil.pid_exists(pid) for pid in started)


async def test_a_silent_process_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(umap_maps, "_SILENT_SECONDS", 0.0)
    monkeypatch.setattr(umap_maps, "_REPORT_SECONDS", 0.01)

    async def report(_done: int, _total: int) -> None: ...

    before = {child.pid for child in psutil.Process().children(recursive=True)}
    with pytest.raises(Internal, match="reported nothing"):
        await umap_points(cluster_vectors(2000), report, tmp_path)
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before
    assert list(tmp_path.iterdir()) == []


class Reporting(Attempt):
    """An attempt that notes its progress."""

    def __init__(self) -> None:
        super().__init__(utc_now())
        self.last = (0, 0)

    async def progress(self, done: int, total: int, *_state: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        self.last = (done, total)
