"""Writes streams into the cluster.

Each document's version is the revision at which it was written: the cluster rejects a late write of an older one, so
several search services can follow one owner into one index. The position that a stream has reached stands in the
mapping's `_meta`, written after everything before it is durable.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from prisma_common.wire import Codes
from services.search import tokens
from services.search.backend import Latents, Position, Rows, Stream, TextItem, Vectors
from services.search.errors import BackendUnavailable
from services.search.opensearch import mappings, packing
from services.search.opensearch.bulk import Action, BulkWriter
from services.search.opensearch.cluster import Cluster

_log = logging.getLogger(__name__)


class Indices(Protocol):
    """Where a stream's indices are."""

    cluster: Cluster

    def bulk(self, stream: Stream, name: str) -> BulkWriter: ...

    def current(self, stream: Stream) -> tuple[str, dict[str, Any]] | None: ...

    def make(self, stream: Stream, meta: dict[str, Any]) -> str: ...

    def take(self, stream: Stream, name: str) -> None: ...

    def renew(self, stream: Stream) -> None: ...

    def forget(self, stream: Stream) -> None: ...

    def discard(self, stream: Stream, name: str) -> None: ...


class StreamWriter:
    """Writes one stream: into the index in use, or into a new one that takes its place at the commit."""

    def __init__(self, indices: Indices, stream: Stream, position: Position, *, rebuild: bool) -> None:
        self._indices, self._stream, self._position = indices, stream, position
        self._cluster = indices.cluster
        current = None if rebuild else indices.current(stream)
        self._fresh = current is None
        self._meta: dict[str, Any] = {"version": mappings.VERSION} if current is None else dict(current[1])
        self._name = indices.make(stream, self._meta) if current is None else current[0]
        if current is not None:
            self._show_what_was_aborted()
        self._bulk = indices.bulk(stream, self._name)
        self._closed = False

    def delete(self, rows: Rows) -> None:
        self._write([({"delete": self._head(int(row))}, None) for row in rows.tolist()])

    def commit(self) -> None:
        self._indices.renew(self._stream)
        with self._cluster.outages():
            self._cluster.client.indices.refresh(index=self._name)
            self._cluster.client.indices.flush(index=self._name)
            self._meta.update(history=self._position.history, revision=self._position.revision, update_time=time.time())
            self._meta.update(self._statistics())
            self._cluster.client.indices.put_mapping(index=self._name, body={"_meta": self._meta})
        if self._fresh:
            self._indices.take(self._stream, self._name)
        self._indices.forget(self._stream)
        self._closed = True

    def _show_what_was_aborted(self) -> None:
        """Refreshes: what an aborted writer has written is stored, and must be seen where texts are compared."""
        with self._cluster.outages():
            self._cluster.client.indices.refresh(index=self._name)

    def _statistics(self) -> dict[str, int]:
        """Of all documents, which each search would count otherwise."""
        counts = {"length": {"sum": {"field": "length"}}, "zeros": {"filter": {"term": {"zero": True}}}}
        body = {"size": 0, "track_total_hits": True, "aggs": counts}
        answer = self._cluster.client.search(
            index=self._name, body=body, params={"allow_partial_search_results": "false"}
        )
        total_length = int(answer["aggregations"]["length"]["value"] or 0)
        return {
            "item_count": answer["hits"]["total"]["value"],
            "total_length": total_length,
            "zero_count": answer["aggregations"]["zeros"]["doc_count"],
        }

    def abort(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._fresh:
            try:
                self._indices.discard(self._stream, self._name)
            except BackendUnavailable as error:
                _log.info("an unused index is deleted later: %s", error.message)

    def _write(self, actions: Sequence[Action]) -> None:
        if actions:
            self._bulk.write(actions)

    def _put(self, row: int, source: dict[str, Any]) -> Action:
        return {"index": self._head(row)}, {"row": row, **source}

    def _head(self, row: int) -> dict[str, Any]:
        return {"_id": str(row), "version": self._position.revision + 1, "version_type": "external_gte"}

    def _agree(self, key: str, value: int, what: str) -> None:
        """Checks that a number is the same in all of a stream, and remembers the first one."""
        expected = self._meta.get(key)
        if expected and expected != value:
            raise ValueError(f"expected {what} {expected}, got {value}")
        self._meta[key] = value


class TextWriter(StreamWriter):
    """Writes documents or labels."""

    def upsert(self, items: Sequence[TextItem]) -> None:
        self._write([self._put(item.row, _source(item)) for item in items])


class VectorWriter(StreamWriter):
    """Writes vectors."""

    def upsert(self, rows: Rows, vectors: Vectors) -> None:
        if not len(rows):
            return
        new = "dimension" not in self._meta
        self._agree("dimension", int(vectors.shape[1]), "vectors of dimension")
        if new:
            body = {"properties": {"unit": mappings.vector_field(self._meta["dimension"])}}
            with self._cluster.outages():
                self._cluster.client.indices.put_mapping(index=self._name, body=body)
        packed = [packing.pack_vector(vector) for vector in vectors]
        self._write([self._put(int(row), source) for row, source in zip(rows.tolist(), packed, strict=True)])


class CodeWriter(StreamWriter):
    """Writes codes."""

    def upsert(self, codes: Codes) -> None:
        if not len(codes):
            return
        self._agree("latent_count", codes.latent_count, "codes of latents:")
        rows = np.asarray(codes.rows).tolist()
        self._write([self._put(int(row), _code(*codes.row(place))) for place, row in enumerate(rows)])


def _code(indices: Latents, values: NDArray[np.float32]) -> dict[str, Any]:
    return {"codes": packing.pack_code(indices, values), "features": packing.pack_features(indices, values)}


def _source(item: TextItem) -> dict[str, Any]:
    words = tokens.tokens(item.text)
    return {
        "body": packing.pack_tokens(words),
        "counts": packing.pack_counts(words),
        "length": len(words),
        "name": item.name,
        "terms": list(item.terms),
        "fingerprint": format(item.fingerprint, packing.FINGERPRINT_FORMAT),
        "payload": dict(item.payload),
    }
