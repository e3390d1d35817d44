"""The scores, computed exactly and in one place, whatever back end found the candidates.

Back ends choose candidates with their own arithmetic (quantised lengths, float32, statistics that still count deleted
texts). What is shown and ranked by is computed here in float64 from stored values, and rounded to ten decimals,
so that equal documents tie, and both back ends rank alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from prisma_common.wire import Codes
from services.search.index import LatentQuery, Rows, Scores, TextProfiles, TextStatistics, Vectors

BM25_K1 = 1.2
BM25_B = 0.75
_DECIMALS = 10


def bm25(profiles: TextProfiles, statistics: TextStatistics) -> Scores:
    """(C,) BM25 as Lucene has it: idf · tf / (tf + k1 (1 − b + b · length / mean length)).

    Robertson and Zaragoza 2009, with idf = ln(1 + (N − n + ½) / (n + ½)), which is never negative.
    """
    count, frequency = statistics.document_count, statistics.document_frequencies
    if not count:
        return np.zeros(len(profiles.rows))
    idf = np.log1p((count - frequency + 0.5) / (frequency + 0.5))  # (T,)
    mean = max(statistics.total_length / count, 1e-9)
    saturation = BM25_K1 * (1 - BM25_B + BM25_B * profiles.lengths / mean)  # (C,)
    tf = profiles.frequencies
    scores = np.sum(idf * tf / (tf + saturation[:, None]), axis=1)
    return np.round(np.asarray(scores, dtype=np.float64), _DECIMALS)


def combine(parts: Sequence[TextStatistics]) -> TextStatistics:
    """The statistics of several streams as if they were one."""
    return TextStatistics(
        sum(part.document_count for part in parts),
        sum(part.total_length for part in parts),
        np.sum([part.document_frequencies for part in parts], axis=0),
    )


def cosines(query: Vectors, vectors: Vectors) -> Scores:
    """(R,) cosines of the (d,) query with (R, d) vectors; 0 where either is zero."""
    wide, q = vectors.astype(np.float64), query.astype(np.float64)
    norms = np.sqrt((wide * wide).sum(axis=1)) * np.sqrt((q * q).sum())
    products: Scores = (wide * q).sum(axis=1)
    quotients: Scores = np.zeros(len(wide))
    np.divide(products, norms, out=quotients, where=norms > 0)
    return quotients.round(_DECIMALS)


def dots(query: LatentQuery, codes: Codes) -> Scores:
    """(R,) dot products of the query's weights with codes."""
    places = np.searchsorted(query.indices, codes.indices)
    places[places == len(query.indices)] = 0
    shared = query.indices[places] == codes.indices if len(query.indices) else np.zeros(len(codes.indices), bool)
    terms = np.where(shared, codes.values.astype(np.float64) * _at(query.weights, places), 0.0)
    owner = np.repeat(np.arange(len(codes)), np.diff(codes.indptr).astype(np.int64))
    sums = np.bincount(owner, weights=terms, minlength=len(codes)).astype(np.float64)
    return np.round(sums, _DECIMALS)


def order(rows: Rows, scores: Scores) -> NDArray[np.intp]:
    """Positions, the best score first, ties by the lower row."""
    return np.lexsort((rows, -scores))


def pack_tokens(tokens: Sequence[str]) -> str:
    """Tokens as a back end stores and indexes them: cut at white space, and countable by `count_tokens`."""
    return f" {'  '.join(tokens)} "


def count_tokens(packed: str, terms: Sequence[str]) -> list[int]:
    """How often each term stands in packed tokens."""
    return [packed.count(f" {term} ") for term in terms]


def profiles(rows: Sequence[int], packed: Sequence[str], lengths: Sequence[int], terms: Sequence[str]) -> TextProfiles:
    """The profiles of texts from what a back end has stored of them."""
    counts = [count_tokens(text, terms) for text in packed]
    return TextProfiles(
        np.array(rows, dtype=np.uint64),
        np.array(counts, dtype=np.float64).reshape(len(rows), len(terms)),
        np.array(lengths, dtype=np.float64),
    )


def _at(weights: Scores, places: NDArray[np.intp]) -> Scores:
    return weights[places] if len(weights) else np.zeros(len(places))
