"""Maps of datasets: by principal components at once, by UMAP in a job whose result is stored."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from prisma.common.v1.job_pb2 import Job
from prisma.embedder.v1 import statistics_pb2 as pb2
from prisma.embedder.v1.embedder_service_pb2 import ComputeDatasetMapRequest
from prisma_common.names import COMPUTE_DATASET_MAP
from services.chassis.errors import InvalidArgument
from services.chassis.job_context import JobContext
from services.chassis.job_worker import JobKind
from services.chassis.jobs import Jobs
from services.chassis.metadata_terms import Type, number_form, text_form
from services.chassis.moments import utc_now
from services.chassis.threads import in_thread
from services.embedder import requests, statistics_messages, umap_maps
from services.embedder.documents import Dataset
from services.embedder.errors import DatasetNotEmbedded, StatisticsNotComputed
from services.embedder.statistics import maps
from services.embedder.statistics.maps import Map
from services.embedder.statistics.methods import MapMethod, versioned
from services.embedder.statistics_records import StatisticsRecords, StoredStatistics
from services.embedder.store import Store
from services.embedder.vector_store import VectorStore
from services.embedder.worker import SERVICE

_MIN_VECTORS = 4
"""Of which UMAP can draw a map."""
_CATEGORY_CHARACTERS = 100
"""Of a value that is a colour."""
_CACHED_MAPS = 8
"""Maps by principal components that are kept, each of at most 320 KB: a page asks for one again with other colours."""
_DRAWN_AT_ONCE = 1
"""Maps by principal components that are computed at the same time: one takes up to 320 MiB."""

_Key: TypeAlias = tuple[str, str, int]
"""A dataset's uid, history and revision."""


class Maps:
    """Maps of datasets."""

    def __init__(self, *, store: Store, vectors: VectorStore, records: StatisticsRecords, jobs: Jobs) -> None:
        self._store = store
        self._vectors = vectors
        self._records = records
        self._jobs = jobs
        self._cache: OrderedDict[_Key, StoredStatistics] = OrderedDict()
        self._drawing: dict[_Key, asyncio.Task[StoredStatistics]] = {}
        self._turns = asyncio.Semaphore(_DRAWN_AT_ONCE)

    async def compute(self, request: ComputeDatasetMapRequest) -> Job:
        """Starts the job that draws a map by UMAP, or returns the one that runs.

        Raises DatasetNotFound, DatasetNotEmbedded, NotInstalled, NatsUnavailable, RequestIdReused.
        """
        dataset = await asyncio.to_thread(self._store.dataset, requests.dataset_id(request.dataset, "dataset"))
        umap_maps.check_installed()
        _check_embedded(dataset, at_least=_MIN_VECTORS)
        kind = COMPUTE_DATASET_MAP
        if not request.request_id and (job := await self._jobs.active_for(dataset.name, kind)):
            return job
        return await self._jobs.submit(SERVICE, kind, request, request_id=request.request_id, resources=[dataset.name])

    async def get(self, dataset_id: str, method: MapMethod, color_field: str) -> pb2.DatasetMap:
        """A map of a dataset. color_field: of whose values it has the colours; empty for none.

        Raises DatasetNotFound, DatasetNotEmbedded, StatisticsNotComputed, InvalidArgument, BlobDamaged.
        """
        dataset = await asyncio.to_thread(self._store.dataset, dataset_id)
        if color_field and color_field not in dataset.schema:
            raise InvalidArgument.field(
                "color_field", f"expected a field of the documents' metadata, got {color_field[:100]!r}"
            )
        _check_embedded(dataset, at_least=1)
        if method is MapMethod.PCA:
            stored = await self._by_components(dataset)
        else:
            stored = await asyncio.to_thread(self._records.find_map, dataset, method)
        if stored is None:
            raise StatisticsNotComputed(
                f"{dataset.name} has no map by {method} yet: ComputeDatasetMap starts the job that draws it",
                metadata={"dataset": dataset.name},
            )
        message = statistics_messages.dataset_map(dataset, stored)
        if color_field:
            values = await asyncio.to_thread(self._records.values_of, dataset, color_field, list(message.rows))
            message.colors.CopyFrom(_colors(dataset, color_field, values, message.rows))
        return message

    async def _by_components(self, dataset: Dataset) -> StoredStatistics:
        key = (dataset.uid, dataset.history, dataset.revision)
        if (cached := self._cache.get(key)) is not None:
            self._cache.move_to_end(key)
            return cached
        task = self._drawing.get(key)
        if task is None:
            task = self._drawing[key] = asyncio.create_task(self._draw_in_turn(key, dataset))
        return await asyncio.shield(task)  # who stops waiting leaves the map to those who still wait

    async def _draw_in_turn(self, key: _Key, dataset: Dataset) -> StoredStatistics:
        try:
            async with self._turns:
                stored = await in_thread(self._draw_components, dataset)
        finally:
            del self._drawing[key]
        self._cache[key] = stored
        while len(self._cache) > _CACHED_MAPS:
            self._cache.popitem(last=False)
        return stored

    def _draw_components(self, dataset: Dataset) -> StoredStatistics:
        sample = sampled_vectors(self._vectors, dataset)
        points, explained = maps.principal_components(sample.vectors)
        return _stored(dataset, MapMethod.PCA, sample, Map(sample.rows, points, explained, sample.total))


