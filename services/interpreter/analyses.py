"""Analyses of texts and documents that are based on features."""

from __future__ import annotations

import numpy as np

from services.interpreter import attribution
from services.interpreter.analysis_requests import AttributionRequest
from services.interpreter.attribution import SentenceAttribution
from services.interpreter.feature_cache import FeatureCache
from services.interpreter.selection import of_indices, select
from services.interpreter.upstream import Upstream


class Analyses:
    """Analyses on a run's features.

    All methods raise RUN_NOT_FOUND, RunNotTrained, StatisticsNotComputed, StatisticsDamaged, InvalidFilter,
    FamilyNotFound and SERVICE_UNAVAILABLE.
    """

    def __init__(self, *, cache: FeatureCache, upstream: Upstream) -> None:
        self._cache = cache
        self._upstream = upstream

    async def attribute(self, request: AttributionRequest) -> SentenceAttribution:
        """Which sentences of a text carry its features. Raises FeatureNotFound, PROVIDER_UNAVAILABLE."""
        features = await self._cache.features(request.run)
        indices = request.indices
        if indices:
            selected = of_indices(features, np.unique(indices), include_tail=request.selection.include_tail)
        else:
            selected = select(features, request.selection)
        return await attribution.attribute(selected, self._upstream, request.text, indices=indices, limit=request.limit)
