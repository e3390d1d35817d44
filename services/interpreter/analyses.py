"""Analyses of texts and documents that are based on features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from services.chassis.errors import InvalidArgument
from services.chassis.threads import in_thread
from services.interpreter import associations, attribution, comparison, correlations, document_sets, similarity
from services.interpreter.analysis_requests import (
    AssociationRequest,
    AttributionRequest,
    ComparisonRequest,
    CorrelationRequest,
    SimilarityRequest,
    TextSource,
)
from services.interpreter.analyzer import Analyzer
from services.interpreter.associations import Associations
from services.interpreter.attribution import SentenceAttribution
from services.interpreter.comparison import Comparison
from services.interpreter.correlations import Correlations
from services.interpreter.document_sets import Members
from services.interpreter.feature_cache import FeatureCache
from services.interpreter.near_misses import unit_rows
from services.interpreter.occurrences import occurrences
from services.interpreter.selection import SelectedFeatures, of_indices, select
from services.interpreter.similarity import SimilarityExplanation
from services.interpreter.upstream import Encoded, Upstream


@dataclass(frozen=True)
class MetadataAssociations:
    """Which features go with a key, and what people should know about the answer."""

    selected: SelectedFeatures
    result: Associations
    notices: Sequence[str]


@dataclass(frozen=True)
class DatasetComparison:
    """How two sets of documents differ."""

    selected: SelectedFeatures
    result: Comparison
    sets: tuple[Members, Members]

    @property
    def notices(self) -> list[str]:
        """What people should know about the answer."""
        notices = no_feature_counts(self.selected)
        first, second = self.sets
        for key in dict.fromkeys([*first.unknown_keys, *second.unknown_keys]):
            notices.append(f"No document has the metadata {key[:200]!r}.")
        if first.dataset == second.dataset:
            shared_count = len(np.intersect1d(first.occurrences.rows, second.occurrences.rows))
            if shared_count:
                notices.append(f"{shared_count:,} documents are in both sets: differences look smaller than they are.")
        return notices


@dataclass(frozen=True)
class FeatureCorrelations:
    """Features that occur together although their labels are not alike."""

    selected: SelectedFeatures
    result: Correlations

    @property
    def notices(self) -> list[str]:
        """What people should know about the answer."""
        return no_feature_counts(self.selected)


class Analyses:
    """Analyses on a run's features.

    All methods raise RUN_NOT_FOUND, RunNotTrained, StatisticsNotComputed, StatisticsDamaged, InvalidFilter,
    FamilyNotFound and SERVICE_UNAVAILABLE.
    """

    def __init__(self, *, cache: FeatureCache, upstream: Upstream, analyzer: Analyzer) -> None:
        self._cache = cache
        self._upstream = upstream
        self._analyzer = analyzer

    async def attribute(self, request: AttributionRequest) -> SentenceAttribution:
        """Which sentences of a text carry its features. Raises FeatureNotFound, PROVIDER_UNAVAILABLE."""
        features = await self._cache.features(request.run)
        indices = request.indices
        if indices:
            selected = of_indices(features, np.unique(indices), include_tail=request.selection.include_tail)
        else:
            selected = select(features, request.selection)
        return await attribution.attribute(selected, self._upstream, request.text, indices=indices, limit=request.limit)

    async def explain_similarity(self, request: SimilarityRequest) -> SimilarityExplanation:
        """Why two texts are similar. Raises DOCUMENT_NOT_FOUND, DocumentNotEmbedded, PROVIDER_UNAVAILABLE."""
        selected = select(await self._cache.features(request.run), request.selection)
        first, second = [await self._encoded(request.run, source) for source in (request.first, request.second)]
        return await similarity.explain(selected, self._upstream, first, second, limit=request.limit)

    async def associate_metadata(self, request: AssociationRequest) -> MetadataAssociations:
        """Which features go with a key of the documents' metadata."""
        selected = select(await self._cache.features(request.run), request.selection)
        run = selected.features.run
        metadata = await self._upstream.metadata(run.dataset, run.dataset_uid, [request.key])
        if all(value is None for value in metadata.columns[request.key]):
            raise InvalidArgument.field("key", f"no document of {run.dataset} has {request.key[:200]!r}")
        present = await occurrences(selected, self._upstream.codes(run))
        values = metadata.at(present.rows).columns[request.key]
        result = await in_thread(partial(associations.associate, present, values, request.kind, max_q=request.max_q))
        return MetadataAssociations(selected, result, _notices(selected, result, len(present)))

    async def compare_datasets(self, request: ComparisonRequest) -> DatasetComparison:
        """How two sets of documents differ. Raises DATASET_NOT_FOUND, FeatureNotFound."""
        selected = select(await self._cache.features(request.run), request.selection)
        first = await document_sets.members(selected, self._upstream, request.first)
        if request.second is None:
            whole = replace(request.first, terms=())
            second = await document_sets.members(selected, self._upstream, whole)
            second = replace(second, occurrences=comparison.without(second.occurrences, first.occurrences))
        else:
            second = await document_sets.members(selected, self._upstream, request.second)
        result = await in_thread(
            partial(comparison.compare, first.occurrences, second.occurrences, max_q=request.max_q)
        )
        return DatasetComparison(selected, result, (first, second))

    async def correlate_features(self, request: CorrelationRequest) -> FeatureCorrelations:
        """Which features occur together although their labels are not alike. Raises PROVIDER_UNAVAILABLE."""
        features = await self._cache.features(request.run)
        selected = select(features, request.selection).labelled()
        labels = [features.label_text(index) for index in selected.indices.tolist()]
        vectors = await self._upstream.embed(features.run, labels) if labels else None
        unit = correlations.word_vectors(labels) if vectors is None else unit_rows(vectors)
        present = await occurrences(selected, self._upstream.codes(features.run))
        result = await in_thread(
            partial(correlations.correlate, present, unit, max_q=request.max_q, max_rank=request.max_rank)
        )
        return FeatureCorrelations(selected, result)

    async def _encoded(self, run: str, source: TextSource) -> Encoded:
        if source.document is not None:
            return (await self._analyzer.document(run, source.document)).encoded
        return (await self._analyzer.text(run, source.text)).encoded


def no_feature_counts(selected: SelectedFeatures) -> list[str]:
    """What people should know where no feature counts."""
    if len(selected):
        return []
    return [f"No feature of {selected.features.run.name} counts: label its features, or set the filter of `features`."]


def _notices(selected: SelectedFeatures, result: Associations, document_count: int) -> list[str]:
    notices = no_feature_counts(selected)
    missing = document_count - sum(result.document_counts)
    if missing:
        notices.append(f"{missing:,} of {document_count:,} documents have no such value and are left out.")
    if result.omitted_categories:
        notices.append(f"The {result.omitted_categories:,} rarest categories are left out.")
    return notices