class MapJob:
    """The job that draws a map by UMAP."""

    def __init__(self, *, store: Store, vectors: VectorStore, records: StatisticsRecords, folder: Path) -> None:
        """folder: of files that mean nothing after the service has ended."""
        self._store = store
        self._vectors = vectors
        self._records = records
        self._folder = folder

    def kind(self, ack_wait_seconds: float) -> JobKind:
        """The kind of job, for the worker."""
        return JobKind(SERVICE, COMPUTE_DATASET_MAP, ComputeDatasetMapRequest, self.run, ack_wait=ack_wait_seconds)

    async def run(self, request: ComputeDatasetMapRequest, context: JobContext) -> None:
        """Draws and stores a map, unless one of the same documents and vectors is stored.

        Raises DatasetNotFound, DatasetNotEmbedded, NotInstalled, BlobDamaged.
        """
        dataset = await in_thread(self._store.dataset, requests.dataset_id(request.dataset, "dataset"))
        stored = await in_thread(self._records.find_map, dataset, MapMethod.UMAP)
        if stored is not None and stored.cover(dataset, versioned(MapMethod.UMAP)):
            context.log("there is a map of the present documents and vectors already")
            return
        _check_embedded(dataset, at_least=_MIN_VECTORS)
        await context.progress(0, 0, "epochs", "reading vectors")
        sample = await in_thread(sampled_vectors, self._vectors, dataset)

        async def report(done: int, total: int) -> None:
            await context.progress(done, total, "epochs", "drawing" if total else "looking for neighbours")

        points = await umap_maps.umap_points(sample.vectors, report, self._folder)
        await context.prove()
        drawn = Map(sample.rows, points, [], sample.total)
        await in_thread(self._records.store_map, dataset, _stored(dataset, MapMethod.UMAP, sample, drawn))
        context.log(f"{len(sample.rows):,} of {sample.total:,} vectors were drawn")
        if not sample.is_complete:
            context.log("the dataset changed meanwhile: this map is stale")


@dataclass(frozen=True)
class SampledVectors:
    """Vectors of a map.

    rows: (n,) uint64, ascending. vectors: (n, d) float32. total: of how many they are taken.
    is_complete: whether they are those of the dataset, which did not change meanwhile.
    """

    rows: NDArray[np.uint64]
    vectors: NDArray[np.float32]
    total: int
    is_complete: bool


def sampled_vectors(vectors: VectorStore, dataset: Dataset) -> SampledVectors:
    """The vectors of a map, as they are now. Raises DatasetNotEmbedded, BlobDamaged."""
    embedded = vectors.embedded_rows(dataset, present=True)
    rows = maps.sample(embedded, dataset.dimension)
    size = vectors.page_rows(dataset)
    parts = [rows[start : start + size].tolist() for start in range(0, len(rows), size)]
    pages = [vectors.vectors_of(dataset, part, present=True) for part in parts]
    read_rows = np.concatenate([page.rows for page in pages]) if pages else rows
    if not len(read_rows):
        raise _not_embedded(dataset, 1)
    return SampledVectors(
        rows=read_rows,
        vectors=np.concatenate([page.vectors for page in pages]),
        total=len(embedded),
        is_complete=len(embedded) == dataset.counts.embedded and len(read_rows) == len(rows),
    )


def _stored(dataset: Dataset, method: MapMethod, sample: SampledVectors, drawn: Map) -> StoredStatistics:
    return StoredStatistics(
        content=statistics_messages.map_content(drawn),
        method=versioned(method),
        revision=dataset.revision,
        fingerprint=dataset.fingerprint if sample.is_complete else "",
        compute_time=utc_now(),
    )


def _check_embedded(dataset: Dataset, at_least: int) -> None:
    if dataset.counts.embedded < at_least:
        raise _not_embedded(dataset, at_least)


def _not_embedded(dataset: Dataset, at_least: int) -> DatasetNotEmbedded:
    return DatasetNotEmbedded(
        f"{dataset.name} has {dataset.counts.embedded:,} vectors, and this map needs {at_least} or more: embed it",
        metadata={"dataset": dataset.name},
    )


def _colors(dataset: Dataset, field: str, values: Mapping[int, object], rows: Sequence[int]) -> pb2.MapColors:
    """The values of a field as colours of points: numbers, unless a document has a list of them."""
    has_lists = any(isinstance(value, list) for value in values.values())
    if dataset.schema[field].type in (Type.INTEGER, Type.NUMBER) and not has_lists:
        return pb2.MapColors(field=field, numbers=[_number(values.get(row)) for row in rows])
    texts = {row: _category(value) for row, value in values.items()}
    categories = maps.categories(texts, rows)
    return pb2.MapColors(field=field, categories=categories.names, category=categories.numbers)


def _number(value: object) -> float:
    """A number, or a text that reads as one, as filters read it; NaN for anything else, or what no double holds."""
    if not isinstance(value, int | float | str) or number_form(value) is None:
        return float("nan")
    try:
        number = float(Decimal(str(value)))
    except (InvalidOperation, OverflowError):
        return float("nan")
    return number if np.isfinite(number) else float("nan")


def _category(value: object) -> str:
    """A value as people read it, cut short; a list as its items."""
    if isinstance(value, list):
        items: list[object] = value  # pyright: ignore[reportUnknownVariableType]
        return ", ".join(text_form(item) for item in items)[:_CATEGORY_CHARACTERS]
    return text_form(value)[:_CATEGORY_CHARACTERS]
