"""Ranks documents and features: candidates from the index, exact scores, one ranking, and why each hit is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.search import fusion, scoring, shared_features, snippets
from services.search.ascending import are_among
from services.search.backend import (
    EVERYTHING,
    MAX_DEPTH,
    Candidates,
    Index,
    Kind,
    LatentQuery,
    Rows,
    Scores,
    Selection,
    Stream,
    StreamState,
    TextCandidates,
    TextProfiles,
    Vectors,
)
from services.search.fusion import Fusion, Part
from services.search.query import (
    REACHABLE_HITS,
    DocumentQuery,
    FeatureHit,
    FeatureLabel,
    FeaturePage,
    FeatureSearch,
    Hit,
    Mode,
    Page,
    QueryFeature,
    ScorePart,
    SharedFeature,
    reliability_of,
)
from services.search.tokens import TermMatcher

MARGIN = 100
"""Extra candidates, so that exact scoring can reorder them."""
HYBRID_DEPTH = 500
"""Candidates of each part of a hybrid search: fixed, so that scores do not depend on the page."""
SHARED_FEATURES = 10
_SCORE_DECIMALS = 12
_TIE_WIDTH = 1e-3
"""Scores of back ends that differ relatively by less may be in the wrong order."""
_CACHED_RUNS = 16


@dataclass(frozen=True)
class _Ranked:
    """(C,) documents of several datasets, in any order: places of their datasets, and rows."""

    datasets: NDArray[np.intp]
    rows: Rows

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Ranking:
    """(C,) documents of several datasets, the best first, with the parts of their scores."""

    documents: _Ranked
    scores: Scores
    parts: Sequence[Part]
    contributions: Scores
    """(P, C)."""
    total: int


class Ranker:
    """Searches one index. Raises what the index raises."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._labels: dict[str, tuple[StreamState, dict[int, FeatureLabel | None]]] = {}

    def documents(self, query: DocumentQuery) -> Page:
        """The documents from `offset`, at most `limit`."""
        return self.page(query, self.rank(query))

    def rank(self, query: DocumentQuery) -> Ranking:
        """Ranks the documents that match. Needs the query's code only to rank by it (MODE_SPARSE)."""
        if query.mode is Mode.FULL_TEXT:
            return self._rank_text(query)
        if query.mode is Mode.HYBRID:
            return self._rank_hybrid(query)
        return self._rank_one_part(query)

    def page(self, query: DocumentQuery, ranking: Ranking) -> Page:
        """The hits of a page, with the features that they share with the query's code."""
        end = min(query.offset + query.limit, REACHABLE_HITS)
        places = np.arange(query.offset, min(end, len(ranking.documents)))
        has_more = len(ranking.documents) > end and end < REACHABLE_HITS
        return Page(self._hits(query, ranking, places), ranking.total, has_more)

    def similar(self, query: DocumentQuery, row: int) -> list[Hit]:
        """The hits of a query, without the document itself."""
        page = self.documents(replace(query, limit=query.limit + 1))
        hits = [hit for hit in page.hits if hit.row != row][: query.limit]
        return [replace(hit, rank=rank) for rank, hit in enumerate(hits, start=1)]

    def features(self, run: str, search: FeatureSearch) -> FeaturePage:
        """Features whose label, keywords, description or index contain one of the terms."""
        stream = Stream(Kind.LABELS, run)
        candidates = self._search_text(stream, search.terms, search.offset + search.limit, EVERYTHING)
        rows = candidates.profiles.rows
        scores = scoring.bm25(candidates.profiles, candidates.statistics)
        places = scoring.order(rows, scores)[search.offset : search.offset + search.limit].tolist()
        payloads = self._index.payloads(stream, np.sort(rows[places]))
        hits = [
            FeatureHit(int(rows[place]), float(scores[place]), payloads[int(rows[place])])
            for place in places
            if int(rows[place]) in payloads
        ]
        return FeaturePage(hits, candidates.total)

    def query_features(self, query: DocumentQuery) -> list[QueryFeature]:
        """The active features of a query, the strongest first; those of the tail without their label by default."""
        if query.run is None or query.code is None:
            return []
        labels = self.labels(query.run, query.code.indices.tolist())
        features: list[QueryFeature] = []
        for latent, weight in zip(query.code.indices.tolist(), query.code.weights.tolist(), strict=True):
            label = labels.get(latent)
            tail = label is not None and not query.has_weights and weight < label.threshold
            is_hidden = tail and not query.include_tail
            features.append(QueryFeature(latent, weight, None if is_hidden else label, tail))
        return sorted(features, key=lambda feature: (-abs(feature.activation), feature.latent))

    def labels(self, run: str, indices: Sequence[int]) -> dict[int, FeatureLabel]:
        """Active labels by index; none where the run's labels are not indexed yet."""
        stream = Stream(Kind.LABELS, run)
        state = self._index.state(stream)
        if state is None:
            return {}
        cached_state, labels = self._labels.get(run, (None, {}))
        if cached_state != state:
            labels = {}
            while len(self._labels) >= _CACHED_RUNS:
                self._labels.pop(next(iter(self._labels)))
            self._labels[run] = (state, labels)
        missing = sorted(set(indices) - set(labels))
        if missing:
            payloads = self._index.payloads(stream, np.array(missing, dtype=np.uint64))
            labels.update({index: _label(payloads[index]) if index in payloads else None for index in missing})
        return {index: label for index in indices if (label := labels[index]) is not None}

    def code_of(self, run: str, row: int) -> LatentQuery | None:
        """The stored code of a row, to search and explain by; None where it has none."""
        codes = self._index.codes(Stream(Kind.CODES, run), np.array([row], dtype=np.uint64))
        if not len(codes):
            return None
        indices, values = codes.row(0)
        return LatentQuery(indices, values.astype(np.float64))

    def vector_of(self, dataset: str, row: int) -> Vectors | None:
        """The stored vector of a row."""
        rows, vectors = self._index.vectors(Stream(Kind.VECTORS, dataset), np.array([row], dtype=np.uint64))
        return vectors[0] if len(rows) else None

    def _selection(self, query: DocumentQuery) -> Selection:
        """The condition, as texts are filtered by it."""
        facets = [condition.facets for condition in query.condition.metadata]
        rows: list[Rows] = []
        for condition in query.condition.latents:
            assert query.run is not None, "conditions on latents need a run"
            stream = Stream(Kind.CODES, query.run)
            rows.append(
                self._index.rows_with_latent(stream, condition.latent, condition.minimum, inclusive=condition.inclusive)
            )
        return Selection(facets, _intersection(rows) if rows else None)

    def _allowed(self, dataset: str, selection: Selection) -> Rows | None:
        """Ascending rows that pass the condition; None for all."""
        if not selection.facets:
            return selection.rows
        rows = self._index.rows_with_facets(Stream(Kind.DOCUMENTS, dataset), selection.facets)
        return rows if selection.rows is None else _intersection([rows, selection.rows])

    def _rank_text(self, query: DocumentQuery) -> Ranking:
        candidates = self._texts(query, self._selection(query), query.offset + query.limit + 1)
        documents, profiles = _joined([part.profiles for part in candidates], len(query.terms))
        scores = scoring.bm25(profiles, scoring.combine([part.statistics for part in candidates]))
        part = Part("text", scores, _ranks(documents, scores), 1.0)
        return _ranking(documents, [part], sum(part.total for part in candidates))

    def _rank_one_part(self, query: DocumentQuery) -> Ranking:
        """Semantic or sparse. Vectors and codes whose documents were deleted are left out."""
        selection = self._selection(query)
        name = "sparse" if query.mode is Mode.SPARSE else "dense"
        candidates = [self._existing_candidates(query, dataset, selection) for dataset in query.datasets]
        documents = _documents([part.rows for part in candidates])
        scores = np.concatenate([np.empty(0), *(part.scores for part in candidates)])
        part = Part(name, scores, _ranks(documents, scores), 1.0)
        return _ranking(documents, [part], sum(part.total for part in candidates))

    def _existing_candidates(self, query: DocumentQuery, dataset: str, selection: Selection) -> Candidates:
        """Candidates by vector or code that still have a document: enough for the page, if there are."""
        wanted_count = query.offset + query.limit + 1
        depth = wanted_count + MARGIN
        allowed = self._allowed(dataset, selection)
        stream = Stream(Kind.DOCUMENTS, dataset)
        while True:
            candidates = self._search_part(query, dataset, depth, allowed)
            existing = self._index.existing(stream, candidates.rows)
            count = int(existing.sum())
            if count >= wanted_count or len(candidates.rows) < depth or depth >= MAX_DEPTH:
                total = candidates.total - len(existing) + count
                return Candidates(candidates.rows[existing], candidates.scores[existing], total)
            depth = min(depth * 4, MAX_DEPTH)

    def _rank_hybrid(self, query: DocumentQuery) -> Ranking:
        selection = self._selection(query)
        texts = self._texts(query, selection, HYBRID_DEPTH)
        profiles: list[TextProfiles] = []
        cosines: list[Scores] = []
        in_text: list[NDArray[np.bool_]] = []
        in_dense: list[NDArray[np.bool_]] = []
        total = 0
        for dataset, text in zip(query.datasets, texts, strict=True):
            near = Candidates(np.empty(0, np.uint64), np.empty(0), text.total)
            if dataset in query.dense_datasets:
                near = self._search_part(query, dataset, HYBRID_DEPTH, self._allowed(dataset, selection))
            total += near.total
            dense_rows = np.sort(near.rows[~are_among(near.rows, np.sort(text.profiles.rows))])
            profile, is_text = _merged(
                text.profiles, self._index.profile_texts(Stream(Kind.DOCUMENTS, dataset), query.terms, dense_rows)
            )
            profiles.append(profile)
            cosines.append(self._cosines(query, dataset, profile.rows, near))
            in_text.append(is_text)
            in_dense.append(are_among(profile.rows, np.sort(near.rows)))
        documents, profile = _joined(profiles, len(query.terms))
        text_scores = scoring.bm25(profile, scoring.combine([text.statistics for text in texts]))
        dense_scores = np.concatenate(cosines)
        text_ranks = _ranks(documents, text_scores, np.concatenate(in_text))
        dense_ranks = _ranks(documents, dense_scores, np.concatenate(in_dense))
        parts = [
            Part("text", text_scores, text_ranks, query.scoring.text_weight),
            Part("dense", dense_scores, dense_ranks, query.scoring.dense_weight),
        ]
        return _ranking(documents, parts, total, query.scoring.fusion)

    def _texts(self, query: DocumentQuery, selection: Selection, count: int) -> list[TextCandidates]:
        return [
            self._search_text(Stream(Kind.DOCUMENTS, dataset), query.terms, count, selection)
            for dataset in query.datasets
        ]

    def _search_text(self, stream: Stream, terms: Sequence[str], count: int, selection: Selection) -> TextCandidates:
        """Enough candidates that the best `count` are among them, however many of them tie at the end."""
        depth = count + MARGIN
        while True:
            candidates = self._index.search_text(stream, terms, depth, selection)
            scores = candidates.scores
            is_cut = len(scores) >= depth and depth < MAX_DEPTH
            if not is_cut or scores[-1] < scores[count - 1] * (1 - _TIE_WIDTH):
                return candidates
            depth = min(depth * 4, MAX_DEPTH)

    def _search_part(self, query: DocumentQuery, dataset: str, depth: int, allowed: Rows | None) -> Candidates:
        if query.mode is Mode.SPARSE:
            assert query.run is not None and query.code is not None
            return self._index.search_codes(Stream(Kind.CODES, query.run), query.code, depth, allowed)
        assert query.vector is not None
        return self._index.search_vectors(Stream(Kind.VECTORS, dataset), query.vector, depth, allowed)

    def _cosines(self, query: DocumentQuery, dataset: str, rows: Rows, near: Candidates) -> Scores:
        """(R,) cosines of ascending rows with the query; NaN for rows without a vector to compare with."""
        scores = np.full(len(rows), np.nan)
        if dataset not in query.dense_datasets or query.vector is None or not len(rows):
            return scores
        places = np.minimum(np.searchsorted(rows, near.rows), len(rows) - 1)
        scored = rows[places] == near.rows
        scores[places[scored]] = near.scores[scored]
        unscored = rows[np.isnan(scores)]
        if len(unscored):
            stored, vectors = self._index.vectors(Stream(Kind.VECTORS, dataset), unscored)
            scores[np.searchsorted(rows, stored)] = scoring.cosines(query.vector, vectors)
        return scores

    def _hits(self, query: DocumentQuery, ranking: Ranking, places: NDArray[np.intp]) -> list[Hit]:
        documents = ranking.documents
        payloads = self._payloads(query, _Ranked(documents.datasets[places], documents.rows[places]))
        shared = self._shared(query, documents.rows[places])
        matcher = TermMatcher(query.terms)
        hits: list[Hit] = []
        for place in places.tolist():
            dataset, row = int(documents.datasets[place]), int(documents.rows[place])
            payload = payloads.get((dataset, row))
            if payload is not None:  # it may have been deleted since it was ranked
                hits.append(
                    Hit(
                        dataset=query.datasets[dataset],
                        row=row,
                        rank=place + 1,
                        score=float(ranking.scores[place]),
                        parts=_score_parts(ranking, place),
                        payload=payload,
                        snippet=snippets.make(str(payload["text"]), matcher),
                        shared=shared.get(row, ()),
                    )
                )
        return hits

    def _payloads(self, query: DocumentQuery, documents: _Ranked) -> Mapping[tuple[int, int], dict[str, Any]]:
        """Payloads by place of the dataset and row."""
        payloads: dict[tuple[int, int], dict[str, Any]] = {}
        for place, dataset in enumerate(query.datasets):
            rows = np.sort(documents.rows[documents.datasets == place])
            stored = self._index.payloads(Stream(Kind.DOCUMENTS, dataset), rows) if len(rows) else {}
            payloads.update({(place, row): payload for row, payload in stored.items()})
        return payloads

    def _shared(self, query: DocumentQuery, rows: Rows) -> dict[int, list[SharedFeature]]:
        """Features that query and documents share, by row; none without a run or a code."""
        if query.run is None or query.code is None or not len(rows):
            return {}
        codes = self._index.codes(Stream(Kind.CODES, query.run), np.sort(rows))
        common = shared_features.common_latents(query.code, codes)
        labels = self.labels(query.run, np.unique(common.indices).tolist())
        tail = shared_features.tail(common, labels, has_weights=query.has_weights)
        if not query.include_tail:
            common, tail = common.take(~tail), tail[~tail]
        return shared_features.by_row(common, labels, tail, limit=SHARED_FEATURES)


