"""Which features are active in a text or a document."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prisma_common import wire
from services.interpreter.errors import DocumentNotEmbedded
from services.interpreter.features import Features
from services.interpreter.runs import Run
from services.interpreter.upstream import Encoded, Upstream
from services.interpreter.views import Views


@dataclass(frozen=True)
class Analysis:
    """What a run sees in a text. features: what is known of its latents; None before statistics are computed."""

    run: Run
    encoded: Encoded
    features: Features | None
    text: str
    document: str


class Analyzer:
    """Analyses texts and documents. All methods raise RUN_NOT_FOUND, RunNotTrained and what upstream raises."""

    def __init__(self, views: Views, upstream: Upstream) -> None:
        self._views = views
        self._upstream = upstream

    async def text(self, name: str, text: str) -> Analysis:
        """Analyses a text."""
        run = await self._views.trained(name)
        encoded = await self._upstream.encode_text(run, text)
        return Analysis(run, encoded, await self._views.of(run), text, "")

    async def document(self, name: str, document: str) -> Analysis:
        """Analyses a document; one of the run's own rows by its stored code. Raises DocumentNotEmbedded."""
        run = await self._views.trained(name)
        found = await self._upstream.document(document)
        if not found.HasField("vector"):
            raise DocumentNotEmbedded(
                f"{document} has no vector: it waits or has failed; embed its dataset", metadata={"document": document}
            )
        vector = wire.unpack_vectors(found.vector)[1][0]
        encoded = await self._upstream.encode(run, vector, found.embedding_truncated)
        if await self._is_own(run, document, found.row):
            async for codes in self._upstream.codes(run, [(found.row, found.row + 1)]):
                if len(codes):
                    indices, values = codes.row(0)
                    encoded = Encoded(indices, values, vector, encoded.unexplained, encoded.truncated)
        return Analysis(run, encoded, await self._views.of(run), found.text, found.name)

    async def _is_own(self, run: Run, document: str, row: int) -> bool:
        """Whether a row of a document is one that the run has codes of."""
        dataset = "/".join(document.split("/")[:2])
        if dataset != run.dataset or not any(start <= row < end for start, end in run.ranges):
            return False
        return await self._upstream.dataset_uid(dataset) == run.dataset_uid


def norm(encoded: Encoded) -> float:
    """The Euclidean length of the vector."""
    return float(np.linalg.norm(encoded.vector.astype(np.float64)))
