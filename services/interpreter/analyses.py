"""Analyses of texts and documents that are based on features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from prisma_common import wire
from services.chassis.errors import InvalidArgument
from services.chassis.threads import in_thread
from services.interpreter import (
    associations,
    attribution,
    classifier,
    comparison,
    correlations,
    document_sets,
    separation,
    similarity,
)
from services.interpreter.analysis_requests import (
    AssociationRequest,
    AttributionRequest,
    ClassifierRequest,
    ComparisonRequest,
    CorrelationRequest,
    SeparationRequest,
    SimilarityRequest,
    TextSource,
)
from services.interpreter.analyzer import Analysis, Analyzer
from services.interpreter.associations import Associations
from services.interpreter.attribution import SentenceAttribution
from services.interpreter.classifier import Classifier
from services.interpreter.comparison import Comparison
from services.interpreter.correlations import Correlations
from services.interpreter.document_sets import DocumentSet, Members
from services.interpreter.feature_cache import FeatureCache
from services.interpreter.near_misses import unit_rows
from services.interpreter.occurrences import counted, occurrences
from services.interpreter.requests import analyzed_text
from services.interpreter.runs import Run, sampled_rows
from services.interpreter.selection import SelectedFeatures, of_indices, select
from services.interpreter.separation import Separator
from services.interpreter.similarity import SimilarityExplanation
from services.interpreter.upstream import Upstream

RANDOM_NEGATIVES = 1000
"""Documents that stand for texts without a concept where none are given."""
FEW_TEXTS = 5


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
        return [*no_feature_counts(self.selected), *set_notices(*self.sets)]


@dataclass(frozen=True)
class FeatureCorrelations:
    """Features that occur together although their labels are not alike."""

    selected: SelectedFeatures
    result: Correlations

    @property
    def notices(self) -> list[str]:
        """What people should know about the answer."""
        return no_feature_counts(self.selected)


@dataclass(frozen=True, kw_only=True)
class FeatureSeparations:
    """Features that tell positive texts from negative ones."""

    selected: SelectedFeatures
    separators: Sequence[Separator]
    feature_count: int
    """Features that the texts activate."""
    positive_total: int
    negative_total: int

    @property
    def notices(self) -> list[str]:
        """What people should know about the answer."""
        notices = no_feature_counts(self.selected)
        if min(self.positive_total, self.negative_total) < FEW_TEXTS:
            notices.append(f"With fewer than {FEW_TEXTS} texts of either kind, chance may separate them as well.")
        return notices


@dataclass(frozen=True)
class FeatureClassifier:
    """A classifier of documents on a few features."""

    selected: SelectedFeatures
    result: Classifier
    sets: tuple[Members, Members]

    @property
    def notices(self) -> list[str]:
        """What people should know about the answer."""
        notices = [*no_feature_counts(self.selected), *set_notices(*self.sets)]
        if min(*self.result.training_counts, *self.result.held_out_counts) < classifier.MIN_COUNT:
            notices.append(f"There are fewer than {classifier.MIN_COUNT} documents of one kind in a half.")
        elif len(self.selected) and not self.result.members:
            notices.append("No feature tells the documents apart better than chance.")
        return notices


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
        """Which sentences of a text or document carry its features.

        Raises FeatureNotFound, DOCUMENT_NOT_FOUND, DocumentNotEmbedded, PROVIDER_UNAVAILABLE.
        """
        features = await self._cache.features(request.run)
        indices = request.indices
        if indices:
            selected = of_indices(features, np.unique(indices), include_tail=request.selection.include_tail)
        else:
            selected = select(features, request.selection)
        text, whole, passage = request.source.text, None, None
        if request.source.document is not None:
            document = await self._analyzer.document(request.run, request.source.document)
            text, whole = analyzed_text(document.text, "document"), document.encoded
            passage = document.passage
        result = await attribution.attribute(
            selected, self._upstream, text, whole=whole, indices=indices, limit=request.limit
        )
        return replace(result, passage=passage)

    async def explain_similarity(self, request: SimilarityRequest) -> SimilarityExplanation:
        """Why two texts are similar. Raises DOCUMENT_NOT_FOUND, DocumentNotEmbedded, PROVIDER_UNAVAILABLE."""
        selected = select(await self._cache.features(request.run), request.selection)
        first, second = [await self._analysis(request.run, source) for source in (request.first, request.second)]
        explanation = await similarity.explain(
            selected, self._upstream, first.encoded, second.encoded, limit=request.limit
        )
        return replace(explanation, passages=(first.passage, second.passage))

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
        first, second = await self._sets(selected, request.first, request.second)
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

    async def find_features(self, request: SeparationRequest) -> FeatureSeparations:
        """Which features tell texts apart. Raises DOCUMENT_NOT_FOUND, DocumentNotEmbedded, PROVIDER_UNAVAILABLE."""
        selected = select(await self._cache.features(request.run), request.selection)
        run = selected.features.run
        positive = counted(selected, await self._codes(run, request.positives))
        if request.negatives:
            negative = counted(selected, await self._codes(run, request.negatives))
        else:
            ranges = [(part.start, part.end) for part in wire.ranges_of(sampled_rows(run.ranges, RANDOM_NEGATIVES))]
            sample = await occurrences(selected, self._upstream.codes(run, ranges))
            negative = sample.of(np.flatnonzero(~np.isin(sample.fingerprints, positive.fingerprints)))
        parts = (positive.activations, negative.activations)
        separators, feature_count = await in_thread(partial(separation.separate, *parts, limit=request.limit))
        return FeatureSeparations(
            selected=selected,
            separators=separators,
            feature_count=feature_count,
            positive_total=len(positive),
            negative_total=len(negative),
        )

    async def fit_classifier(self, request: ClassifierRequest) -> FeatureClassifier:
        """A classifier of documents on a few features. Raises as `compare_datasets`."""
        selected = select(await self._cache.features(request.run), request.selection)
        sets = await self._sets(selected, request.positive, request.negative)
        positive, negative = (part.occurrences for part in sets)
        result = await in_thread(partial(classifier.fit, positive, negative, feature_count=request.feature_count))
        return FeatureClassifier(selected, result, sets)

    async def _sets(
        self, selected: SelectedFeatures, first: DocumentSet, second: DocumentSet | None
    ) -> tuple[Members, Members]:
        """The documents of two sets; without a second one, all others of the first's dataset."""
        one = await document_sets.members(selected, self._upstream, first)
        if second is None:
            return one, one.rest()
        return one, await document_sets.members(selected, self._upstream, second)

    async def _codes(self, run: Run, sources: Sequence[TextSource]) -> wire.Codes:
        """The codes of texts, then those of documents."""
        parts: list[wire.Codes] = []
        if texts := [source.text for source in sources if source.document is None]:
            parts.append(await self._upstream.codes_of_texts(run, texts))
        for name in [source.document for source in sources if source.document is not None]:
            vector = (await self._upstream.document(name)).require_vector()
            parts.append(await self._upstream.codes_of(run, vector[None, :]))
        return wire.concatenate(parts, run.latent_count)

    async def _analysis(self, run: str, source: TextSource) -> Analysis:
        if source.document is not None:
            return await self._analyzer.document(run, source.document)
        return await self._analyzer.text(run, source.text)


def no_feature_counts(selected: SelectedFeatures) -> list[str]:
    """What people should know where no feature counts."""
    if len(selected):
        return []
    return [f"No feature of {selected.features.run.name} counts: label its features, or set the filter of `features`."]


def set_notices(first: Members, second: Members) -> list[str]:
    """What people should know about two sets of documents."""
    notices = list(dict.fromkeys([*first.notices, *second.notices]))
    if missing_count := first.missing_count + second.missing_count:
        notices.append(f"{missing_count:,} of the named documents do not exist or have no code.")
    if first.dataset == second.dataset:
        shared_count = len(np.intersect1d(first.occurrences.rows, second.occurrences.rows))
        if shared_count:
            notices.append(f"{shared_count:,} documents are in both sets: differences look smaller than they are.")
    return notices


def _notices(selected: SelectedFeatures, result: Associations, document_count: int) -> list[str]:
    notices = no_feature_counts(selected)
    missing = document_count - sum(result.document_counts)
    if missing:
        notices.append(f"{missing:,} of {document_count:,} documents have no such value and are left out.")
    if result.omitted_categories:
        notices.append(f"The {result.omitted_categories:,} rarest categories are left out.")
    return notices
