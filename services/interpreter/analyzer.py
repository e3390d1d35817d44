"""Which features are active in a text or a document."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from services.chassis.threads import in_thread
from services.interpreter import familiarity
from services.interpreter.documents import Document, Passage
from services.interpreter.familiarity import Familiarity
from services.interpreter.feature_cache import FeatureCache
from services.interpreter.features import Features
from services.interpreter.runs import Run
from services.interpreter.upstream import Encoded, Upstream


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """What a run sees in a text."""

    run: Run
    encoded: Encoded
    features: Features | None
    """None before statistics are computed."""
    text: str
    document: str | None = None
    """The document's name; None for a text."""
    passage: Passage | None = None
    """Of a document that is a passage: where it stands."""
    familiarity: Familiarity | None = None
    """None before statistics are computed, and for a run with too few documents."""

    @property
    def active(self) -> list[tuple[int, float]]:
        """(index, activation) of the active features, the strongest first, ties by index."""
        pairs = zip(self.encoded.indices.tolist(), self.encoded.values.tolist(), strict=True)
        return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))

    @property
    def norm(self) -> float:
        """The Euclidean length of the embedding."""
        return float(np.linalg.norm(self.encoded.vector.astype(np.float64)))


class Analyzer:
    """Analyses texts and documents. All methods raise RUN_NOT_FOUND, RunNotTrained and SERVICE_UNAVAILABLE."""

    def __init__(self, *, cache: FeatureCache, upstream: Upstream) -> None:
        self._cache = cache
        self._upstream = upstream

    async def text(self, run_name: str, text: str) -> Analysis:
        """Analyses a text. Raises PROVIDER_UNAVAILABLE."""
        run = await self._cache.trained_run(run_name)
        encoded = await self._upstream.encode_text(run, text)
        features = await self._cache.features_of(run)
        place = await _familiarity(features, text, encoded)
        return Analysis(run=run, encoded=encoded, features=features, text=text, familiarity=place)

    async def document(self, run_name: str, name: str) -> Analysis:
        """Analyses a document; for one of the run's own rows, by its stored code. Raises DocumentNotEmbedded."""
        run = await self._cache.trained_run(run_name)
        document = await self._upstream.document(name)
        encoded = await self._encoded(run, document)
        features = await self._cache.features_of(run)
        return Analysis(
            run=run,
            encoded=encoded,
            features=features,
            text=document.text,
            document=document.name,
            passage=document.passage,
            familiarity=await _familiarity(features, document.text, encoded),
        )

    async def _encoded(self, run: Run, document: Document) -> Encoded:
        encoded = await self._upstream.encode(run, document.require_vector(), truncated=document.embedding_truncated)
        if await self._has_code(run, document):
            async for codes in self._upstream.codes(run, [(document.row, document.row + 1)]):
                if len(codes):
                    indices, values = codes.row(0)
                    encoded = replace(encoded, indices=indices, values=values)
        return encoded

    async def _has_code(self, run: Run, document: Document) -> bool:
        """Whether the run has a code of the document's row."""
        dataset = "/".join(document.name.split("/")[:2])
        if dataset != run.dataset or not any(start <= document.row < end for start, end in run.ranges):
            return False
        return await self._upstream.dataset_uid(dataset) == run.dataset_uid


async def _familiarity(features: Features | None, text: str, encoded: Encoded) -> Familiarity | None:
    if features is None:
        return None
    return await in_thread(
        lambda: familiarity.familiarity(
            features.statistics.reference, text=text, vector=encoded.vector, unexplained=encoded.unexplained
        )
    )
