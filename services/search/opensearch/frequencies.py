"""How many texts contain a word: counted by the cluster once for each commit, not for each search."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any

from services.search.backend import Stream

_MAX_WORDS = 100_000
_Key = tuple[Stream, str, int]
"""A stream and the position that it has reached."""


class DocumentFrequencies:
    """Of the words of the latest queries, for all streams together."""

    def __init__(self) -> None:
        self._counts: OrderedDict[tuple[_Key, str], int] = OrderedDict()
        self._lock = Lock()

    def stored(self, stream: Stream, meta: Mapping[str, Any], terms: Sequence[str]) -> dict[str, int]:
        """The counts of those terms that were counted since the commit. meta: of the stream's index."""
        key = _key(stream, meta)
        with self._lock:
            counts = {term: self._counts.get((key, term)) for term in terms}
            for term, count in counts.items():
                if count is not None:
                    self._counts.move_to_end((key, term))
        return {term: count for term, count in counts.items() if count is not None}

    def store(self, stream: Stream, meta: Mapping[str, Any], counts: Mapping[str, int]) -> None:
        """Remembers counts."""
        key = _key(stream, meta)
        with self._lock:
            self._counts.update({(key, term): count for term, count in counts.items()})
            while len(self._counts) > _MAX_WORDS:
                self._counts.popitem(last=False)


def _key(stream: Stream, meta: Mapping[str, Any]) -> _Key:
    return stream, str(meta["update_time"]), int(meta["revision"])
