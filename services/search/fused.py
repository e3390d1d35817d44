"""Hybrid and steered searches: several parts, ranked as one over the union of their candidates.

Each part brings its best candidates, a fixed number of them, so that scores do not depend on the page. Documents that
the request's features move up are candidates too; in full text only those that contain a word of the query.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.search import fusion, ranked, scoring
from services.search.ascending import are_among
from services.search.backend import (
    Candidates,
    Index,
    Kind,
    LatentQuery,
    Rows,
    Scores,
    Stream,
    TextProfiles,
    TextStatistics,
)
from services.search.fusion import Part
from services.search.labels import FeatureLabels
from services.search.query import DocumentQuery, Mode
from services.search.ranked import Documents, Ranking, SteeredDocuments
from services.search.retrieval import Retrieval, codes_of
from services.search.steering import Steering, steering_of
from services.search.where import Where

DEPTH = 500
"""Candidates of each part."""
PASSAGES_DEPTH = 2000
"""The same where several of them can be of one document."""
_THREADS = 16
"""That search by vectors and codes while others search by words. With a cluster, all that they do is wait."""
TEXT, DENSE, SPARSE, STEERING = "text", "dense", "sparse", "steering"


@dataclass(frozen=True)
class _Plan:
    """What a search is ranked by."""

    query: DocumentQuery
    conditions: Mapping[str, Where]
    """By dataset."""
    weights: Mapping[str, float]
    """By part, without steering."""
    steering: Steering | None

    @property
    def depth(self) -> int:
        """Candidates of each part."""
        return DEPTH if self.query.passages_per_document is None else PASSAGES_DEPTH


@dataclass(frozen=True)
class _Texts:
    """The best texts of one dataset, by exact scores."""

    profiles: TextProfiles
    total: int


@dataclass(frozen=True)
class _Matches:
    """What the parts other than text find in one dataset."""

    candidates: Mapping[str, Candidates]
    """By part."""
    allowed: Rows | None
    """Ascending rows that the filter leaves; None for all."""


@dataclass(frozen=True)
class _Pool:
    """(C,) candidates of one dataset, by ascending row."""

    profiles: TextProfiles
    """Of no term where words do not rank."""
    candidates: Mapping[str, Rows]
    """Ascending rows that each part has found."""
    cosines: Scores
    """(C,) NaN for a document without a vector to compare with, or where vectors do not rank."""
    dots: Scores
    """(C,) NaN for a document without a code, or where codes do not rank."""
    activations: Scores
    """(C, L) of the latents that steer; NaN for a document without a code."""
    total: int


def is_fused(query: DocumentQuery) -> bool:
    """Whether several parts rank, and not one alone."""
    return query.mode is Mode.HYBRID or bool(query.steering)


class FusedRanker:
    """Ranks by several parts. Raises what the index raises, and InvalidArgument for latents that the run lacks."""

    def __init__(self, index: Index, labels: FeatureLabels) -> None:
        self._index = index
        self._labels = labels
        self._retrieval = Retrieval(index)
        self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="fused")

    def rank(self, query: DocumentQuery) -> Ranking:
        """Ranks the candidates of all parts. Needs the query's code where it is one of them."""
        plan = self._plan(query)
        # Back ends search without the interpreter's lock, so that words and vectors take the time of the longer.
        searches = [self._executor.submit(self._candidates, plan, dataset) for dataset in query.datasets]
        try:
            texts, statistics = self._texts(plan)
        finally:
            wait(searches)
        pools = [
            self._pool(plan, dataset, text, search.result())
            for dataset, text, search in zip(query.datasets, texts, searches, strict=True)
        ]
        documents = ranked.documents_of([pool.profiles.rows for pool in pools])
        candidates_of = {name: _are_candidates(name, pools) for name in plan.weights}
        parts = [
            _part(name, weight, scores=_scores(name, pools, statistics), documents=documents, candidates=candidates)
            for (name, weight), candidates in zip(plan.weights.items(), candidates_of.values(), strict=True)
        ]
        total = sum(pool.total for pool in pools)
        are_candidates = np.any(list(candidates_of.values()), axis=0)
        contributions = fusion.contributions(parts, query.scoring.fusion, are_candidates)
        if plan.steering is None:
            return ranked.ranking(documents, parts, contributions, total)
        unit = fusion.steering_unit(query.scoring.fusion)
        unsteered_ranks = ranked.ranks(documents, ranked.sums(contributions), are_candidates)
        steered = _steered(plan.steering, pools, unit, unsteered_ranks)
        scores = plan.steering.scores(steered.activations)
        moved_up = _are_candidates(STEERING, pools)
        part = _part(STEERING, unit, scores=scores, documents=documents, candidates=moved_up)
        contributions = np.vstack([contributions, np.nan_to_num(scores) * unit])
        return ranked.ranking(documents, [*parts, part], contributions, total, steered=steered)

    def _plan(self, query: DocumentQuery) -> _Plan:
        return _Plan(
            query=query,
            conditions=self._retrieval.conditions(query),
            weights=_weights(query),
            steering=self._steering(query) if query.steering else None,
        )

    def _steering(self, query: DocumentQuery) -> Steering:
        assert query.run is not None, "features are those of a run"
        latents = [latent for steering_set in query.steering for latent in steering_set.latents]
        labels = {} if query.include_tail else self._labels.of(query.run, latents)
        return steering_of(self._index, codes_of(query), query.steering, labels)

    def _texts(self, plan: _Plan) -> tuple[list[_Texts], TextStatistics | None]:
        """The best texts of each dataset by exact scores: those that a back end returns beyond them are its own."""
        if TEXT not in plan.weights:
            return [_Texts(_without_terms(np.empty(0, np.uint64)), 0) for _ in plan.query.datasets], None
        candidates = self._retrieval.texts(plan.query, plan.conditions, plan.depth)
        statistics = scoring.combine([part.statistics for part in candidates])
        return [_Texts(_best(part.profiles, statistics, plan.depth), part.total) for part in candidates], statistics

    def _pool(self, plan: _Plan, dataset: str, texts: _Texts, matches: _Matches) -> _Pool:
        query, candidates, allowed = plan.query, matches.candidates, matches.allowed
        candidate_rows = np.unique(np.concatenate([texts.profiles.rows, *(part.rows for part in candidates.values())]))
        cosines = self._executor.submit(
            self._retrieval.cosines, query, dataset, rows=candidate_rows, near=candidates.get(DENSE)
        )
        profiles = self._profiles(plan, dataset, texts.profiles, list(candidates.values()))
        rows = profiles.rows
        dots, activations = self._sparse_scores(plan, rows)
        return _Pool(
            profiles=profiles,
            candidates={
                TEXT: np.sort(texts.profiles.rows),
                **{name: np.sort(part.rows) for name, part in candidates.items()},
            },
            cosines=cosines.result()[np.searchsorted(candidate_rows, rows)],
            dots=dots,
            activations=activations,
            total=max(len(rows), self._total(plan, texts, candidates, rows=rows, allowed=allowed)),
        )

    def _candidates(self, plan: _Plan, dataset: str) -> _Matches:
        """Of the parts other than text."""
        query, allowed = plan.query, self._retrieval.allowed(dataset, plan.conditions[dataset])
        candidates: dict[str, Candidates] = {}
        if DENSE in plan.weights and dataset in query.dense_datasets:
            candidates[DENSE] = self._retrieval.by_vector(query, dataset, plan.depth, allowed)
        if SPARSE in plan.weights:
            candidates[SPARSE] = self._retrieval.by_code(query, dataset, plan.depth, allowed)
        if plan.steering:
            candidates[STEERING] = plan.steering.candidates(self._index, codes_of(query), plan.depth, allowed)
        return _Matches(candidates, allowed)

    def _profiles(
        self, plan: _Plan, dataset: str, texts: TextProfiles, candidates: Sequence[Candidates]
    ) -> TextProfiles:
        """Of all candidates that have a document, by ascending row."""
        stream = Stream(Kind.DOCUMENTS, dataset)
        rows = np.unique(np.concatenate([np.empty(0, np.uint64), *(part.rows for part in candidates)]))
        if TEXT not in plan.weights:
            return _without_terms(rows[self._index.existing(stream, rows)])
        remaining = rows[~are_among(rows, np.sort(texts.rows))]
        profiles = self._index.profile_texts(stream, plan.query.terms, remaining)
        if plan.query.mode is Mode.FULL_TEXT:
            profiles = _take(profiles, np.flatnonzero(profiles.frequencies.any(axis=1)))
        return _merged(texts, profiles)

    def _sparse_scores(self, plan: _Plan, rows: Rows) -> tuple[Scores, Scores]:
        """(R,) dot products with the query's code, and (R, L) activations of the latents that steer."""
        dots = np.full(len(rows), np.nan)
        if SPARSE not in plan.weights and plan.steering is None:
            return dots, np.empty((len(rows), 0))
        codes = self._index.codes(codes_of(plan.query), rows)
        if SPARSE in plan.weights:
            assert plan.query.code is not None
            dots[np.searchsorted(rows, codes.rows)] = scoring.dots(plan.query.code, codes)
        return dots, plan.steering.activations(rows, codes) if plan.steering else np.empty((len(rows), 0))

    def _total(
        self, plan: _Plan, texts: _Texts, candidates: Mapping[str, Candidates], *, rows: Rows, allowed: Rows | None
    ) -> int:
        """How many documents match: by their words, their vectors or their codes, according to the mode."""
        name = SPARSE if plan.query.mode is Mode.SPARSE else DENSE
        if name not in candidates:
            return texts.total
        part, total = candidates[name], candidates[name].total
        if name == SPARSE and plan.steering is not None:
            assert plan.query.code is not None
            latents = np.union1d(plan.query.code.indices, plan.steering.boosted)
            any_of_them = LatentQuery(latents, np.zeros(len(latents)))
            total = self._index.search_codes(codes_of(plan.query), any_of_them, 1, allowed).total
        return total - int((~are_among(part.rows, rows)).sum())