def _label(payload: Mapping[str, Any]) -> FeatureLabel | None:
    """The label of an indexed feature; None where it has none."""
    if not payload["label"]:
        return None
    return FeatureLabel(str(payload["label"]), payload.get("threshold") or 0.0, reliability_of(payload))


def _score_parts(ranking: Ranking, place: int) -> list[ScorePart]:
    parts: list[ScorePart] = []
    for part, contributions in zip(ranking.parts, ranking.contributions, strict=True):
        score, rank = float(part.scores[place]), int(part.ranks[place])
        parts.append(ScorePart(part.name, None if score != score else score, rank or None, float(contributions[place])))
    return parts


def _intersection(sets: Sequence[Rows]) -> Rows:
    return reduce(lambda one, other: np.intersect1d(one, other, assume_unique=True), sets)


def _documents(rows: Sequence[Rows]) -> _Ranked:
    """The rows of several datasets as one list."""
    datasets = np.repeat(np.arange(len(rows)), [len(part) for part in rows])
    return _Ranked(datasets, np.concatenate([np.empty(0, np.uint64), *rows]))


def _joined(profiles: Sequence[TextProfiles], term_count: int) -> tuple[_Ranked, TextProfiles]:
    """Profiles of several datasets as one."""
    documents = _documents([part.rows for part in profiles])
    frequencies = np.concatenate([part.frequencies.reshape(len(part.rows), term_count) for part in profiles])
    lengths = np.concatenate([part.lengths for part in profiles])
    return documents, TextProfiles(documents.rows, frequencies, lengths)


