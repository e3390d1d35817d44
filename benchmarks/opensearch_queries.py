"""The bare queries of an OpenSearch cluster, on the documents, vectors and codes that PRISMA has indexed there.

One index has a text field, unit vectors (compared exactly, as PRISMA does) and rank features. Each query returns 20
documents with their texts and metadata; nothing is explained, counted or steered.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import numpy as np
from opensearchpy import OpenSearch
from opensearchpy.helpers import bulk

from services.search.backend import Kind, Stream
from services.search.opensearch import Access, OpenSearchIndex, packing

BareSearch = Callable[[str, str], None]
"""Searches once: mode, query."""
_PIPELINE = {
    "phase_results_processors": [
        {
            "normalization-processor": {
                "normalization": {"technique": "min_max"},
                "combination": {"technique": "arithmetic_mean", "parameters": {"weights": [0.7, 0.3]}},
            }
        }
    ]
}


@contextmanager
def bare_search(url: str, prefix: str) -> Generator[BareSearch]:
    """Searches a copy, deleted at the end, of what PRISMA has indexed under a prefix."""
    client = OpenSearch(url, timeout=60)
    name = f"bare-{uuid4().hex[:8]}"
    vectors, codes = _copy(client, url, prefix, name)
    client.http.put(f"/_search/pipeline/{name}", body=_PIPELINE)
    random = np.random.default_rng(0)

    def search(mode: str, query: str) -> None:
        place = int(random.integers(len(vectors)))
        body = {"size": 20, "query": _query(mode, query, vectors[place], codes[place]), "_source": ["text", "metadata"]}
        answer = client.search(index=name, body=body, params={"search_pipeline": name} if mode == "hybrid" else {})
        assert answer["hits"]["hits"]

    try:
        yield search
    finally:
        client.indices.delete(index=name)
        client.http.delete(f"/_search/pipeline/{name}")


def _query(mode: str, query: str, vector: list[float], code: dict[str, float]) -> dict[str, Any]:
    parameters = {"field": "vector", "query_value": vector, "space_type": "innerproduct"}
    script = {"lang": "knn", "source": "knn_score", "params": parameters}
    words = {"match": {"text": query}}
    nearest = {"script_score": {"query": {"match_all": {}}, "script": script}}
    match mode:
        case "full_text":
            return words
        case "semantic":
            return nearest
        case "sparse":
            features = [
                {"rank_feature": {"field": f"features.{latent}", "boost": weight, "linear": {}}}
                for latent, weight in code.items()
            ]
            return {"bool": {"should": features}}
        case _:
            return {"hybrid": {"queries": [words, nearest]}}


def _copy(client: OpenSearch, url: str, prefix: str, name: str) -> tuple[list[list[float]], list[dict[str, float]]]:
    """Writes the index `name`; returns unit vectors and codes to query by."""
    index = OpenSearchIndex(Access(urls=[url]), prefix=prefix)
    names = client.indices.get_alias(index=f"{prefix}-*")
    parts = [index_name.removeprefix(f"{prefix}-").split("-") for index_name in names]
    streams = {Kind(kind): Stream(Kind(kind), uid) for kind, uid, _ in parts}
    rows = index.rows(streams[Kind.DOCUMENTS])
    payloads = index.payloads(streams[Kind.DOCUMENTS], rows)
    vector_rows, matrix = index.vectors(streams[Kind.VECTORS], rows)
    units = (matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)).tolist()
    codes = index.codes(streams[Kind.CODES], rows)
    features = {row: packing.pack_features(*codes.row(place)) for place, row in enumerate(codes.rows.tolist())}
    vectors = dict(zip(vector_rows.tolist(), units, strict=True))
    properties = {
        "text": {"type": "text"},
        "metadata": {"type": "object", "enabled": False},
        "vector": {"type": "knn_vector", "dimension": matrix.shape[1]},
        "features": {"type": "rank_features"},
    }
    body = {"settings": {"number_of_shards": 1, "number_of_replicas": 0}, "mappings": {"properties": properties}}
    client.indices.create(index=name, body=body)
    documents = (
        {
            "_index": name,
            "text": payloads[row]["text"],
            "metadata": payloads[row]["metadata"],
            "vector": vectors[row],
            "features": features[row],
        }
        for row in vectors.keys() & features.keys()
    )
    bulk(client, documents)
    client.indices.refresh(index=name)
    return list(vectors.values()), list(features.values())
