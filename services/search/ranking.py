"""Ranks documents and features: candidates from the index, exact scores, one ranking, and why each hit is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.chassis.feature_filters import FAMILY, family_ids, feature_test
from services.chassis.filters import Comparison, evaluate
from services.search import grouping, ranked, scoring, shared_features, snippets, steering
from services.search.backend import MAX_DEPTH, Index, Kind, LatentQuery, Rows, Stream, TextProfiles, Vectors
from services.search.fused import FusedRanker, is_fused
from services.search.fusion import Part
from services.search.labels import FeatureLabels
from services.search.query import (
    REACHABLE_HITS,
    DocumentQuery,
    FeatureHit,
    FeaturePage,
    FeatureSearch,
    Hit,
    Mode,
    Page,
    QueryFeature,
    ScorePart,
    SharedFeature,
    trust_rank,
)
from services.search.ranked import Documents, Ranking, SteeredDocuments
from services.search.retrieval import Retrieval
from services.search.tokens import TermMatcher
from services.search.where import WHERE, IsMatching, Where

SHARED_FEATURES = 10
_LEAST_PASSAGES = 400
"""That are looked at for the documents of a page."""


class Ranker:
    """Searches one index. Raises what the index raises."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._retrieval = Retrieval(index)
        self._labels = FeatureLabels(index)
        self._fused = FusedRanker(index, self._labels)

    def documents(self, query: DocumentQuery) -> Page:
        """The documents from `offset`, at most `limit`."""
        return self.page(query, self.rank(query))

    def rank(self, query: DocumentQuery) -> Ranking:
        """Ranks the documents that match. Needs the query's code only to rank by it."""
        if query.passages_per_document is not None:
            return self._rank_documents_of_passages(query, query.passages_per_document)
        return self._rank(query)

    def _rank_documents_of_passages(self, query: DocumentQuery, per_document: int) -> Ranking:
        """Looks at more passages until there are enough documents."""
        count = query.offset + query.limit + 1
        depth = max(_LEAST_PASSAGES, 4 * count)
        while True:
            ranking = self._rank(replace(query, offset=0, limit=depth))
            best = grouping.best_passages(
                ranking, per_document=per_document, count=count, read=partial(self._payloads, query)
            )
            are_all = len(ranking.documents) <= depth or depth >= MAX_DEPTH or is_fused(query)
            if len(best.documents) == count or are_all:
                return best
            depth = min(depth * 4, MAX_DEPTH)

    def _rank(self, query: DocumentQuery) -> Ranking:
        if is_fused(query):
            return self._fused.rank(query)
        if query.mode is Mode.FULL_TEXT:
            return self._rank_text(query)
        return self._rank_one_part(query)

    def page(self, query: DocumentQuery, ranking: Ranking) -> Page:
        """The hits of a page, with the features that they share with the query's code."""
        end = min(query.offset + query.limit, REACHABLE_HITS)
        places = np.arange(query.offset, min(end, len(ranking.documents)))
        has_more = len(ranking.documents) > end and end < REACHABLE_HITS
        hits = self._hits(query, ranking, places)
        if ranking.steered is not None:
            hits = self._with_steering(query, ranking.steered, hits)
        return Page(hits, ranking.total, has_more)

    def similar(self, query: DocumentQuery, row: int) -> list[Hit]:
        """The hits of a query, without the document itself."""
        page = self.documents(replace(query, limit=query.limit + 1))
        own = self._index.payloads(Stream(Kind.DOCUMENTS, query.datasets[0]), np.array([row], dtype=np.uint64)).get(row)
        document = grouping.document_of(own) if own else None
        hits = [hit for hit in page.hits if hit.row != row and grouping.document_of(hit.payload) != document]
        hits = hits[: query.limit]
        return [replace(hit, rank=rank) for rank, hit in enumerate(hits, start=1)]

    def features(self, run: str, search: FeatureSearch) -> FeaturePage:
        """Features whose label, keywords, description or index contain one of the terms.

        The best score first; of equal scores the most trusted, then the lower index.
        """
        stream = Stream(Kind.LABELS, run)
        where = evaluate(search.condition, lambda leaf: feature_test(leaf, IsMatching, WHERE), WHERE)
        candidates = self._retrieval.search_text(stream, search.terms, search.offset + search.limit, where)
        rows = candidates.profiles.rows
        scores = scoring.bm25(candidates.profiles, candidates.statistics)
        end = search.offset + search.limit
        least = np.partition(scores, -end)[-end] if end < len(scores) else -np.inf
        places = np.flatnonzero(scores >= least).tolist()  # with all that have the score of the last one
        payloads = self._index.payloads(stream, np.sort(rows[places]))
        hits = [
            FeatureHit(int(rows[place]), float(scores[place]), payloads[int(rows[place])])
            for place in places
            if int(rows[place]) in payloads
        ]
        hits.sort(key=lambda hit: (-hit.score, trust_rank(hit.payload), hit.index))
        return FeaturePage(hits[search.offset : end], candidates.total, self._unknown_families(stream, search))

    def _unknown_families(self, stream: Stream, search: FeatureSearch) -> list[str]:
        """Notices of families that the filter names and no feature is in."""
        return [
            f"no labelled feature is in the family {family_id[:100]!r}; families may have been rebuilt"
            for family_id in dict.fromkeys(family_ids(search.condition))
            if not len(self._index.rows_where(stream, _in_family(family_id)))
        ]

    def query_features(self, query: DocumentQuery) -> list[QueryFeature]:
        """The active features of a query, the strongest first; those of the tail without their label by default."""
        if query.run is None or query.code is None:
            return []
        labels = self._labels.of(query.run, query.code.indices.tolist())
        features: list[QueryFeature] = []
        for latent, weight in zip(query.code.indices.tolist(), query.code.weights.tolist(), strict=True):
            label = labels.get(latent)
            tail = label is not None and not query.has_weights and weight < label.threshold
            is_hidden = tail and not query.include_tail
            features.append(QueryFeature(latent, weight, None if is_hidden else label, tail))
        return sorted(features, key=lambda feature: (-abs(feature.activation), feature.latent))

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

    def _rank_text(self, query: DocumentQuery) -> Ranking:
        count = query.offset + query.limit + 1
        candidates = self._retrieval.texts(query, self._retrieval.conditions(query), count)
        documents, profiles = _joined([part.profiles for part in candidates], len(query.terms))
        scores = scoring.bm25(profiles, scoring.combine([part.statistics for part in candidates]))
        part = Part("text", scores, ranked.ranks(documents, scores), 1.0)
        return ranked.ranking(documents, [part], scores[None], sum(part.total for part in candidates))

    def _rank_one_part(self, query: DocumentQuery) -> Ranking:
        """Semantic or sparse. Vectors and codes whose documents were deleted are left out."""
        conditions = self._retrieval.conditions(query)
        name = "sparse" if query.mode is Mode.SPARSE else "dense"
        candidates = [self._retrieval.existing(query, dataset, conditions[dataset]) for dataset in query.datasets]
        documents = ranked.documents_of([part.rows for part in candidates])
        scores = np.concatenate([np.empty(0), *(part.scores for part in candidates)])
        part = Part(name, scores, ranked.ranks(documents, scores), 1.0)
        return ranked.ranking(documents, [part], scores[None], sum(part.total for part in candidates))

    def _hits(self, query: DocumentQuery, ranking: Ranking, places: NDArray[np.intp]) -> list[Hit]:
        documents = ranking.documents
        payloads = self._payloads(query, documents.take(places))
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

    def _with_steering(self, query: DocumentQuery, steered: SteeredDocuments, hits: Sequence[Hit]) -> list[Hit]:
        assert query.run is not None, "features are those of a run"
        labels = self._labels.of(query.run, steered.latents.tolist())
        return [
            replace(
                hit,
                unsteered_rank=int(steered.unsteered_ranks[hit.rank - 1]) or None,
                steering=steering.features_of(steered, hit.rank - 1, labels),
            )
            for hit in hits
        ]

    def _payloads(self, query: DocumentQuery, documents: Documents) -> Mapping[tuple[int, int], dict[str, Any]]:
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
        labels = self._labels.of(query.run, query.code.indices.tolist())  # which the query's own features need too
        tail = shared_features.tail(common, labels, has_weights=query.has_weights)
        if not query.include_tail:
            common, tail = common.take(~tail), tail[~tail]
        return shared_features.by_row(common, labels, tail, limit=SHARED_FEATURES)


def _in_family(family_id: str) -> Where:
    return feature_test(Comparison(FAMILY, "=", family_id), IsMatching, WHERE)


def _score_parts(ranking: Ranking, place: int) -> list[ScorePart]:
    parts: list[ScorePart] = []
    for part, contributions in zip(ranking.parts, ranking.contributions, strict=True):
        score, rank = float(part.scores[place]), int(part.ranks[place])
        parts.append(ScorePart(part.name, None if score != score else score, rank or None, float(contributions[place])))
    return parts


def _joined(profiles: Sequence[TextProfiles], term_count: int) -> tuple[Documents, TextProfiles]:
    """Profiles of several datasets as one."""
    documents = ranked.documents_of([part.rows for part in profiles])
    frequencies = np.concatenate([part.frequencies.reshape(len(part.rows), term_count) for part in profiles])
    lengths = np.concatenate([part.lengths for part in profiles])
    return documents, TextProfiles(documents.rows, frequencies, lengths)
