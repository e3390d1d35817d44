"""Answers searches by name: which index to ask, what of the query must be embedded, and what the answer lacks.

No owner is asked for what the catalog knows. Of the query, the embedder makes a vector and the trainer a code, once
each, and only where the mode or the shown features need them; ranking goes on meanwhile unless it needs the code.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, TypeVar

import numpy as np

from services.chassis import metadata_filters
from services.chassis.errors import Code, InvalidArgument, PrismaError
from services.chassis.metadata_schema import Types
from services.chassis.query_models import NoQueryModel
from services.chassis.threads import in_thread
from services.search import notices, tokens
from services.search.backend import Index, Kind, LatentQuery, Position, Stream, StreamState, Vectors
from services.search.errors import (
    DatasetNotFound,
    DocumentNotEmbedded,
    DocumentNotFound,
    IndexDamaged,
    IndexNotReady,
    MeaninglessQuery,
    RunNotFound,
)
from services.search.notices import Notices, States
from services.search.owners import Catalog, Dataset, Run
from services.search.query import (
    ALL_DATASETS,
    Answer,
    DocumentQuery,
    DocumentSearch,
    FeaturePage,
    FeatureSearch,
    Hit,
    Mode,
    Page,
    SimilarSearch,
    StreamStatus,
)
from services.search.query_cache import QueryCache
from services.search.ranking import Ranker, Ranking

_Result = TypeVar("_Result")


class Owners(Protocol):
    """What the other services are asked while a search is answered."""

    async def dataset(self, name: str) -> Dataset: ...

    async def run(self, name: str) -> Run: ...

    async def document_row(self, name: str) -> int: ...

    async def embed(self, model: str, text: str) -> Vectors: ...

    async def encode(self, run: str, vector: Vectors) -> LatentQuery: ...

    async def label_position(self, run: str, since: Position | None) -> Position | None: ...


@dataclass
class _Plan:
    """What a search for documents works on, as it is decided step by step."""

    datasets: list[Dataset]
    run: Run | None
    states: States
    notices: list[str]
    dense_datasets: frozenset[str] = frozenset()
    model: str | None = None
    """The embedding model of the query; None if the query is not embedded."""

    def state(self, kind: Kind, uid: str) -> StreamState | None:
        """The last commit of a stream."""
        return self.states.get(Stream(kind, uid))


class Search:
    """Searches by names. All methods raise PrismaError."""

    def __init__(
        self,
        *,
        index: Index,
        owners: Owners,
        catalog: Catalog,
        repair: Callable[[Stream], None],
        errors: dict[Stream, str],
    ) -> None:
        """repair: called for a stream that turned out to be damaged. errors: why streams are not up to date."""
        self._index = index
        self._owners = owners
        self._queries = QueryCache(owners)
        self._catalog = catalog
        self._repair = repair
        self._errors = errors
        self._ranker = Ranker(index)
        self._notices = Notices(index)

    async def documents(self, search: DocumentSearch) -> Answer:
        """Searches the documents of one dataset, or of all."""
        datasets = await self._find_datasets(search.dataset)
        run = await self._find_run_of(search.run, datasets[0]) if search.run else None
        if search.mode is Mode.FULL_TEXT and run is None:
            return await self._read(self._by_words, search, datasets)
        plan = await self._read(self._plan, search, datasets, run)
        if not plan.datasets:
            return Answer(Page(), (), plan.notices)
        return await self._rank(search, plan, await self._embed(search, plan))

    async def documents_with_types(self, search: DocumentSearch) -> tuple[Answer, Types]:
        """As `documents`, with the types of the fields of the documents' metadata; none where datasets differ."""
        answer = await self.documents(search)
        datasets = await self._find_datasets(search.dataset)
        return answer, datasets[0].types if len(datasets) == 1 else {}

    async def features(self, search: FeatureSearch) -> FeaturePage:
        """Searches the features of a run."""
        run = await self._find_run(search.run)
        return await self._read(self._ranker.features, run.uid, search)

    async def similar(self, search: SimilarSearch) -> tuple[list[Hit], list[str]]:
        """Searches by a document's own vector; returns the hits, and notices."""
        dataset = (await self._find_datasets(search.dataset))[0]
        run = await self._find_run_of(search.run, dataset) if search.run else None
        row = await self._find_row(dataset, search.document)
        return await self._read(partial(self._similar, search, dataset=dataset, run=run, row=row))

    async def status(self, name: str) -> tuple[list[StreamStatus], int]:
        """How far the streams of a dataset and of its runs are, by asking their owners; and their bytes on disk."""
        dataset = (await self._find_datasets(name))[0]
        owner = await _or_none(self._owners.dataset(name))
        runs = self._catalog.runs_of(dataset.uid)
        statuses = [
            await self._status(Stream(kind, dataset.uid), name, owner.position if owner else None)
            for kind in (Kind.DOCUMENTS, Kind.VECTORS)
        ]
        for run in runs:
            current_run = await _or_none(self._owners.run(run.name))
            codes, labels = Stream(Kind.CODES, run.uid), Stream(Kind.LABELS, run.uid)
            statuses.append(await self._status(codes, run.name, current_run.position if current_run else None))
            state = await in_thread(self._index.state, labels)
            position = await _or_none(self._owners.label_position(run.name, state.position if state else None))
            statuses.append(await self._status(labels, run.name, position))
        sizes = [await in_thread(self._index.size_bytes, uid) for uid in (dataset.uid, *(run.uid for run in runs))]
        return statuses, sum(sizes)

    async def find_dataset(self, name: str) -> Dataset:
        """The dataset of this name. Raises DatasetNotFound."""
        return (await self._find_datasets(name))[0]

    async def find_run(self, name: str) -> Run:
        """The run of this name. Raises RunNotFound."""
        return await self._find_run(name)

    async def _read(self, function: Callable[..., _Result], *arguments: object) -> _Result:
        """Reads the index in a thread; damage that this meets is repaired in the background."""
        try:
            return await in_thread(function, *arguments)
        except IndexDamaged as error:
            self._repair(error.stream)
            raise

    def _plan(self, search: DocumentSearch, datasets: Sequence[Dataset], run: Run | None) -> _Plan:
        """Which datasets can be searched how, and what is missing. Blocks."""
        streams = [Stream(kind, dataset.uid) for dataset in datasets for kind in (Kind.DOCUMENTS, Kind.VECTORS)]
        streams += [Stream(Kind.CODES, run.uid)] if run else []
        states = {stream: self._index.state(stream) for stream in streams}
        plan = _Plan(datasets=[], run=run, states=states, notices=[])
        for dataset in datasets:
            if plan.state(Kind.DOCUMENTS, dataset.uid) is not None:
                plan.datasets.append(dataset)
            elif search.dataset != ALL_DATASETS:
                plan.notices += self._not_indexed(dataset)
        if not plan.datasets:
            return plan
        self._plan_run(search, plan)
        self._plan_vectors(search, plan)
        for dataset in plan.datasets:
            plan.notices += self._notices.behind(dataset, states)
            if search.mode.is_dense:
                plan.notices += self._notices.without_vectors(dataset, states)
        if plan.run:
            plan.notices += self._notices.without_features(plan.run, plan.datasets[0], states)
        if search.mode is Mode.SEMANTIC:
            plan.datasets = [dataset for dataset in plan.datasets if dataset.uid in plan.dense_datasets]
        return plan

    def _not_indexed(self, dataset: Dataset) -> list[str]:
        """What to say of a dataset without an index. Raises IndexNotReady unless it has no documents."""
        if dataset.document_count:
            reason = self._errors.get(Stream(Kind.DOCUMENTS, dataset.uid))
            detail = f": {reason}" if reason else ""
            raise IndexNotReady(f"the documents of {dataset.name} are not indexed yet{detail}; try again in a moment")
        return [f"{dataset.name} has no documents yet"]

    def _plan_run(self, search: DocumentSearch, plan: _Plan) -> None:
        """Leaves the run out if its codes are not indexed. Raises IndexNotReady where nothing works without them."""
        run = plan.run
        if run is None or plan.state(Kind.CODES, run.uid) is not None:
            return
        if search.needs_codes:
            raise IndexNotReady(f"the codes of {run.name} are not indexed yet; try again in a moment")
        plan.notices.append(f"the codes of {run.name} are not indexed yet, so shared features are not shown")
        plan.run = None

    def _plan_vectors(self, search: DocumentSearch, plan: _Plan) -> None:
        """Chooses the embedding model of the query, and the datasets whose vectors it can be compared with.

        Of several models, the one that most datasets use; of equals, the first by name.
        """
        if not search.mode.is_dense:
            needs_code = plan.run is not None and search.latents is None and bool(search.text.strip())
            if needs_code and search.vector is None:
                self._plan_model_of_code(search, plan)
            return
        embedded = [
            dataset
            for dataset in plan.datasets
            if (state := plan.state(Kind.VECTORS, dataset.uid)) is not None and state.item_count
        ]
        if not embedded:
            if search.mode is Mode.SEMANTIC:
                raise IndexNotReady("no vectors are indexed yet; embed the documents, or try again in a moment")
            plan.notices.append(f"no vectors are indexed yet, so {_ranked_without_vectors(search)}")
            return
        if search.vector is not None:  # of one dataset
            plan.dense_datasets = frozenset(dataset.uid for dataset in embedded)
            return
        models = Counter(dataset.text_model for dataset in embedded if dataset.text_model is not None)
        if not models:
            if search.mode is Mode.SEMANTIC or (search.is_ranked_by_code and search.latents is None):
                raise NoQueryModel(embedded[0].name)
            plan.notices.append(f"{NoQueryModel(embedded[0].name).message}; {_ranked_without_vectors(search)}")
            return
        model = min(models, key=lambda name: (-models[name], name))
        foreign = sorted(dataset.name for dataset in plan.datasets if dataset.text_model != model)
        if foreign:
            plan.notices.append(f"vectors of {', '.join(foreign)} are not of the model {model} and were not compared")
        plan.model = model
        plan.dense_datasets = frozenset(dataset.uid for dataset in embedded if dataset.text_model == model)

    def _plan_model_of_code(self, search: DocumentSearch, plan: _Plan) -> None:
        """Chooses the embedding model of a query that only its code is needed of. Raises NoQueryModel."""
        plan.model = plan.datasets[0].text_model
        if plan.model is None:
            if search.mode is not Mode.FULL_TEXT:
                raise NoQueryModel(plan.datasets[0].name)
            plan.notices.append(f"shared features are not shown: {NoQueryModel(plan.datasets[0].name).message}")

    async def _embed(self, search: DocumentSearch, plan: _Plan) -> Vectors | None:
        """The query's vector; None where it is not needed, or where only shared features are lost without it."""
        if search.vector is not None:
            return await self._checked(search.vector, plan.datasets[0])
        if plan.model is None:
            return None
        try:
            vector = await self._queries.vector(plan.model, search.text)
        except PrismaError as error:
            if search.mode is not Mode.FULL_TEXT:
                raise
            plan.notices.append(f"shared features are not shown: {error.message}")
            return None
        if np.any(vector):
            return vector
        if search.mode in (Mode.SEMANTIC, Mode.SPARSE):
            raise MeaninglessQuery.field(
                "query",
                f"expected words that {plan.model} knows: the query's vector is zero, which is close to nothing",
            )
        plan.notices.append(f"{plan.model} knows no word of the query, so {_ranked_without_vectors(search)}")
        plan.dense_datasets = frozenset()
        return None

    async def _checked(self, vector: Vectors, dataset: Dataset) -> Vectors:
        """The vector of a query, if it is as long as the dataset's. Raises InvalidArgument."""
        if dataset.dimension != len(vector):  # or the catalog does not know it yet
            dataset = await self._owners.dataset(dataset.name)
        if dataset.dimension not in (0, len(vector)):
            raise InvalidArgument.field(
                "vector",
                f"expected {dataset.dimension:,} numbers, as in the vectors of {dataset.name}; got {len(vector):,}",
            )
        return vector

    async def _encode(self, search: DocumentSearch, plan: _Plan, vector: Vectors | None) -> LatentQuery | None:
        """The query's code. A search that ranks by it needs it; others only show less without it."""
        if search.latents is not None or plan.run is None or vector is None:
            return search.latents
        try:
            return await self._queries.code(plan.run, vector)
        except PrismaError as error:
            if search.is_ranked_by_code:
                raise
            plan.notices.append(f"shared features are not shown: {error.message}")
            return None

    async def _rank(self, search: DocumentSearch, plan: _Plan, vector: Vectors | None) -> Answer:
        query = _query(search, plan, vector)
        if search.is_ranked_by_code or plan.run is None:
            code = await self._encode(search, plan, vector)
            return await self._read(self._rank_and_finish, replace(query, code=code), plan)
        encoding = asyncio.ensure_future(self._encode(search, plan, vector))
        try:
            ranking = await self._read(self._ranker.rank, query)
            return await self._read(self._finish, replace(query, code=await encoding), ranking, plan)
        finally:
            encoding.cancel()

    def _by_words(self, search: DocumentSearch, datasets: Sequence[Dataset]) -> Answer:
        """Searches by words alone, without features: nothing is asked of another service. Blocks."""
        plan = self._plan(search, datasets, None)
        if not plan.datasets:
            return Answer(Page(), (), plan.notices)
        return self._rank_and_finish(_query(search, plan, None), plan)

    def _rank_and_finish(self, query: DocumentQuery, plan: _Plan) -> Answer:
        """Blocks."""
        return self._finish(query, self._ranker.rank(query), plan)

    def _finish(self, query: DocumentQuery, ranking: Ranking, plan: _Plan) -> Answer:
        """The page, the features of the query, and notices about the condition. Blocks."""
        page = self._ranker.page(query, ranking)
        query_features = self._ranker.query_features(query) if plan.run else []
        condition = metadata_filters.notices(query.condition, [dataset.types for dataset in plan.datasets])
        silent = [
            f"no document has feature {latent}: it steers nothing"
            for latent in (ranking.steered.silent_latents if ranking.steered else ())
        ]
        hidden = notices.hidden_passages(ranking.hidden_count, query.passages_per_document)
        return Answer(page, query_features, plan.notices + condition + silent + hidden)

    def _similar(
        self, search: SimilarSearch, *, dataset: Dataset, run: Run | None, row: int
    ) -> tuple[list[Hit], list[str]]:
        """Blocks."""
        plan = self._plan(
            DocumentSearch(dataset=dataset.name, run=search.run, text="", mode=Mode.HYBRID), [dataset], run
        )
        vector = self._ranker.vector_of(dataset.uid, row)
        if vector is None:
            raise DocumentNotEmbedded(
                f"{search.document} has no vector in the index: it is not embedded, its embedding failed, or it is "
                "not indexed yet",
                metadata={"document": search.document},
            )
        if not np.any(vector):
            return [], [*plan.notices, f"the vector of {search.document} is zero, which is close to nothing"]
        query = DocumentQuery(
            datasets=[dataset.uid],
            mode=Mode.SEMANTIC,
            vector=vector,
            dense_datasets=frozenset([dataset.uid]),
            run=plan.run.uid if plan.run else None,
            code=self._ranker.code_of(plan.run.uid, row) if plan.run else None,
            limit=search.limit,
            include_tail=search.include_tail,
            passages_per_document=1 if dataset.has_passages else None,
        )
        return self._ranker.similar(query, row), plan.notices

    async def _status(self, stream: Stream, resource: str, owner: Position | None) -> StreamStatus:
        state = await in_thread(self._index.state, stream)
        error = self._errors.get(stream)
        if state is None and error is None:
            error = "not indexed yet"
        position = state.position if state else None
        if error is None and owner and position and owner.history != position.history:
            error = "its owner restarted or was restored; the index is being compared with it"
        return StreamStatus(
            kind=stream.kind,
            resource=resource,
            indexed_revision=position.revision if position else None,
            owner_revision=owner.revision if owner else None,
            is_current=error is None and position is not None and position == owner,
            item_count=state.item_count if state else 0,
            update_time=state.update_time if state else None,
            error=error,
            recall=state.recall if state else None,
        )

    async def _find_datasets(self, name: str) -> list[Dataset]:
        """The dataset of a name, or all: as the catalog knows them; an unknown or empty one is looked up."""
        if name == ALL_DATASETS:
            datasets = [dataset for dataset in self._catalog.datasets if not dataset.is_deleted]
            return sorted(datasets, key=lambda dataset: dataset.name)
        dataset = self._catalog.dataset(name)
        if dataset is not None and dataset.document_count:
            return [dataset]
        try:
            return [await self._owners.dataset(name)]
        except PrismaError as error:
            if error.code is Code.NOT_FOUND:
                raise DatasetNotFound(
                    f"there is no dataset {name}, or it was deleted", metadata={"dataset": name}
                ) from error
            if dataset is None:
                raise
            return [dataset]

    async def _find_run(self, name: str) -> Run:
        run = self._catalog.run(name)
        if run is not None:
            return run
        try:
            return await self._owners.run(name)
        except PrismaError as error:
            if error.code is Code.NOT_FOUND:
                raise RunNotFound(f"there is no run {name}, or it was deleted", metadata={"run": name}) from error
            raise

    async def _find_run_of(self, name: str, dataset: Dataset) -> Run:
        run = await self._find_run(name)
        if run.dataset_uid != dataset.uid:
            raise InvalidArgument.field("run", f"expected a run of {dataset.name}; {name} is one of {run.dataset}")
        return run

    async def _find_row(self, dataset: Dataset, document: str) -> int:
        """A document's row, from the index; the owner is asked for a document that is not indexed yet."""
        try:
            row = await self._read(self._index.find_row, Stream(Kind.DOCUMENTS, dataset.uid), document)
        except IndexDamaged:
            raise
        except IndexNotReady:
            row = None
        if row is not None:
            return row
        try:
            return await self._owners.document_row(document)
        except PrismaError as error:
            if error.code is Code.NOT_FOUND:
                raise DocumentNotFound(
                    f"there is no document {document}, or it was deleted", metadata={"document": document}
                ) from error
            raise


def _query(search: DocumentSearch, plan: _Plan, vector: Vectors | None) -> DocumentQuery:
    return DocumentQuery(
        datasets=[dataset.uid for dataset in plan.datasets],
        mode=search.mode,
        terms=tokens.terms(search.text),
        vector=vector,
        dense_datasets=plan.dense_datasets,
        run=plan.run.uid if plan.run else None,
        steering=search.steering,
        condition=search.condition,
        types={dataset.uid: dataset.types for dataset in plan.datasets},
        scoring=search.scoring,
        offset=search.offset,
        limit=search.limit,
        include_tail=search.include_tail,
        has_weights=search.latents is not None,
        passages_per_document=search.passages_per_document
        if any(dataset.has_passages for dataset in plan.datasets)
        else None,
    )


def _ranked_without_vectors(search: DocumentSearch) -> str:
    has_more = search.is_ranked_by_code or search.steering
    return f"documents are ranked {'without vectors' if has_more else 'by their words alone'}"


async def _or_none(request: Awaitable[_Result]) -> _Result | None:
    """What an owner answers; None while it does not."""
    try:
        return await request
    except PrismaError:
        return None
