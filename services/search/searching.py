"""Answers searches: who is meant, what of the query can be had, what the index finds, and what is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import numpy as np

from services.chassis.errors import InvalidArgument, PrismaError, Unavailable
from services.chassis.threads import in_thread
from services.search import analysis
from services.search.catalog import Catalog, Dataset, Run
from services.search.errors import DatasetNotFound, DocumentNotEmbedded, IndexNotReady, RunNotFound
from services.search.fusion import Fusion
from services.search.index import Index, Kind, LatentQuery, Stream, Vectors
from services.search.retrieval import Condition, FeatureFound, Hit, Mode, Page, Query, Retrieval

ALL = "datasets/-"
_Answer = TypeVar("_Answer")


class Minds(Protocol):
    """What is asked of the other services while a search is answered."""

    async def dataset(self, name: str) -> Dataset: ...

    async def run(self, name: str) -> Run: ...

    async def document_row(self, name: str) -> int: ...

    async def embed(self, model: str, text: str) -> Vectors: ...

    async def encode(self, run: str, vector: Vectors) -> LatentQuery: ...

    async def label_revision(self, run: str, since: int) -> int: ...


@dataclass(frozen=True)
class Asked:
    """A search for documents, by names. latents: in place of the query's code."""

    dataset: str
    run: str | None
    text: str
    mode: Mode
    fusion: Fusion = Fusion.MIN_MAX
    text_weight: float = 0.7
    dense_weight: float = 0.3
    latents: LatentQuery | None = None
    condition: Condition = field(default_factory=Condition)
    offset: int = 0
    limit: int = 20


@dataclass(frozen=True)
class Answer:
    """code: the query's active latents, with `labels`; None where there is no run or no query."""

    page: Page
    code: LatentQuery | None
    labels: dict[int, str]
    notices: list[str]


@dataclass(frozen=True)
class StreamStatus:
    """How far a stream is. indexed and update_time are 0 before the first commit; owner is None when it is away."""

    kind: Kind
    resource: str
    indexed: int
    owner: int | None
    item_count: int
    update_time: float
    error: str


