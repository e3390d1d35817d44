"""How each kind of stream is mapped. A change here raises VERSION, and indices of another version are rebuilt."""

from __future__ import annotations

from typing import Any

from services.search.backend import Kind
from services.search.scoring import BM25_B, BM25_K1

VERSION = 4

_ROW = {"type": "long"}


def settings(kind: Kind) -> dict[str, Any]:
    """Settings of an index without which its queries are not answered rightly."""
    if kind not in (Kind.DOCUMENTS, Kind.LABELS):
        return {}
    return {
        "index.max_regex_length": 1 << 16,
        "index.similarity": {"default": {"type": "BM25", "k1": BM25_K1, "b": BM25_B}},
        # tokens come from the service; here they are only split at blanks
        "index.analysis": {
            "analyzer": {"tokens": {"type": "custom", "tokenizer": "blanks"}},
            "tokenizer": {"blanks": {"type": "whitespace", "max_token_length": 1000}},
        },
    }


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