def _merged(texts: TextProfiles, dense: TextProfiles) -> tuple[TextProfiles, NDArray[np.bool_]]:
    """Profiles of different rows as one, by ascending row, and which of them are of the first."""
    rows = np.concatenate([texts.rows, dense.rows])
    order = np.argsort(rows)
    frequencies = np.concatenate([texts.frequencies, dense.frequencies])
    lengths = np.concatenate([texts.lengths, dense.lengths])
    return TextProfiles(rows[order], frequencies[order], lengths[order]), order < len(texts.rows)


def _ranks(documents: _Ranked, scores: Scores, candidates: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
    """(C,) ranks from 1 by one part alone; 0 for those that are not among its candidates."""
    ranks = np.zeros(len(scores), dtype=np.int64)
    places = np.arange(len(scores)) if candidates is None else np.flatnonzero(candidates)
    order = np.lexsort((documents.rows[places], documents.datasets[places], -scores[places]))
    ranks[places[order]] = np.arange(1, len(places) + 1)
    return ranks


def _ranking(documents: _Ranked, parts: Sequence[Part], total: int, method: Fusion | None = None) -> Ranking:
    """Documents in order, ties by dataset and row. Without fusion there is one part, and it is the score."""
    added = fusion.contributions(parts, method) if method else np.array([part.scores for part in parts])
    scores = added.sum(axis=0).round(_SCORE_DECIMALS)
    order = np.lexsort((documents.rows, documents.datasets, -scores))
    return Ranking(
        documents=_Ranked(documents.datasets[order], documents.rows[order]),
        scores=scores[order],
        parts=[Part(part.name, part.scores[order], part.ranks[order], part.weight) for part in parts],
        contributions=added[:, order],
        total=total,
    )
