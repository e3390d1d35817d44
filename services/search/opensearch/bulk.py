"""Bulk writes that survive a busy cluster: what it rejects for now is sent again, and nothing else is."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

from opensearchpy.exceptions import ConnectionError as ClusterUnreachable
from opensearchpy.exceptions import TransportError

from services.chassis.errors import PrismaError
from services.search.errors import BackendPaused, BackendRefusal, BackendUnavailable, WrittenElsewhere
from services.search.opensearch.cluster import BUSY, Cluster, block_of, paused

Action = tuple[dict[str, Any], dict[str, Any] | None]
"""What to do, and the document."""
_BULK_BYTES = 8 << 20
_TOO_LARGE = 413
_MAX_PAUSE_SECONDS = 5.0
_Item = list[bytes]


class BulkWriter:
    """Writes into one index, through an alias that only this index has.

    An alias, since a cluster creates an index that is written to and does not exist.
    """

    def __init__(self, cluster: Cluster, alias: str, *, patience: float, before: Callable[[], None]) -> None:
        """patience: seconds in which a request must get on. before: called before each request; raises to stop."""
        self._cluster = cluster
        self._alias = alias
        self._patience = patience
        self._before = before
        self._bytes = _BULK_BYTES

    def write(self, actions: Sequence[Action]) -> None:
        """Sends actions in requests of some megabytes.

        A conflict means that another writer has written a later revision: that one stands. Raises BackendPaused where
        the index is blocked, and BackendUnavailable where the cluster accepts nothing in the time of our patience.
        """
        serialize = self._cluster.client.transport.serializer.dumps
        items: list[_Item] = []
        size = 0
        for action, source in actions:
            item = [serialize(action).encode()] + ([] if source is None else [serialize(source).encode()])
            items.append(item)
            size += sum(map(len, item))
            if size >= self._bytes:
                self._send(items)
                items, size = [], 0
        self._send(items)

    def _send(self, items: list[_Item]) -> None:
        """Sends items until all are written; what is rejected goes again, in smaller requests after longer pauses."""
        count = len(items)
        deadline = time.monotonic() + self._patience
        pause = 0.1
        while items:
            rejected, why = self._try(items[:count])
            remaining = [*rejected, *items[count:]]
            if len(remaining) < len(items):
                deadline = time.monotonic() + self._patience
                pause = 0.1
            items = remaining
            if not rejected:
                continue
            if time.monotonic() > deadline:
                raise BackendUnavailable(
                    f"OpenSearch at {self._cluster.address} has rejected writes for {self._patience:.0f} s: {why}; "
                    "indexing is retried"
                )
            count = max(1, count // 2)
            time.sleep(random.uniform(pause / 2, pause))  # noqa: S311 - a pause is no secret
            pause = min(2 * pause, _MAX_PAUSE_SECONDS)

    def _try(self, items: Sequence[_Item]) -> tuple[Sequence[_Item], str]:
        """Sends one request; returns the items that were rejected for now, and why."""
        body = b"\n".join(line for item in items for line in item) + b"\n"
        try:
            self._before()
        except (BackendPaused, BackendRefusal, WrittenElsewhere):
            raise
        except BackendUnavailable as error:
            return items, error.message
        try:
            answer = self._cluster.client.bulk(index=self._alias, body=body, params={"require_alias": "true"})
        except ClusterUnreachable as error:
            return items, f"it does not answer: {error}"
        except TransportError as error:
            if error.status_code == _TOO_LARGE:
                if len(items) == 1:
                    raise _too_large(items[0]) from error
                self._bytes = max(self._bytes // 2, 1)
                return items, f"{error.status_code} {error.error}"
            outage = self._cluster.outage_of(error)
            if outage is None or error.status_code not in BUSY or block_of(error.info):
                raise outage or self._cluster.refusal_of(error) from error
            return items, outage.message
        if not answer["errors"]:
            return [], ""
        return self._rejected(items, answer["items"])

    def _rejected(self, items: Sequence[_Item], results: Sequence[dict[str, Any]]) -> tuple[Sequence[_Item], str]:
        rejected: list[_Item] = []
        why = ""
        for item, result in zip(items, results, strict=True):
            outcome = next(iter(result.values()))
            error = outcome.get("error")
            if error is None or outcome["status"] == 409:
                continue
            failure = self._failure(item, outcome["status"], error)
            if failure is not None:
                raise failure
            rejected.append(item)
            why = f"{outcome['status']} {error.get('reason', error)}"
        return rejected, why

    def _failure(self, item: _Item, status: int, error: Any) -> PrismaError | ValueError | None:
        """The error of an item that is not to be sent again; None if it is."""
        block = block_of(error)
        if block is not None:
            return paused(block)
        if status == 404:
            return WrittenElsewhere("another search service has replaced the index meanwhile; indexing is retried")
        if status in BUSY:
            return None
        return ValueError(f"OpenSearch rejects row {_row(item)}: {error.get('reason', error)}")


def _row(item: _Item) -> str:
    (head,) = json.loads(item[0]).values()
    return str(head["_id"])


def _too_large(item: _Item) -> ValueError:
    size = sum(map(len, item))
    return ValueError(
        f"row {_row(item)} takes {size:,} bytes, more than OpenSearch or a proxy before it accepts in a request: "
        "raise http.max_content_length or the proxy's limit"
    )
