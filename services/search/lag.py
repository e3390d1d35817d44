"""How far the index is behind the owners of its data, by kind of stream, for the metrics."""

from __future__ import annotations

import time
from functools import partial

from prometheus_client import Gauge

from services.search.backend import Kind, Position, Stream

_REVISIONS = Gauge(
    "prisma_index_lag_revisions",
    "Revisions that the index is behind its owners, of the stream furthest behind",
    ["kind"],
)
_SECONDS = Gauge(
    "prisma_index_lag_seconds", "Time since the stream that is longest behind was up to date, in seconds", ["kind"]
)
_STREAMS = Gauge("prisma_index_streams_behind", "Streams of the index that are behind their owners", ["kind"])


class Lag:
    """The streams that are known to be behind."""

    def __init__(self) -> None:
        self._behind: dict[Stream, tuple[int, float]] = {}
        for kind in Kind:
            _REVISIONS.labels(kind).set_function(partial(self._most_revisions, kind))
            _SECONDS.labels(kind).set_function(partial(self._longest, kind))
            _STREAMS.labels(kind).set_function(partial(self._count, kind))

    def note(self, stream: Stream, position: Position | None, owner: Position | None) -> None:
        """A stream is at a position (None: at none) while its owner is at another (None: which only reading tells)."""
        revisions = max(0, owner.revision - (position.revision if position else 0)) if owner else 0
        _, since = self._behind.get(stream, (0, time.monotonic()))
        self._behind[stream] = (revisions, since)

    def clear(self, stream: Stream) -> None:
        """A stream is up to date, or is followed no longer."""
        self._behind.pop(stream, None)

    def _of(self, kind: Kind) -> list[tuple[int, float]]:
        return [state for stream, state in list(self._behind.items()) if stream.kind is kind]

    def _most_revisions(self, kind: Kind) -> float:
        return max((revisions for revisions, _ in self._of(kind)), default=0)

    def _longest(self, kind: Kind) -> float:
        return max((time.monotonic() - since for _, since in self._of(kind)), default=0.0)

    def _count(self, kind: Kind) -> float:
        return len(self._of(kind))
