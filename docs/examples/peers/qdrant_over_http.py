"""The job of over_http.py with Qdrant and FastEmbed, from their documentation. Not run here: its lines are counted.

Hits have scores and payloads; Qdrant has nothing that would explain them.
"""

import json
import os
import sys
from pathlib import Path

import httpx
from fastembed import SparseTextEmbedding, TextEmbedding

http = httpx.Client(base_url=os.environ["QDRANT_URL"], timeout=60)
dense_model = TextEmbedding("sentence-transformers/all-MiniLM-L6-v2")
sparse_model = SparseTextEmbedding("Qdrant/bm25")
documents = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
texts = [document["text"] for document in documents]


def sparse(embedding):
    return {"indices": embedding.indices.tolist(), "values": embedding.values.tolist()}


http.put(
    "/collections/abstracts",
    json={
        "vectors": {"dense": {"size": 384, "distance": "Cosine"}},
        "sparse_vectors": {"bm25": {"modifier": "idf"}},
    },
).raise_for_status()
points = [
    {"id": number, "vector": {"dense": dense.tolist(), "bm25": sparse(words)}, "payload": document}
    for number, (document, dense, words) in enumerate(
        zip(documents, dense_model.embed(texts), sparse_model.embed(texts), strict=True)
    )
]
for first in range(0, len(points), 256):
    http.put("/collections/abstracts/points?wait=true", json={"points": points[first : first + 256]}).raise_for_status()
dense_query = next(iter(dense_model.query_embed(sys.argv[2]))).tolist()
sparse_query = sparse(next(iter(sparse_model.query_embed(sys.argv[2]))))
answer = http.post(
    "/collections/abstracts/points/query",
    json={
        "prefetch": [
            {"query": dense_query, "using": "dense", "limit": 50},
            {"query": sparse_query, "using": "bm25", "limit": 50},
        ],
        "query": {"fusion": "rrf"},
        "limit": 5,
        "with_payload": True,
    },
).raise_for_status()
for hit in answer.json()["result"]["points"]:
    print(f"{hit['score']:.3f}", hit["payload"]["id"])
