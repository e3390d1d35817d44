"""Finds documents and features: candidates from the index, exact scores, one ranking, and why each hit is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.search import fusion, scoring, snippets
from services.search.fusion import Fusion, Part
from services.search.index import (
    MAXIMUM_DEPTH,
    Index,
    Kind,
    LatentQuery,
    Rows,
    Scores,
    Stream,
    TextCandidates,
    TextProfiles,
    Vectors,
)
from services.search.snippets import Snippet

REACHABLE = 1000
"""Hits that can be paged through."""
MARGIN = 100
HYBRID_DEPTH = 500
"""Candidates of each part of a hybrid search: fixed, so that scores don't depend on the page."""
SHARED_FEATURES = 10


class Mode(Enum):
    """How documents are ranked."""

    FULL_TEXT = auto()
    SEMANTIC = auto()
    SPARSE = auto()
    HYBRID = auto()


@dataclass(frozen=True)
class LatentCondition:
    """A latent that must be active: above the minimum, or at it too."""

    latent: int
    minimum: float
    inclusive: bool


@dataclass(frozen=True)
class Condition:
    """What documents must have: all of it."""

    facets: tuple[str, ...] = ()
    latents: tuple[LatentCondition, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.facets or self.latents)


@dataclass(frozen=True)
class Query:
    """A search for documents.

    datasets: uids to search. dense_datasets: those of them whose vectors `vector` can be compared with. run: uid of the
    run whose codes are searched, shown and filtered by. code: the query's code, or the latents given in its place.
    """

    datasets: Sequence[str]
    mode: Mode
    terms: Sequence[str] = ()
    vector: Vectors | None = None
    dense_datasets: frozenset[str] = frozenset()
    run: str | None = None
    code: LatentQuery | None = None
    condition: Condition = field(default_factory=Condition)
    fusion: Fusion = Fusion.MIN_MAX
    text_weight: float = 0.7
    dense_weight: float = 0.3
    offset: int = 0
    limit: int = 20


@dataclass(frozen=True)
class ScorePart:
    """One part of a hit's score; rank 0 where the hit is not among the part's candidates."""

    name: str
    score: float
    rank: int
    contribution: float


@dataclass(frozen=True)
class SharedFeature:
    """A latent active in query and document; contribution: its share of the dot product, 0 to 1."""

    index: int
    label: str
    query_activation: float
    document_activation: float
    contribution: float


@dataclass(frozen=True)
class Hit:
    """A document that was found. payload: as indexed, with name, key, text and metadata."""

    dataset: str
    row: int
    rank: int
    score: float
    parts: Sequence[ScorePart]
    payload: dict[str, Any]
    snippet: Snippet
    shared: Sequence[SharedFeature] = ()


@dataclass(frozen=True)
class Page:
    """Some hits. total: documents that match. more: whether another page follows."""

    hits: list[Hit]
    total: int
    more: bool


@dataclass(frozen=True)
class FeatureFound:
    """A feature whose words match. payload: label, description, density, max_activation."""

    index: int
    score: float
    payload: dict[str, Any]


@dataclass(frozen=True)
class _Ranking:
    """(C,) documents of several datasets, the best first, with the parts of their scores."""

    datasets: NDArray[np.intp]
    rows: Rows
    scores: Scores
    parts: Sequence[Part]
    contributions: Scores
    total: int


