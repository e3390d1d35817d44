"""Exact scores, computed in one place for the candidates of both back ends.

Back ends choose candidates with their own arithmetic (quantised lengths, float32, statistics that still count deleted
texts). The scores that documents are ranked by are computed here in float64 from stored values, and rounded to ten
decimals, so that equal documents tie, and both back ends give the same ranking.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from prisma_common.wire import Codes
from services.search.backend import LatentQuery, Rows, Scores, TextProfiles, TextStatistics, Vectors

BM25_K1 = 1.2
BM25_B = 0.75
DECIMALS = 10


def bm25(profiles: TextProfiles, statistics: TextStatistics) -> Scores:
    """(C,) BM25 as in Lucene: idf · tf / (tf + k1 (1 − b + b · length / mean length)).

    Robertson and Zaragoza 2009, with idf = ln(1 + (N − n + ½) / (n + ½)), which is never negative.
    """
    count, frequency = statistics.document_count, statistics.document_frequencies
    if not count:
        return np.zeros(len(profiles.rows))
    mean = max(statistics.total_length / count, 1e-9)
    saturation = BM25_K1 * (1 - BM25_B + BM25_B * profiles.lengths / mean)  # (C,)
    tf = profiles.frequencies
    scores = np.sum(idf(count, frequency) * tf / (tf + saturation[:, None]), axis=1)
    return np.round(np.asarray(scores, dtype=np.float64), DECIMALS)


def idf(count: int, frequencies: Scores) -> Scores:
    """(T,) weights of terms that so many of `count` texts contain."""
    return np.log1p((count - frequencies + 0.5) / (frequencies + 0.5))


def combine(parts: Sequence[TextStatistics]) -> TextStatistics:
    """The statistics of several streams as if they were one."""
    return TextStatistics(
        sum(part.document_count for part in parts),
        sum(part.total_length for part in parts),
        np.sum([part.document_frequencies for part in parts], axis=0),
    )


def cosines(query: Vectors, vectors: Vectors) -> Scores:
    """(R,) cosines of the (d,) query with (R, d) vectors; 0 where either is zero."""
    wide, wide_query = vectors.astype(np.float64), query.astype(np.float64)
    norms = np.sqrt(np.einsum("ij,ij->i", wide, wide)) * np.sqrt(np.einsum("j,j->", wide_query, wide_query))
    products: Scores = np.einsum("ij,j->i", wide, wide_query)
    quotients: Scores = np.zeros(len(wide))
    np.divide(products, norms, out=quotients, where=norms > 0)
    return quotients.round(DECIMALS)


def dots(query: LatentQuery, codes: Codes) -> Scores:
    """(R,) dot products of the query's weights with codes."""
    places = np.searchsorted(query.indices, codes.indices)
    places[places == len(query.indices)] = 0
    shared = query.indices[places] == codes.indices if len(query.indices) else np.zeros(len(codes.indices), bool)
    terms = np.where(shared, codes.values.astype(np.float64) * _at(query.weights, places), 0.0)
    code_places = np.repeat(np.arange(len(codes)), np.diff(codes.indptr).astype(np.int64))
    sums = np.bincount(code_places, weights=terms, minlength=len(codes)).astype(np.float64)
    return np.round(sums, DECIMALS)


def order(rows: Rows, scores: Scores) -> NDArray[np.intp]:
    """Places, the best score first, ties by the lower row."""
    return np.lexsort((rows, -scores))


def best(rows: Rows, scores: Scores, count: int) -> NDArray[np.intp]:
    """The first `count` of `order`, without sorting the rest."""
    if len(rows) <= 4 * count:
        return order(rows, scores)[:count]
    threshold = -np.partition(-scores, count - 1)[count - 1]
    candidates = np.flatnonzero(scores >= threshold)
    return candidates[order(rows[candidates], scores[candidates])[:count]]


def _at(weights: Scores, places: NDArray[np.intp]) -> Scores:
    return weights[places] if len(weights) else np.zeros(len(places))
