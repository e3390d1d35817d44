"""How each kind of stream is mapped. A change here raises VERSION, and indices of another version are rebuilt."""

from __future__ import annotations

from typing import Any

from services.search.backend import Kind
from services.search.scoring import BM25_B, BM25_K1

VERSION = 6


_BM25 = f"""
double mean = field.sumTotalTermFreq / (double) field.docCount;
return query.boost * doc.freq / (doc.freq + {BM25_K1} * ({1 - BM25_B} + {BM25_B} * doc.length / mean));
"""
"""BM25 where the query says what each word weighs: the cluster's own weights count replaced and deleted texts, too."""


def settings(kind: Kind) -> dict[str, Any]:
    """Settings of an index without which its queries are not answered rightly."""
    if kind not in (Kind.DOCUMENTS, Kind.LABELS):
        return {}
    return {
        "index.max_regex_length": 1 << 16,
        "index.similarity": {"default": {"type": "scripted", "script": {"source": _BM25}}},
        # tokens come from the service; here they are only split at blanks
        "index.analysis": {
            "analyzer": {"tokens": {"type": "custom", "tokenizer": "blanks"}},
            "tokenizer": {"blanks": {"type": "whitespace", "max_token_length": 1000}},
        },
    }


def mapping(kind: Kind, dimension: int, meta: dict[str, Any]) -> dict[str, Any]:
    """Fields of an index.

    What a search reads of many documents are doc values, which need no document to be unpacked. Of a document itself,
    only the payload is stored.
    """
    properties: dict[str, Any] = {"row": {"type": "long"}}
    source: dict[str, Any] = {"enabled": False}
    if kind in (Kind.DOCUMENTS, Kind.LABELS):
        source = {"includes": ["payload"]}
        properties["body"] = {"type": "text", "analyzer": "tokens", "index_options": "freqs"}
        properties["length"] = {"type": "integer"}
        properties["counts"] = {"type": "long", "index": False}
        properties["terms"] = {"type": "keyword", "norms": False}
        properties["name"] = {"type": "keyword", "norms": False}
        properties["fingerprint"] = {"type": "keyword", "index": False}
    elif kind is Kind.VECTORS:
        properties["bits"] = {"type": "binary", "doc_values": True}
        properties["zero"] = {"type": "boolean"}
        if dimension:
            properties["unit"] = vector_field(dimension)
    elif kind is Kind.CODES:
        properties["codes"] = {"type": "long"}
        properties["features"] = {"type": "rank_features"}
    return {"dynamic": False, "_meta": meta, "_source": source, "properties": properties}


def vector_field(dimension: int) -> dict[str, Any]:
    """The field of unit vectors. `index.knn` is off: no graph, no engine, exact `knn_score` scripts read the values."""
    return {"type": "knn_vector", "dimension": dimension}
