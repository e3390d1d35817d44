"""Candidates of a search from the index: deep enough that exact scoring cannot miss the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from services.chassis.errors import InvalidArgument
from services.chassis.filters import Leaf, evaluate
from services.chassis.metadata_filters import metadata_test
from services.chassis.metadata_schema import Types
from services.search import scoring
from services.search.backend import (
    MAX_DEPTH,
    Candidates,
    Index,
    Kind,
    Rows,
    Scores,
    Stream,
    TextCandidates,
)
from services.search.query import DocumentQuery, LatentCondition, Mode, latent_conditions
from services.search.where import EVERYWHERE, WHERE, IsAmong, IsMatching, Where

_MARGIN = 100
"""Extra candidates, so that exact scoring can reorder them."""
_TIE_WIDTH = 1e-3
"""Scores of back ends that differ relatively by less may be in the wrong order."""


class Retrieval:
    """Reads candidates from one index. Raises what the index raises."""

    def __init__(self, index: Index) -> None:
        self._index = index

    def conditions(self, query: DocumentQuery) -> Mapping[str, Where]:
        """The query's filter, by dataset. Raises InvalidArgument for a latent that the run lacks."""
        self._check_latents(query)
        rows = {condition: self._rows_with(query, condition) for condition in latent_conditions(query.condition)}

        def condition_of(types: Types) -> Where:
            def leaf(leaf: Leaf) -> Where:
                latent = LatentCondition.of(leaf)
                return metadata_test(leaf, types, IsMatching, WHERE) if latent is None else IsAmong(rows[latent])

            return evaluate(query.condition, leaf, WHERE)

        return {dataset: condition_of(query.types.get(dataset, {})) for dataset in query.datasets}

    def _rows_with(self, query: DocumentQuery, condition: LatentCondition) -> Rows:
        if condition.is_true_of_inactive:
            return self._index.rows(codes_of(query))
        return self._index.rows_with_latent(
            codes_of(query), condition.latent, condition.minimum, inclusive=condition.inclusive
        )

    def _check_latents(self, query: DocumentQuery) -> None:
        fields = {
            "latents": query.code.indices.tolist() if query.code is not None and query.has_weights else [],
            "steering": _steering_latents(query, "steering"),
            "steering_sets": _steering_latents(query, "steering_sets"),
            "filter": [condition.latent for condition in latent_conditions(query.condition)],
        }
        if not any(fields.values()):
            return
        latent_count = self._index.latent_count(codes_of(query))
        for field, latents in fields.items():
            if latent_count and max(latents, default=0) >= latent_count:
                raise InvalidArgument.field(
                    field, f"expected latents below {latent_count}, as many as the run has; got {max(latents)}"
                )

    def allowed(self, dataset: str, where: Where) -> Rows | None:
        """Ascending rows for which a condition is true; None for all."""
        if where == EVERYWHERE:
            return None
        if isinstance(where, IsAmong):
            return where.rows
        return self._index.rows_where(Stream(Kind.DOCUMENTS, dataset), where)

    def texts(self, query: DocumentQuery, conditions: Mapping[str, Where], count: int) -> list[TextCandidates]:
        """By words, for each dataset: the best `count` are among them."""
        return [
            self.search_text(Stream(Kind.DOCUMENTS, dataset), query.terms, count, conditions[dataset])
            for dataset in query.datasets
        ]

    def search_text(self, stream: Stream, terms: Sequence[str], count: int, where: Where) -> TextCandidates:
        """Enough candidates that the best `count` are among them, however many of them tie at the end."""
        depth = count + _MARGIN
        while True:
            candidates = self._index.search_text(stream, terms, depth, where)
            scores = candidates.scores
            is_cut = len(scores) >= depth and depth < MAX_DEPTH
            if not is_cut or scores[-1] < scores[count - 1] * (1 - _TIE_WIDTH):
                return candidates
            depth = min(depth * 4, MAX_DEPTH)

    def existing(self, query: DocumentQuery, dataset: str, where: Where) -> Candidates:
        """Candidates by vector or code that still have a document: enough for the page, if there are."""
        wanted_count = query.offset + query.limit + 1
        depth = wanted_count + _MARGIN
        allowed = self.allowed(dataset, where)
        stream = Stream(Kind.DOCUMENTS, dataset)
        search = self.by_code if query.mode is Mode.SPARSE else self.by_vector
        while True:
            candidates = search(query, dataset, depth, allowed)
            existing = self._index.existing(stream, candidates.rows)
            count = int(existing.sum())
            if count >= wanted_count or len(candidates.rows) < depth or depth >= MAX_DEPTH:
                total = candidates.total - len(existing) + count
                return Candidates(candidates.rows[existing], candidates.scores[existing], total)
            depth = min(depth * 4, MAX_DEPTH)

    def by_vector(self, query: DocumentQuery, dataset: str, depth: int, allowed: Rows | None) -> Candidates:
        """The rows of highest cosine with the query's vector."""
        assert query.vector is not None
        return self._index.search_vectors(Stream(Kind.VECTORS, dataset), query.vector, depth, allowed)

    def by_code(self, query: DocumentQuery, dataset: str, depth: int, allowed: Rows | None) -> Candidates:
        """The rows of highest dot product with the query's code."""
        assert query.code is not None
        return self._index.search_codes(codes_of(query), query.code, depth, allowed)

    def cosines(self, query: DocumentQuery, dataset: str, rows: Rows, near: Candidates | None) -> Scores:
        """(R,) cosines of ascending rows with the query; NaN for rows without a vector to compare with.

        near: candidates, whose cosines are known; without any, all are NaN.
        """
        scores = np.full(len(rows), np.nan)
        if near is None or query.vector is None or not len(rows):
            return scores
        places = np.minimum(np.searchsorted(rows, near.rows), len(rows) - 1)
        scored = rows[places] == near.rows
        scores[places[scored]] = near.scores[scored]
        unscored = rows[np.isnan(scores)]
        if len(unscored):
            stored, vectors = self._index.vectors(Stream(Kind.VECTORS, dataset), unscored)
            scores[np.searchsorted(rows, stored)] = scoring.cosines(query.vector, vectors)
        return scores


def codes_of(query: DocumentQuery) -> Stream:
    """The codes of the query's run."""
    assert query.run is not None, "codes are those of a run"
    return Stream(Kind.CODES, query.run)


def _steering_latents(query: DocumentQuery, field: str) -> list[int]:
    """The latents that stand in a field of the request."""
    return [latent for steering_set in query.steering if steering_set.field == field for latent in steering_set.latents]