class Searching:
    """Searches by names. Raises PrismaError."""

    def __init__(self, index: Index, minds: Minds, catalog: Catalog) -> None:
        self._index = index
        self._minds = minds
        self._catalog = catalog
        self._retrieval = Retrieval(index)

    async def documents(self, asked: Asked) -> Answer:
        """Searches one dataset, or all."""
        datasets = await self._datasets(asked.dataset)
        if not datasets:
            return Answer(Page([], 0, False), None, {}, [])
        run = await self._run(asked.run, datasets[0]) if asked.run else None
        notices = await self._behind(datasets, asked.mode)
        dense, vector = await self._vector(asked, datasets, notices)
        code = asked.latents or await self._code(asked, run, datasets[0], vector, notices)
        if run and await self._missing(Stream(Kind.CODES, run.uid)):
            if asked.mode is Mode.SPARSE or asked.condition.latents:
                raise IndexNotReady(f"the codes of {run.name} are not indexed yet; try again in a moment")
            notices.append(f"the codes of {run.name} are not indexed yet, so shared features are not shown")
            run = None
        if asked.mode is Mode.SEMANTIC:
            datasets = [each for each in datasets if each.uid in dense]
        query = Query(
            [each.uid for each in datasets],
            asked.mode,
            analysis.terms(asked.text),
            vector,
            frozenset(dense),
            run.uid if run else None,
            code,
            asked.condition,
            asked.fusion,
            asked.text_weight,
            asked.dense_weight,
            asked.offset,
            asked.limit,
        )
        page = await in_thread(self._retrieval.documents, query)
        labels = await in_thread(self._retrieval.labels, run.uid, code.indices.tolist()) if run and code else {}
        return Answer(page, code if run else None, labels, notices)

    async def features(self, run: str, terms: Sequence[str], offset: int, limit: int) -> tuple[list[FeatureFound], int]:
        """Searches the features of a run."""
        found = await self._find_run(run)
        return await in_thread(self._retrieval.features, found.uid, terms, offset, limit)

    async def similar(self, document: str, dataset: str, run: str | None, limit: int) -> tuple[list[Hit], list[str]]:
        """Searches by a document's own vector."""
        owner = (await self._datasets(dataset))[0]
        row = await self._minds.document_row(document)
        chosen = await self._run(run, owner) if run else None
        notices = await self._behind([owner], Mode.SEMANTIC)
        if chosen and await self._missing(Stream(Kind.CODES, chosen.uid)):
            notices.append(f"the codes of {chosen.name} are not indexed yet, so shared features are not shown")
            chosen = None
        vector = await in_thread(self._retrieval.vector_of, owner.uid, row)
        if vector is None:
            raise DocumentNotEmbedded(f"{document} has no vector in the index: it is pending, failed, or not yet there")
        uid = chosen.uid if chosen else None
        return await in_thread(self._retrieval.similar, owner.uid, row, vector, limit, uid), notices

    async def status(self, name: str, errors: dict[Stream, str]) -> tuple[list[StreamStatus], int]:
        """How far the streams of a dataset and of its runs are, and their bytes on disk."""
        dataset = (await self._datasets(name))[0]
        owner = await _or_none(self._minds.dataset(name))
        runs = self._catalog.runs_of(dataset.uid)
        found: list[StreamStatus] = []
        for kind in (Kind.DOCUMENTS, Kind.VECTORS):
            found.append(await self._status(Stream(kind, dataset.uid), name, owner.revision if owner else None, errors))
        for run in runs:
            now = await _or_none(self._minds.run(run.name))
            codes = Stream(Kind.CODES, run.uid)
            found.append(await self._status(codes, run.name, now.revision if now else None, errors))
            labels = Stream(Kind.LABELS, run.uid)
            state = await in_thread(self._index.state, labels)
            revision = await _or_none(self._minds.label_revision(run.name, state.revision if state else 0))
            found.append(await self._status(labels, run.name, revision, errors))
        sizes = [await in_thread(self._index.size_bytes, uid) for uid in (dataset.uid, *(run.uid for run in runs))]
        return found, sum(sizes)

    async def _status(
        self, stream: Stream, resource: str, owner: int | None, errors: dict[Stream, str]
    ) -> StreamStatus:
        state = await in_thread(self._index.state, stream)
        error = errors.get(stream, "")
        if state is None:
            return StreamStatus(stream.kind, resource, 0, owner, 0, 0.0, error or "not indexed yet")
        revision, count, time = state.revision, state.item_count, state.update_time
        return StreamStatus(stream.kind, resource, revision, owner, count, time, error)

    async def _datasets(self, name: str) -> list[Dataset]:
        """The datasets that are meant. The owner is asked; while it is away, what it said last counts."""
        if name == ALL:
            living = sorted((each for each in self._catalog.datasets if not each.deleted), key=lambda each: each.name)
            return [each for each in living if not await self._missing(Stream(Kind.DOCUMENTS, each.uid))]
        try:
            return [await self._minds.dataset(name)]
        except Unavailable:
            known = self._catalog.dataset(name)
            if known is None:
                raise
            return [known]
        except PrismaError as error:
            if error.reason == DatasetNotFound.reason:
                raise DatasetNotFound(f"no dataset is named {name!r}") from error
            raise

    async def _run(self, name: str, dataset: Dataset) -> Run:
        run = await self._find_run(name)
        if run.dataset_uid != dataset.uid:
            raise InvalidArgument.field("run", f"expected a run of {dataset.name}; {name} is of {run.dataset}")
        return run

    async def _find_run(self, name: str) -> Run:
        try:
            return await self._minds.run(name)
        except Unavailable:
            known = self._catalog.run(name)
            if known is None:
                raise
            return known
        except PrismaError as error:
            if error.reason == RunNotFound.reason:
                raise RunNotFound(f"no run is named {name!r}") from error
            raise

    async def _vector(
        self, asked: Asked, datasets: Sequence[Dataset], notices: list[str]
    ) -> tuple[set[str], Vectors | None]:
        """The query's vector where the mode ranks by it, and the uids it can be compared with.

        Of several models the one with most datasets is taken; ties go to the first by name.
        """
        if asked.mode not in (Mode.SEMANTIC, Mode.HYBRID) or not datasets:
            return set(), None
        embedded = [each for each in datasets if await self._dimension(each)]
        if not embedded:
            if asked.mode is Mode.SEMANTIC:
                raise IndexNotReady("no vectors are indexed yet; embed the documents, or try again in a moment")
            notices.append("no vectors are indexed yet, so documents are ranked by their words alone")
            return set(), np.zeros(1, np.float32)
        models = Counter(each.embedding_model for each in embedded)
        model = min(models, key=lambda each: (-models[each], each))
        others = sorted(each.name for each in datasets if each.embedding_model != model)
        if others:
            notices.append(f"vectors of {', '.join(others)} are of another model than {model} and were not compared")
        vector = await self._minds.embed(model, asked.text)
        return {each.uid for each in embedded if each.embedding_model == model}, vector

    async def _code(
        self, asked: Asked, run: Run | None, dataset: Dataset, vector: Vectors | None, notices: list[str]
    ) -> LatentQuery | None:
        """The query's code. Sparse search is nothing without it; other modes only show less."""
        if run is None or not asked.text.strip():
            return None
        try:
            if vector is None or len(vector) < 2:
                vector = await self._minds.embed(dataset.embedding_model, asked.text)
            return await self._minds.encode(run.name, vector)
        except PrismaError as error:
            if asked.mode is Mode.SPARSE:
                raise
            notices.append(f"shared features are not shown: {error.message}")
            return None

    async def _behind(self, datasets: Sequence[Dataset], mode: Mode) -> list[str]:
        kinds = [Kind.DOCUMENTS] + ([Kind.VECTORS] if mode in (Mode.SEMANTIC, Mode.HYBRID) else [])
        notices: list[str] = []
        for dataset in datasets:
            for kind in kinds:
                state = await in_thread(self._index.state, Stream(kind, dataset.uid))
                if state is not None and state.revision < dataset.revision:
                    reached = f"revision {state.revision} of {dataset.revision}"
                    notices.append(f"the index of {dataset.name} is still behind: its {kind} are at {reached}")
        return notices

    async def _missing(self, stream: Stream) -> bool:
        return await in_thread(self._index.state, stream) is None

    async def _dimension(self, dataset: Dataset) -> int:
        """Vectors of a dataset that are indexed."""
        state = await in_thread(self._index.state, Stream(Kind.VECTORS, dataset.uid))
        return state.item_count if state else 0


async def _or_none(asked: Awaitable[_Answer]) -> _Answer | None:
    """What an owner answers; None while it does not."""
    try:
        return await asked
    except PrismaError:
        return None
