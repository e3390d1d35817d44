"""Reads the documents that labels are written from and tested on."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.chassis import near_duplicates
from services.chassis.errors import PrismaError
from services.chassis.threads import in_thread
from services.interpreter.coherence import Background
from services.interpreter.corpus import Corpus, Documents
from services.interpreter.evidence import NOTHING_SEEN, Evidence, SeenDocuments, Sources, divide
from services.interpreter.features import Features
from services.interpreter.judging import Judge
from services.interpreter.labels import SeenRows
from services.interpreter.near_misses import Vectors
from services.interpreter.runs import Run, sampled_rows

BACKGROUND_ROWS = 50_000
"""Documents that keywords are compared with: all, or a sample of so many, the same each time."""
RANDOM_ROWS = 400
"""Documents that those which mention a label are compared with, the same each time."""
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

    async def dataset_uid(self, name: str) -> str:
        """The uid of a dataset. Raises PrismaError with DATASET_NOT_FOUND."""
        ...


class EvidenceReader:
    """Reads evidence. Raises what the source raises."""

    def __init__(self, source: DocumentSource) -> None:
        self._source = source
        self._counted: OrderedDict[object, Corpus] = OrderedDict()
        self._counting = asyncio.Lock()

    async def read(
        self, features: Features, indices: Sequence[int], seen_documents: Mapping[int, SeenDocuments] | None = None
    ) -> tuple[Judge, list[Evidence]]:
        """The evidence of some features, and the judge of their labels.

        seen_documents: what labels that are to be tested were made with, by index. Documents that were deleted, or that
        have no vector, are left out.
        """
        density = features.statistics.density
        topics = [(index, float(density[index]), features.sources(index)) for index in indices]
        judge, evidence = await self.divided(features.run, topics, seen_documents)
        vectors = await self._source.vectors(features.run, sampled_rows(features.run.ranges, RANDOM_ROWS))
        return replace(judge, background=Background(vectors.matrix)), evidence

    async def divided(
        self,
        run: Run,
        topics: Sequence[tuple[int, float, Sources]],
        seen_documents: Mapping[int, SeenDocuments] | None = None,
    ) -> tuple[Judge, list[Evidence]]:
        """As `read`, for topics of several subjects, in which no coherence is measured.

        topics: for each its number, its density, and its documents.
        """
        corpus = await self._corpus(run)
        rows = np.unique(np.concatenate([np.empty(0, np.uint64), *(sources.rows for _, _, sources in topics)]))
        vectors = await self._source.vectors(run, rows)
        documents = await self._documents(corpus, run.dataset, vectors.rows)

        def divided() -> list[Evidence]:
            return [
                _divided(
                    number,
                    density,
                    sources,
                    documents=documents,
                    seen_documents=(seen_documents or {}).get(number, NOTHING_SEEN),
                )
                for number, density, sources in topics
            ]

        return Judge(corpus, documents, vectors), await in_thread(divided)

    async def seen_documents(self, run: Run, rows: SeenRows) -> SeenDocuments | None:
        """What a label was made with; None where its dataset is gone. Deleted documents are left out."""
        if not rows.writing and not rows.choosing:
            return NOTHING_SEEN
        if rows.dataset is None or rows.dataset.uid == run.dataset_uid:
            corpus = await self._corpus(run)
            both = np.unique(np.array([*rows.writing, *rows.choosing], np.uint64))
            documents = await self._documents(corpus, run.dataset, both)
            signature_of = dict(zip(documents.rows.tolist(), documents.signatures, strict=True))
        else:
            try:
                if await self._source.dataset_uid(rows.dataset.name) != rows.dataset.uid:
                    return None
                texts = await self._source.texts(rows.dataset.name, [*rows.writing, *rows.choosing])
            except PrismaError as error:
                if error.reason != "DATASET_NOT_FOUND":
                    raise
                return None
            signature_of = dict(zip(texts, near_duplicates.signatures(list(texts.values())), strict=True))

        def of(part: Sequence[int]) -> near_duplicates.Signatures:
            present = [signature_of[row] for row in part if row in signature_of]
            return np.stack(present) if present else NOTHING_SEEN.writing

        return SeenDocuments(writing=of(rows.writing), choosing=of(rows.choosing))

    async def _documents(self, corpus: Corpus, dataset: str, rows: NDArray[np.uint64]) -> Documents:
        """Those of some rising rows that exist."""
        texts = await self._source.texts(dataset, rows[~corpus.counts(rows)].tolist())
        return await in_thread(corpus.documents, rows, texts)

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


def _divided(
    index: int, density: float, sources: Sources, *, documents: Documents, seen_documents: SeenDocuments
) -> Evidence:
    present = sources.among(documents.rows)
    signatures = documents.signatures[documents.places(present.rows)]
    return divide(index, density, present, signatures, seen_documents=seen_documents)