class Retrieval:
    """Searches one index. Raises what the index raises."""

    def __init__(self, index: Index) -> None:
        self._index = index

    def documents(self, query: Query) -> Page:
        """The documents from `offset`, at most `limit`."""
        allowed = [self._allowed(uid, query) for uid in query.datasets]
        ranking = self._rank(query, allowed)
        end = min(query.offset + query.limit, REACHABLE)
        chosen = np.arange(query.offset, min(end, len(ranking.rows)))
        hits = self._hits(query, ranking, chosen)
        more = len(ranking.rows) > end and end < REACHABLE
        return Page(hits, ranking.total, more)

    def similar(self, dataset: str, row: int, vector: Vectors, limit: int, run: str | None) -> list[Hit]:
        """The documents of highest cosine with a document, itself left out."""
        code = self.code_of(run, row) if run else None
        query = Query([dataset], Mode.SEMANTIC, (), vector, frozenset([dataset]), run, code, limit=limit + 1)
        hits = [hit for hit in self.documents(query).hits if hit.row != row][:limit]
        return [
            Hit(hit.dataset, hit.row, rank, hit.score, hit.parts, hit.payload, hit.snippet, hit.shared)
            for rank, hit in enumerate(hits, start=1)
        ]

    def features(self, run: str, terms: Sequence[str], offset: int, limit: int) -> tuple[list[FeatureFound], int]:
        """Features whose label, keywords, description or index hold one of the terms, and how many there are."""
        stream = Stream(Kind.LABELS, run)
        found = self._search_text(stream, terms, offset + limit, None)
        scores = scoring.bm25(found.profiles, found.statistics)
        chosen = scoring.order(found.profiles.rows, scores)[offset : offset + limit]
        payloads = self._index.payloads(stream, found.profiles.rows[chosen])
        features = [
            FeatureFound(int(found.profiles.rows[i]), float(scores[i]), payloads[int(found.profiles.rows[i])])
            for i in chosen
            if int(found.profiles.rows[i]) in payloads
        ]
        return features, found.total

    def labels(self, run: str, indices: Sequence[int]) -> dict[int, str]:
        """Active labels by index; none where the run's labels are not indexed yet."""
        stream = Stream(Kind.LABELS, run)
        if not indices or self._index.state(stream) is None:
            return {}
        payloads = self._index.payloads(stream, np.array(sorted(indices), dtype=np.uint64))
        return {index: str(payload["label"]) for index, payload in payloads.items()}

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

    def _allowed(self, uid: str, query: Query) -> Rows | None:
        """Rising rows that pass the condition; None for all."""
        if not query.condition:
            return None
        sets: list[Rows] = []
        if query.condition.facets:
            sets.append(self._index.rows_with_facets(Stream(Kind.DOCUMENTS, uid), query.condition.facets))
        for each in query.condition.latents:
            assert query.run is not None, "latents are filtered by with a run only"
            stream = Stream(Kind.CODES, query.run)
            sets.append(self._index.rows_with_latent(stream, each.latent, each.minimum, inclusive=each.inclusive))
        return reduce(lambda a, b: np.intersect1d(a, b, assume_unique=True), sets)

    def _rank(self, query: Query, allowed: Sequence[Rows | None]) -> _Ranking:
        if query.mode is Mode.FULL_TEXT:
            return self._rank_text(query, allowed)
        if query.mode is Mode.HYBRID:
            return self._rank_hybrid(query, allowed)
        return self._rank_one_part(query, allowed)

    def _rank_text(self, query: Query, allowed: Sequence[Rows | None]) -> _Ranking:
        needed = query.offset + query.limit + 1
        found = self._texts(query, allowed, needed)
        rows, owners, profiles = _join([each.profiles for each in found], len(query.terms))
        scores = scoring.bm25(profiles, scoring.combine([each.statistics for each in found]))
        return _ranking(owners, rows, {"text": (scores, _ranks(owners, rows, scores))}, sum(f.total for f in found))

    def _rank_one_part(self, query: Query, allowed: Sequence[Rows | None]) -> _Ranking:
        """Semantic or sparse. Vectors and codes whose documents are gone already are left out."""
        needed = query.offset + query.limit + 1
        owners: list[NDArray[np.intp]] = []
        rows: list[Rows] = []
        scores: list[Scores] = []
        total = 0
        for position, uid in enumerate(query.datasets):
            depth = needed + MARGIN
            while True:
                found = self._search_part(query, uid, depth, allowed[position])
                there = np.isin(found.rows, self._existing(uid, found.rows))
                if int(there.sum()) >= needed or len(found.rows) < depth or depth >= MAXIMUM_DEPTH:
                    break
                depth = min(depth * 4, MAXIMUM_DEPTH)
            owners.append(np.full(int(there.sum()), position))
            rows.append(found.rows[there])
            scores.append(found.scores[there])
            total += found.total - int((~there).sum())
        owner, row, score = np.concatenate(owners), np.concatenate(rows), np.concatenate(scores)
        name = "sparse" if query.mode is Mode.SPARSE else "dense"
        return _ranking(owner, row, {name: (score, _ranks(owner, row, score))}, total)

    def _rank_hybrid(self, query: Query, allowed: Sequence[Rows | None]) -> _Ranking:
        texts = self._texts(query, allowed, HYBRID_DEPTH)
        statistics = scoring.combine([each.statistics for each in texts])
        assert query.vector is not None
        owners: list[NDArray[np.intp]] = []
        rows: list[Rows] = []
        profiles: list[TextProfiles] = []
        dense: list[Scores] = []
        in_text: list[NDArray[np.bool_]] = []
        in_dense: list[NDArray[np.bool_]] = []
        total = 0
        for position, uid in enumerate(query.datasets):
            close = np.empty(0, np.uint64)
            if uid in query.dense_datasets:
                candidates = self._search_part(query, uid, HYBRID_DEPTH, allowed[position])
                close, total = candidates.rows, total + candidates.total
            else:
                total += texts[position].total
            worded = texts[position].profiles.rows
            union = np.union1d(worded, close)
            profile = self._index.profile_texts(Stream(Kind.DOCUMENTS, uid), query.terms, union)
            profiles.append(profile)
            rows.append(profile.rows)
            owners.append(np.full(len(profile.rows), position))
            dense.append(self._cosines(query, uid, profile.rows))
            in_text.append(np.isin(profile.rows, worded))
            in_dense.append(np.isin(profile.rows, close))
        row, owner, profile = _join(profiles, len(query.terms))
        text_scores, dense_scores = scoring.bm25(profile, statistics), np.concatenate(dense)
        parts = {
            "text": (text_scores, _ranks(owner, row, text_scores, np.concatenate(in_text))),
            "dense": (dense_scores, _ranks(owner, row, dense_scores, np.concatenate(in_dense))),
        }
        weights = {"text": query.text_weight, "dense": query.dense_weight}
        return _ranking(owner, row, parts, total, weights, query.fusion)

    def _texts(self, query: Query, allowed: Sequence[Rows | None], needed: int) -> list[TextCandidates]:
        return [
            self._search_text(Stream(Kind.DOCUMENTS, uid), query.terms, needed, rows)
            for uid, rows in zip(query.datasets, allowed, strict=True)
        ]

    def _search_text(self, stream: Stream, terms: Sequence[str], needed: int, allowed: Rows | None) -> TextCandidates:
        """Enough candidates that the best `needed` are among them, however many of them tie at the end."""
        depth = needed + MARGIN
        while True:
            found = self._index.search_text(stream, terms, depth, allowed)
            cut = len(found.scores) >= depth and depth < MAXIMUM_DEPTH
            if not cut or found.scores[-1] < found.scores[needed - 1] * (1 - 1e-3):
                return found
            depth = min(depth * 4, MAXIMUM_DEPTH)

    def _search_part(self, query: Query, uid: str, depth: int, allowed: Rows | None) -> Any:
        if query.mode is Mode.SPARSE:
            assert query.run is not None and query.code is not None
            return self._index.search_codes(Stream(Kind.CODES, query.run), query.code, depth, allowed)
        assert query.vector is not None
        return self._index.search_vectors(Stream(Kind.VECTORS, uid), query.vector, depth, allowed)

    def _existing(self, uid: str, rows: Rows) -> Rows:
        return self._index.profile_texts(Stream(Kind.DOCUMENTS, uid), [], np.sort(rows)).rows

    def _cosines(self, query: Query, uid: str, rows: Rows) -> Scores:
        """(R,) cosines with the query; NaN for rows without a vector to compare with."""
        scores = np.full(len(rows), np.nan)
        if uid in query.dense_datasets and query.vector is not None and len(rows):
            held, vectors = self._index.vectors(Stream(Kind.VECTORS, uid), rows)
            scores[np.searchsorted(rows, held)] = scoring.cosines(query.vector, vectors)
        return scores

    def _hits(self, query: Query, ranking: _Ranking, chosen: NDArray[np.intp]) -> list[Hit]:
        payloads: dict[tuple[int, int], dict[str, Any]] = {}
        for position, uid in enumerate(query.datasets):
            rows = ranking.rows[chosen][ranking.datasets[chosen] == position]
            found = self._index.payloads(Stream(Kind.DOCUMENTS, uid), np.sort(rows))
            payloads.update({(position, row): payload for row, payload in found.items()})
        shared = self._shared(query, ranking.rows[chosen])
        hits: list[Hit] = []
        for place in chosen.tolist():
            position, row = int(ranking.datasets[place]), int(ranking.rows[place])
            payload = payloads.get((position, row))
            if payload is None:  # deleted between the two looks
                continue
            parts = [
                ScorePart(
                    part.name,
                    float(np.nan_to_num(part.scores[place])),
                    int(part.ranks[place]),
                    float(ranking.contributions[number, place]),
                )
                for number, part in enumerate(ranking.parts)
            ]
            snippet = snippets.make(str(payload["text"]), query.terms)
            score = float(ranking.scores[place])
            hits.append(
                Hit(query.datasets[position], row, place + 1, score, parts, payload, snippet, shared.get(row, ()))
            )
        return hits

    def _shared(self, query: Query, rows: Rows) -> dict[int, list[SharedFeature]]:
        """Features that query and documents share, by row; only where there are a run and a code."""
        if query.run is None or query.code is None or not len(rows):
            return {}
        codes = self._index.codes(Stream(Kind.CODES, query.run), np.sort(rows))
        weights = dict(zip(query.code.indices.tolist(), query.code.weights.tolist(), strict=True))
        labels = self.labels(query.run, sorted(set(codes.indices.tolist()) & set(weights)))
        return {int(row): share(weights, *codes.row(place), labels) for place, row in enumerate(codes.rows.tolist())}


