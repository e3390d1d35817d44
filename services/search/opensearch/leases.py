"""Which search service writes a stream: several follow the same owners into one cluster, and one at a time writes.

A lease is a document of the cluster, changed by compare-and-set. Its holder changes it as it goes on. Whoever sees that
it has not changed for `seconds`, by the own clock, takes it over: clocks of several machines are never compared. One
that was lost stays lost until it is taken again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any
from uuid import uuid4

from opensearchpy.exceptions import ConflictError, NotFoundError, RequestError

from services.search.backend import Stream
from services.search.errors import WrittenElsewhere
from services.search.opensearch.cluster import Cluster

_Version = tuple[int, int]
"""Sequence number and primary term: what compare-and-set compares."""


@dataclass
class _Lease:
    """A lease of this process."""

    version: _Version
    renew_time: float


class Leases:
    """The leases of one prefix. All methods block, and may be called by several threads."""

    def __init__(
        self, cluster: Cluster, prefix: str, *, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """seconds: after how long without a sign of life a lease is taken over."""
        self._cluster = cluster
        self._index = f"{prefix}_leases"  # no prefix contains an underscore
        self._seconds = seconds
        self._clock = clock
        self._holder = uuid4().hex
        self._own: dict[Stream, _Lease] = {}
        self._lost: set[Stream] = set()
        self._lock = Lock()
        self._observed: dict[Stream, tuple[_Version, float]] = {}

    def take(self, stream: Stream) -> None:
        """Takes the lease of a stream. Raises WrittenElsewhere while another process has it."""
        with self._lock, self._cluster.outages():
            self._lost.discard(stream)
            try:
                answer = self._cluster.client.get(index=self._index, id=_id(stream))
            except NotFoundError as error:
                if "index_not_found" in str(error.error):
                    self._create_index()
                version = None
            else:
                version = _version(answer)
                if answer["_source"]["holder"] != self._holder and not self._is_abandoned(stream, version):
                    raise _held(stream)
            self._write(stream, version)

    def renew(self, stream: Stream) -> None:
        """Shows that this process is at work, where it has the lease. Raises WrittenElsewhere where it was lost."""
        with self._lock, self._cluster.outages():
            if stream in self._lost:
                raise _held(stream)
            lease = self._own.get(stream)
            if lease is not None and self._clock() - lease.renew_time >= self._seconds / 4:
                self._write(stream, lease.version)

    def release(self, stream: Stream) -> None:
        """Gives the lease back. One that was lost meanwhile stays with whoever has it."""
        with self._lock, self._cluster.outages():
            self._lost.discard(stream)
            lease = self._own.pop(stream, None)
            if lease is None:
                return
            number, term = lease.version
            try:
                self._cluster.client.delete(
                    index=self._index, id=_id(stream), params={"if_seq_no": number, "if_primary_term": term}
                )
            except (ConflictError, NotFoundError):
                pass

    def _is_abandoned(self, stream: Stream, version: _Version) -> bool:
        now = self._clock()
        observed_version, since = self._observed.get(stream, (None, now))
        if observed_version != version:
            self._observed[stream] = (version, now)
            return False
        return now - since > self._seconds

    def _write(self, stream: Stream, version: _Version | None) -> None:
        params: dict[str, Any] = {"op_type": "create"}
        if version is not None:
            params = {"if_seq_no": version[0], "if_primary_term": version[1]}
        params["request_timeout"] = max(self._seconds / 4, 0.5)  # so that one slow answer does not cost the lease
        body = {"holder": self._holder, "stream": _id(stream), "beat": uuid4().hex}
        try:
            answer = self._cluster.client.index(index=self._index, id=_id(stream), body=body, params=params)
        except (ConflictError, NotFoundError) as error:
            answer = self._own_write(stream)
            if answer is None:
                if self._own.pop(stream, None) is not None:
                    self._lost.add(stream)
                raise _held(stream) from error
        self._own[stream] = _Lease(_version(answer), self._clock())
        self._observed.pop(stream, None)

    def _own_write(self, stream: Stream) -> dict[str, Any] | None:
        """The lease, where this process wrote it and the answer was lost."""
        try:
            answer = self._cluster.client.get(index=self._index, id=_id(stream))
        except NotFoundError:
            return None
        return answer if answer["_source"]["holder"] == self._holder else None

    def _create_index(self) -> None:
        settings = {"number_of_shards": 1, "auto_expand_replicas": "0-1", "hidden": True}
        body = {"settings": {"index": settings}, "mappings": {"dynamic": False}}
        try:
            self._cluster.client.indices.create(index=self._index, body=body)
        except RequestError as error:  # another process was faster
            if error.error != "resource_already_exists_exception":
                raise


def _version(answer: dict[str, Any]) -> _Version:
    return answer["_seq_no"], answer["_primary_term"]


def _id(stream: Stream) -> str:
    return f"{stream.kind.value}-{stream.uid}"


def _held(stream: Stream) -> WrittenElsewhere:
    return WrittenElsewhere(f"the {stream.kind} are being indexed by another search service; looked at again soon")
