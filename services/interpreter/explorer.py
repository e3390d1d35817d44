"""Reading what is known of a run: features, examples, families, pictures, exports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from services.chassis.filters import Filter
from services.chassis.table_files import open_writer, write_table
from services.interpreter import document_tables, exports, families, matrices
from services.interpreter.document_tables import DocumentTable, TableRequest
from services.interpreter.errors import StatisticsDamaged
from services.interpreter.examples import Example, ExampleRow
from services.interpreter.families import Family
from services.interpreter.feature_cache import FeatureCache
from services.interpreter.feature_tables import FEATURE_COLUMNS, feature_batches
from services.interpreter.features import Features, Order
from services.interpreter.matrices import Matrix, Sample
from services.interpreter.requests import FeatureExport, MatrixRequest
from services.interpreter.runs import Interpretation, require_families
from services.interpreter.upstream import Upstream


class Explorer:
    """Reads what is known of runs.

    All methods raise RUN_NOT_FOUND; all but `interpretation` and `activations_jsonl` also RunNotTrained,
    StatisticsNotComputed and StatisticsDamaged.
    """

    def __init__(self, *, cache: FeatureCache, upstream: Upstream) -> None:
        self._cache = cache
        self._upstream = upstream

    async def interpretation(self, run_name: str) -> tuple[Interpretation, Features | None]:
        """How far a run is interpreted; with its features unless its statistics are missing or damaged.

        Raises StatisticsDamaged for older statistics, whose counters are in them.
        """
        run = await self._cache.run(run_name)
        interpretation = await self._cache.interpretation(run)
        version = interpretation.statistics
        try:
            return interpretation, await self._cache.features_of(run)
        except StatisticsDamaged:
            if version is None or version.live_count is None:
                raise
            return interpretation, None

    async def features(self, run_name: str) -> Features:
        """All features of a run."""
        return await self._cache.features(run_name)

    async def select(
        self, run_name: str, condition: Filter, query: str, order: Order
    ) -> tuple[Features, Sequence[int]]:
        """The indices of the features that match, in order. Raises InvalidFilter, FamilyNotFound."""
        features = await self._cache.features(run_name)
        indices = await asyncio.to_thread(lambda: features.select(condition, query=query, order=order).tolist())
        return features, indices

    async def feature(self, run_name: str, index: int) -> Features:
        """The features of a run that has one with this index. Raises FeatureNotFound."""
        features = await self._cache.features(run_name)
        features.check(index)
        return features

    async def examples(self, features: Features, index: int, rows: Sequence[ExampleRow]) -> list[Example]:
        """The documents of a feature's examples, without deleted ones. Raises SERVICE_UNAVAILABLE."""
        documents = await self._upstream.documents(features.run.dataset, [example.row for example in rows])
        return [
            Example(documents[example.row], example, tail=features.is_tail(index, example.activation))
            for example in rows
            if example.row in documents
        ]

    async def sample(
        self, run_name: str, row_count: int, feature_count: int, *, include_tail: bool
    ) -> tuple[Features, Sample]:
        """Activations of the most frequent features in some rows. Raises SERVICE_UNAVAILABLE.

        include_tail: whether with activations below the features' thresholds.
        """
        features = await self._cache.features(run_name)
        sample = await matrices.sample(features, self._upstream, row_count, feature_count, include_tail=include_tail)
        return features, sample

    async def matrix(self, request: MatrixRequest) -> tuple[Features, Matrix]:
        """How similar the most frequent features are. Raises InvalidFilter, FamilyNotFound, SERVICE_UNAVAILABLE."""
        features = await self._cache.features(request.run)
        indices = features.most_frequent(request.condition, request.feature_count)
        return features, await matrices.matrix(
            features, self._upstream, request.kind, indices, include_tail=request.include_tail
        )

    async def families(self, run_name: str, query: str) -> tuple[Features, list[Family]]:
        """The families that match a query, the most trusted first, then the largest. Raises FamiliesNotBuilt."""
        features = await self.with_families(run_name)
        matching = families.matching(features.families, query, features.label_text)
        return features, families.most_trusted_first(matching, features.family_trust)

    async def with_families(self, run_name: str) -> Features:
        """The features of a run whose families are built. Raises FamiliesNotBuilt."""
        features = await self._cache.features(run_name)
        require_families(features.interpretation)
        return features

    async def features_file(self, export: FeatureExport) -> AsyncIterator[bytes]:
        """A table of features, in parts. Raises InvalidArgument, InvalidFilter, FamilyNotFound."""
        features, indices = await self.select(export.run, export.condition, export.query, export.order)
        writer = open_writer(FEATURE_COLUMNS, export.file)
        async for part in write_table(writer, feature_batches(features, indices)):
            yield part

    async def table(self, request: TableRequest) -> DocumentTable:
        """A run's documents as one table. Raises InvalidArgument, FeatureNotFound, SERVICE_UNAVAILABLE."""
        return await document_tables.document_table(request, await self._cache.features(request.run), self._upstream)

    async def activations_jsonl(self, run_name: str) -> AsyncIterator[bytes]:
        """The active features of all documents as JSON lines, in parts. Raises RunNotTrained, SERVICE_UNAVAILABLE."""
        run = await self._cache.trained_run(run_name)
        yield b""  # a file even if all documents were deleted
        async for part in exports.activations_jsonl(run, self._upstream):
            yield part
