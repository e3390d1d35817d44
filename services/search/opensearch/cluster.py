"""Calls to an OpenSearch cluster: paging, bulk writes with retries, and its outages as errors of ours."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
from opensearchpy import OpenSearch
from opensearchpy.exceptions import ConnectionError as ClusterUnreachable
from opensearchpy.exceptions import NotFoundError, SerializationError, TransportError
from tenacity import RetryCallState, retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from services.search.backend import Rows
from services.search.errors import BackendUnavailable

_BULK_BYTES = 8 << 20
_ROWS_IN_A_CLAUSE = 50_000  # index.max_terms_count is 65,536
_PAGE = 10_000  # index.max_result_window
_BUSY = (429, 500, 502, 503, 504)


def _give_up(state: RetryCallState) -> None:
    """Raises the last error of a call that was retried often enough."""
    assert state.outcome is not None
    raise BackendUnavailable(f"OpenSearch keeps rejecting what is written: {state.outcome.exception()}")


class _Rejected(Exception):
    """Some items of a bulk request were rejected for now."""


class Cluster:
    """One cluster. All methods raise BackendUnavailable where it does not answer."""

    def __init__(self, url: str, *, seconds: float, authority: str | None = None) -> None:
        parts = urlsplit(url)
        host = parts.hostname or "localhost"
        self.address = f"{parts.scheme}://{host}:{parts.port or (443 if parts.scheme == 'https' else 9200)}"
        login = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
        self.client = OpenSearch(
            self.address + parts.path.rstrip("/"),
            http_auth=login,
            timeout=seconds,
            max_retries=2,
            retry_on_timeout=False,
            retry_on_status=(429, 502, 504),
            ca_certs=authority,
        )

    @contextmanager
    def outages(self) -> Generator[None]:
        """Raises BackendUnavailable where the cluster does not answer, or cannot at this moment."""
        try:
            yield
        except (ClusterUnreachable, SerializationError) as error:
            raise BackendUnavailable(f"OpenSearch at {self.address} does not answer: {error}") from error
        except TransportError as error:
            if error.status_code in _BUSY:
                raise BackendUnavailable(
                    f"OpenSearch at {self.address} cannot answer: {error.status_code} {error.error}"
                ) from error
            raise

    def search(self, index: str, body: Mapping[str, Any]) -> dict[str, Any] | None:
        """A search on all shards or none; None where there is no such index."""
        with self.outages():
            try:
                return self.client.search(
                    index=index,
                    body=dict(body),
                    params={"allow_partial_search_results": "false", "search_type": "dfs_query_then_fetch"},
                )
            except NotFoundError:
                return None

    def rows(self, index: str, query: Mapping[str, Any]) -> Rows | None:
        """Ascending rows of all that match, page after page."""
        rows: list[int] = []
        after: list[Any] | None = None
        while True:
            body: dict[str, Any] = {
                "query": query,
                "size": _PAGE,
                "sort": [{"row": "asc"}],
                "_source": False,
                "track_total_hits": False,
            }
            if after is not None:
                body["search_after"] = after
            answer = self.search(index, body)
            if answer is None:
                return None
            hits = answer["hits"]["hits"]
            rows += [hit["sort"][0] for hit in hits]
            if len(hits) < _PAGE:
                return np.array(rows, dtype=np.uint64)
            after = hits[-1]["sort"]

    def bulk(self, index: str, actions: Sequence[tuple[dict[str, Any], dict[str, Any] | None]]) -> None:
        """Sends actions on an index in requests of some megabytes; items that are rejected for now are sent again.

        A conflict means that another writer has written a later revision: that one stands.
        """
        items: list[list[bytes]] = []
        size = 0
        serialize = self.client.transport.serializer.dumps
        for action, source in actions:
            item = [serialize(action).encode()] + ([] if source is None else [serialize(source).encode()])
            items.append(item)
            size += sum(map(len, item))
            if size >= _BULK_BYTES:
                self._send(index, items)
                items, size = [], 0
        if items:
            self._send(index, items)

    @retry(
        retry=retry_if_exception_type(_Rejected),
        stop=stop_after_attempt(6),
        wait=wait_random_exponential(multiplier=0.2, max=5.0),
        retry_error_callback=_give_up,
    )
    def _send(self, index: str, items: list[list[bytes]]) -> None:
        body = b"\n".join(line for item in items for line in item) + b"\n"
        with self.outages():
            answer = self.client.bulk(index=index, body=body)
        if not answer["errors"]:
            return
        rejected: list[list[bytes]] = []
        for item, result in zip(list(items), answer["items"], strict=True):
            outcome = next(iter(result.values()))
            status = outcome["status"]
            if status in _BUSY:
                rejected.append(item)
            elif status not in (404, 409) and status >= 300:
                raise ValueError(f"OpenSearch rejected a document: {outcome['error']}")
        if rejected:
            items[:] = rejected
            raise _Rejected(f"{len(rejected)} items")


def among(rows: Rows | None) -> list[dict[str, Any]]:
    """Filter clauses for rows; none for all."""
    if rows is None:
        return []
    chunks = [rows[start : start + _ROWS_IN_A_CLAUSE] for start in range(0, max(len(rows), 1), _ROWS_IN_A_CLAUSE)]
    clauses = [{"terms": {"row": chunk.tolist()}} for chunk in chunks]
    return [{"bool": {"should": clauses, "minimum_should_match": 1}}]
