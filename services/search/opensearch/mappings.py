"""How each kind of stream is mapped. A change here raises VERSION, and indices of another version are rebuilt."""

from __future__ import annotations

from typing import Any

from services.search.backend import Kind
from services.search.scoring import BM25_B, BM25_K1

VERSION = 4

_ROW = {"type": "long"}


def settings(kind: Kind) -> dict[str, Any]:
    """Settings of an index. One shard: its statistics and ties are then those of all documents."""
    shards: dict[str, Any] = {"number_of_shards": 1, "auto_expand_replicas": "0-1", "refresh_interval": "-1"}
    if kind in (Kind.DOCUMENTS, Kind.LABELS):
        shards["max_regex_length"] = 1 << 16
        shards["similarity"] = {"default": {"type": "BM25", "k1": BM25_K1, "b": BM25_B}}
        # tokens come from the service; here they are only split at blanks
        shards["analysis"] = {
            "analyzer": {"tokens": {"type": "custom", "tokenizer": "blanks"}},
            "tokenizer": {"blanks": {"type": "whitespace", "max_token_length": 1000}},
        }
    return {"index": shards}


def mapping(kind: Kind, dimension: int, meta: dict[str, Any]) -> dict[str, Any]:
    """Fields of an index; what is not named is stored and not indexed."""
    properties: dict[str, Any] = {"row": _ROW}
    if kind in (Kind.DOCUMENTS, Kind.LABELS):
        properties["body"] = {"type": "text", "analyzer": "tokens", "index_options": "freqs"}
        properties["length"] = {"type": "integer"}
        properties["terms"] = {"type": "keyword", "norms": False}
        properties["name"] = {"type": "keyword", "norms": False}
    elif kind is Kind.VECTORS and dimension:
        properties["unit"] = vector_field(dimension)
    elif kind is Kind.CODES:
        properties["codes"] = {"type": "long"}
    return {"dynamic": False, "_meta": meta, "properties": properties}


def vector_field(dimension: int) -> dict[str, Any]:
    """The field of unit vectors. `index.knn` is off: no graph, no engine, exact `knn_score` scripts read the values."""
    return {"type": "knn_vector", "dimension": dimension}
