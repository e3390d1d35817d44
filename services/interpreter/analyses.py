"""Analyses of texts and documents that are based on features."""

from __future__ import annotations

import numpy as np

from services.interpreter import attribution, similarity
from services.interpreter.analysis_requests import AttributionRequest, SimilarityRequest, TextSource
from services.interpreter.analyzer import Analyzer
from services.interpreter.attribution import SentenceAttribution
from services.interpreter.feature_cache import FeatureCache
from services.interpreter.selection import of_indices, select
from services.interpreter.similarity import SimilarityExplanation
from services.interpreter.upstream import Encoded, Upstream


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

    async def _encoded(self, run: str, source: TextSource) -> Encoded:
        if source.document is not None:
            return (await self._analyzer.document(run, source.document)).encoded
        return (await self._analyzer.text(run, source.text)).encoded