def share(
    weights: dict[int, float], indices: NDArray[np.uint32], values: NDArray[np.float32], labels: dict[int, str]
) -> list[SharedFeature]:
    """The latents that weights and a code have in common, the largest contribution first."""
    both = [
        (index, weights[index], value)
        for index, value in zip(indices.tolist(), values.tolist(), strict=True)
        if weights.get(index)
    ]
    whole = sum(abs(weight * value) for _, weight, value in both) or 1.0
    features = [
        SharedFeature(index, labels.get(index, ""), weight, value, abs(weight * value) / whole)
        for index, weight, value in both
    ]
    return sorted(features, key=lambda feature: (-feature.contribution, feature.index))[:SHARED_FEATURES]


def _join(profiles: Sequence[TextProfiles], terms: int) -> tuple[Rows, NDArray[np.intp], TextProfiles]:
    """Profiles of several datasets as one, and which dataset each is of."""
    rows = np.concatenate([each.rows for each in profiles])
    owners = np.repeat(np.arange(len(profiles)), [len(each.rows) for each in profiles])
    frequencies = np.concatenate([each.frequencies.reshape(len(each.rows), terms) for each in profiles])
    return rows, owners, TextProfiles(rows, frequencies, np.concatenate([each.lengths for each in profiles]))


def _ranks(
    owners: NDArray[np.intp], rows: Rows, scores: Scores, among: NDArray[np.bool_] | None = None
) -> NDArray[np.int64]:
    """(C,) ranks from 1 by one part alone; 0 for those that are not among its candidates."""
    ranks = np.zeros(len(rows), dtype=np.int64)
    places = np.arange(len(rows)) if among is None else np.flatnonzero(among)
    ordered = places[np.lexsort((rows[places], owners[places], -scores[places]))]
    ranks[ordered] = np.arange(1, len(ordered) + 1)
    return ranks


def _ranking(
    owners: NDArray[np.intp],
    rows: Rows,
    scored: dict[str, tuple[Scores, NDArray[np.int64]]],
    total: int,
    weights: dict[str, float] | None = None,
    how: Fusion | None = None,
) -> _Ranking:
    """Documents in order, ties by dataset and row. Without fusion there is one part, and it is the score."""
    parts = [Part(name, scores, ranks, (weights or {}).get(name, 1.0)) for name, (scores, ranks) in scored.items()]
    adds = fusion.contributions(parts, how) if how else np.array([part.scores for part in parts])
    scores = adds.sum(axis=0).round(12)
    order = np.lexsort((rows, owners, -scores))
    parts = [Part(part.name, part.scores[order], part.ranks[order], part.weight) for part in parts]
    return _Ranking(owners[order], rows[order], scores[order], parts, adds[:, order], total)
