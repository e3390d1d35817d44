"""Calls to an OpenSearch cluster: where it is and who we are, paging, and its outages as errors of ours."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
from opensearchpy import OpenSearch
from opensearchpy.exceptions import ConnectionError as ClusterUnreachable
from opensearchpy.exceptions import NotFoundError, SerializationError, TransportError

from services.search.backend import Rows
from services.search.errors import BackendPaused, BackendRefusal, BackendUnavailable, WrittenElsewhere

BUSY = (429, 500, 502, 503, 504)
_ROWS_IN_A_CLAUSE = 50_000  # index.max_terms_count is 65,536
_MAX_CAUSE = 500
_PAGE = 10_000  # index.max_result_window


@dataclass(frozen=True, kw_only=True)
class Access:
    """Where a cluster is, and how to get in."""

    urls: Sequence[str]
    """Addresses of its nodes; calls go to those that answer. The first may hold user and password."""
    user: str | None = None
    password: str = ""
    api_key: str | None = None
    """Instead of user and password."""
    authority: str | None = None
    """PEM file of the authority that signed the certificates of the nodes; None for those that the system trusts."""
    certificate: str | None = None
    """PEM file of our own certificate, where the cluster asks for one; with `key`."""
    key: str | None = None
    seconds: float = 30.0
    """How long a call may take."""


class Cluster:
    """One cluster. All methods raise BackendUnavailable where it does not answer."""

    def __init__(self, access: Access) -> None:
        nodes = [urlsplit(url) for url in access.urls]
        addresses = [
            f"{node.scheme}://{node.hostname or 'localhost'}:{node.port or (443 if node.scheme == 'https' else 9200)}"
            for node in nodes
        ]
        self.address = ", ".join(addresses)
        user, password = access.user, access.password
        if user is None and nodes[0].username:
            user, password = unquote(nodes[0].username), unquote(nodes[0].password or "")
        self.client = OpenSearch(
            [address + node.path.rstrip("/") for address, node in zip(addresses, nodes, strict=True)],
            http_auth=None if user is None else (user, password),
            headers={} if access.api_key is None else {"authorization": f"ApiKey {access.api_key}"},
            timeout=access.seconds,
            max_retries=max(2, len(addresses)),
            retry_on_timeout=False,
            retry_on_status=(429, 502, 504),
            ca_certs=access.authority,
            client_cert=access.certificate,
            client_key=access.key,
        )

    @contextmanager
    def outages(self) -> Generator[None]:
        """Raises BackendUnavailable for whatever error the cluster answers with, or where it does not answer."""
        try:
            yield
        except (ClusterUnreachable, SerializationError) as error:
            raise BackendUnavailable(f"OpenSearch at {self.address} does not answer: {error}") from error
        except TransportError as error:
            raise self.outage_of(error) or self.refusal_of(error) from error

    def outage_of(self, error: TransportError) -> BackendUnavailable | None:
        """The outage that an answer of the cluster is; None for one that is our own mistake."""
        block = block_of(error.info)
        if block is not None:
            return paused(block)
        if error.status_code in (401, 403):
            return BackendUnavailable(
                f"OpenSearch at {self.address} refuses the user or key of PRISMA_OPENSEARCH_URL, _USER or _API_KEY: "
                f"{error.status_code} {error.error}"
            )
        if error.status_code in BUSY:
            return BackendUnavailable(
                f"OpenSearch at {self.address} cannot answer: {error.status_code} {error.error}{_cause(error.info)}"
            )
        return None

    def refusal_of(self, error: TransportError) -> BackendUnavailable:
        """The error of an answer that is no outage."""
        if error.status_code == 404:
            return WrittenElsewhere("an index was replaced or deleted meanwhile; looked at again soon")
        return BackendRefusal(
            f"OpenSearch at {self.address} refuses a request: {error.status_code} {error.error}{_cause(error.info)}"
        )

    def search(self, index: str, body: Mapping[str, Any], *, scored: bool = False) -> dict[str, Any] | None:
        """A search on all shards or none; None where there is no such index.

        scored: by words, whose statistics are then those of all shards.
        """
        params = {"allow_partial_search_results": "false"}
        if scored:
            params["search_type"] = "dfs_query_then_fetch"
        with self.outages():
            try:
                return self.client.search(index=index, body=dict(body), params=params)
            except NotFoundError:
                pass
            try:  # an index that a rebuilt one replaced in this moment
                return self.client.search(index=index, body=dict(body), params=params)
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


def among(rows: Rows | None) -> list[dict[str, Any]]:
    """Filter clauses for rows; none for all."""
    if rows is None:
        return []
    chunks = [rows[start : start + _ROWS_IN_A_CLAUSE] for start in range(0, max(len(rows), 1), _ROWS_IN_A_CLAUSE)]
    clauses = [{"terms": {"row": chunk.tolist()}} for chunk in chunks]
    return [{"bool": {"should": clauses, "minimum_should_match": 1}}]


def block_of(answer: Any) -> str | None:
    """What a block says that refuses writes; None where an answer is about something else."""
    error: Any = answer.get("error", answer) if isinstance(answer, Mapping) else None
    if isinstance(error, Mapping) and error.get("type") == "cluster_block_exception":
        reason = str(error.get("reason", ""))
        # 503: the cluster has no manager or has not recovered its state, which is an outage
        return None if "SERVICE_UNAVAILABLE" in reason else reason.rstrip(" ;")
    return None


def paused(block: str) -> BackendPaused:
    """The error of a write that a block refuses."""
    if any(word in block for word in ("allow_delete", "allow-delete", "flood", "disk")):
        advice = "free disk space or add a node"
    else:
        advice = "remove the block"
    return BackendPaused(
        f"OpenSearch accepts no writes, so indexing is paused: {block}. Searches go on with what is indexed; {advice}, "
        "and indexing resumes by itself"
    )


def _cause(answer: Any) -> str:
    """Why, in the words of the cluster, where it says so."""
    error: Any = answer.get("error") if isinstance(answer, Mapping) else None
    reason = error.get("reason") if isinstance(error, Mapping) else None
    causes = error.get("root_cause") if isinstance(error, Mapping) else None
    if isinstance(causes, Sequence) and causes and isinstance(causes[0], Mapping):
        reason = causes[0].get("reason") or reason
    return f": {str(reason)[:_MAX_CAUSE]}" if reason else ""
