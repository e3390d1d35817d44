"""Reads the documents that labels are written from and tested on."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.chassis.threads import in_thread
from services.interpreter.corpus import Corpus, Documents
from services.interpreter.evidence import Evidence, Sources, divide
from services.interpreter.features import Features
from services.interpreter.judging import Judge
from services.interpreter.near_misses import Vectors
from services.interpreter.runs import Run, sampled_rows

BACKGROUND_ROWS = 50_000
"""Documents that keywords are compared with: all, or a sample of so many, the same each time."""
_CACHED = 2
"""Datasets whose words stay counted."""


class TextSource(Protocol):
    """What is read from the embedder."""

    async def texts(self, dataset: str, rows: Sequence[int]) -> Mapping[int, str]:
        """Texts by row, without those of deleted documents."""
        ...


class DocumentSource(TextSource, Protocol):
    """What is read from the embedder."""

    async def vectors(self, run: Run, rows: NDArray[np.uint64]) -> Vectors:
        """The vectors of those of some rising rows that have one."""
        ...


class EvidenceReader:
    """Reads evidence. Raises what the source raises."""

    def __init__(self, source: DocumentSource) -> None:
        self._source = source
        self._counted: OrderedDict[object, Corpus] = OrderedDict()
        self._counting = asyncio.Lock()

    async def read(self, features: Features, indices: Sequence[int]) -> tuple[Judge, list[Evidence]]:
        """The evidence of some features, and the judge of their labels.

        Documents that were deleted, or that have no vector, are left out.
        """
        density = features.statistics.density
        return await self.divided(
            features.run, [(index, float(density[index]), features.sources(index)) for index in indices]
        )

    async def divided(self, run: Run, topics: Sequence[tuple[int, float, Sources]]) -> tuple[Judge, list[Evidence]]:
        """As `read`. topics: for each its number, its density, and its documents."""
        corpus = await self._corpus(run)
        rows = np.unique(np.concatenate([np.empty(0, np.uint64), *(sources.rows for _, _, sources in topics)]))
        vectors = await self._source.vectors(run, rows)
        rows = vectors.rows
        texts = await self._source.texts(run.dataset, rows[~corpus.counts(rows)].tolist())
        documents = await in_thread(corpus.documents, rows, texts)

        def divided() -> list[Evidence]:
            return [_divided(number, density, sources, documents) for number, density, sources in topics]

        return Judge(corpus, documents, vectors), await in_thread(divided)

    async def _corpus(self, run: Run) -> Corpus:
        """The counted words of the run's rows; runs of the same rows share them."""
        rows_key = (run.dataset_uid, tuple(run.ranges))
        async with self._counting:
            corpus = self._counted.get(rows_key)
            if corpus is None:
                rows = sampled_rows(run.ranges, BACKGROUND_ROWS).tolist()
                corpus = await in_thread(Corpus, await self._source.texts(run.dataset, rows))
                self._counted[rows_key] = corpus
                while len(self._counted) > _CACHED:
                    self._counted.popitem(last=False)
            self._counted.move_to_end(rows_key)
            return corpus


def _divided(index: int, density: float, sources: Sources, documents: Documents) -> Evidence:
    present = sources.among(documents.rows)
    return divide(index, density, present, documents.signatures[documents.places(present.rows)])