def _weights(query: DocumentQuery) -> dict[str, float]:
    """The parts that rank documents, each with its weight, without steering."""
    match query.mode:
        case Mode.FULL_TEXT:
            return {TEXT: 1.0}
        case Mode.SEMANTIC:
            return {DENSE: 1.0}
        case Mode.SPARSE:
            return {SPARSE: 1.0}
        case Mode.HYBRID:
            weights = {TEXT: query.scoring.text_weight, DENSE: query.scoring.dense_weight}
            has_sparse = query.scoring.sparse_weight > 0 and query.run is not None and query.code is not None
            return {**weights, SPARSE: query.scoring.sparse_weight} if has_sparse else weights


def _part(name: str, weight: float, *, scores: Scores, documents: Documents, candidates: NDArray[np.bool_]) -> Part:
    """candidates: (C,) which documents the part has found."""
    return Part(name, scores, ranked.ranks(documents, scores, candidates), weight)


def _steered(
    steering: Steering, pools: Sequence[_Pool], unit: float, unsteered_ranks: NDArray[np.int64]
) -> SteeredDocuments:
    """unit: what a steering score of 1 adds to a document's score."""
    activations = np.concatenate([pool.activations for pool in pools])
    return SteeredDocuments(
        latents=steering.latents,
        activations=activations,
        contributions=np.nan_to_num(activations * steering.weights) * unit,
        unsteered_ranks=unsteered_ranks,
        silent_latents=steering.silent_latents,
    )


def _scores(name: str, pools: Sequence[_Pool], statistics: TextStatistics | None) -> Scores:
    """(C,) a part's scores of all documents."""
    if name == TEXT:
        assert statistics is not None
        return np.concatenate([scoring.bm25(pool.profiles, statistics) for pool in pools])
    return np.concatenate([pool.cosines if name == DENSE else pool.dots for pool in pools])


def _are_candidates(name: str, pools: Sequence[_Pool]) -> NDArray[np.bool_]:
    """(C,) which documents a part has found."""
    nothing = np.empty(0, np.uint64)
    return np.concatenate([are_among(pool.profiles.rows, pool.candidates.get(name, nothing)) for pool in pools])


def _best(profiles: TextProfiles, statistics: TextStatistics, depth: int) -> TextProfiles:
    return _take(profiles, scoring.order(profiles.rows, scoring.bm25(profiles, statistics))[:depth])


def _without_terms(rows: Rows) -> TextProfiles:
    return TextProfiles(rows, np.empty((len(rows), 0)), np.zeros(len(rows)))


def _take(profiles: TextProfiles, places: NDArray[np.intp]) -> TextProfiles:
    return TextProfiles(profiles.rows[places], profiles.frequencies[places], profiles.lengths[places])


def _merged(texts: TextProfiles, additions: TextProfiles) -> TextProfiles:
    """Profiles of different rows as one, by ascending row."""
    rows = np.concatenate([texts.rows, additions.rows])
    frequencies = np.concatenate([texts.frequencies, additions.frequencies])
    lengths = np.concatenate([texts.lengths, additions.lengths])
    return _take(TextProfiles(rows, frequencies, lengths), np.argsort(rows))
