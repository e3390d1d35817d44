"""What an answer lacks, in sentences for people: an index that is behind, documents without vectors or features."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock

import numpy as np

from services.search.backend import Index, Kind, Rows, Stream, StreamState
from services.search.owners import Dataset, Run

States = Mapping[Stream, StreamState | None]
_CACHED_COUNTS = 256


class Notices:
    """Composes notices from what the index holds. Calls block."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._counts: dict[tuple[Stream, Stream], tuple[StreamState, StreamState, int]] = {}
        self._lock = Lock()

    def behind(self, dataset: Dataset, states: States) -> list[str]:
        """Streams of a dataset that have not reached its owner."""
        notices: list[str] = []
        for kind in (Kind.DOCUMENTS, Kind.VECTORS):
            state = states.get(Stream(kind, dataset.uid))
            if state is None or state.position == dataset.position:
                continue
            if state.position.history == dataset.position.history:
                progress = f"revision {state.position.revision} of {dataset.position.revision}"
                notices.append(f"the {kind} of {dataset.name} are still being indexed: {progress}")
            else:
                notices.append(
                    f"the {kind} of {dataset.name} are being compared with their owner, which restarted or was restored"
                )
        return notices

    def without_vectors(self, dataset: Dataset, states: States) -> list[str]:
        """Documents that a ranking by meaning leaves out."""
        documents, vectors = Stream(Kind.DOCUMENTS, dataset.uid), Stream(Kind.VECTORS, dataset.uid)
        missing = self._count_missing(documents, vectors, states)
        if not missing:
            return []
        whole = _item_count(documents, states)
        has, they, have = ("has", "it is", "has") if missing == 1 else ("have", "they are", "have")
        return [
            f"{_of(missing, whole, dataset)} of {dataset.name} {has} no vector yet: "
            f"{they} not embedded, or {have} failed to be"
        ]

    def without_features(self, run: Run, dataset: Dataset, states: States) -> list[str]:
        """Documents that have a vector and no code of the run."""
        vectors, codes = Stream(Kind.VECTORS, dataset.uid), Stream(Kind.CODES, run.uid)
        missing = self._count_missing(vectors, codes, states)
        if not missing:
            return []
        whole = _item_count(Stream(Kind.DOCUMENTS, dataset.uid), states)
        has, they_were = ("has", "it was") if missing == 1 else ("have", "they were")
        return [
            f"{_of(missing, whole, dataset)} {has} no features of {run.name} yet: "
            f"{they_were} added after the run was trained"
        ]

    def _count_missing(self, whole: Stream, part: Stream, states: States) -> int:
        """How many rows of one stream another one lacks; counted once for each pair of commits."""
        whole_state, part_state = states.get(whole), states.get(part)
        if whole_state is None or part_state is None:
            return 0
        with self._lock:
            cached = self._counts.get((whole, part))
            if cached is not None and cached[:2] == (whole_state, part_state):
                return cached[2]
        count = _count_difference(self._index.rows(whole), self._index.rows(part))
        with self._lock:
            while len(self._counts) >= _CACHED_COUNTS:
                self._counts.pop(next(iter(self._counts)))
            self._counts[whole, part] = (whole_state, part_state, count)
        return count


def hidden_passages(count: int, per_document: int | None) -> list[str]:
    """That more passages of the documents match than are shown."""
    if not count or per_document is None:
        return []
    passages = "the best passage" if per_document == 1 else f"the best {per_document} passages"
    return [
        f"only {passages} of each document is shown; passages_per_document shows more, and the total counts passages"
    ]


def _of(count: int, whole: int, dataset: Dataset) -> str:
    unit = "passage" if dataset.has_passages else "document"
    return f"{count:,} of {whole:,} {unit}{'s' if whole != 1 else ''}"


def _item_count(stream: Stream, states: States) -> int:
    state = states.get(stream)
    return state.item_count if state else 0


def _count_difference(rows: Rows, other_rows: Rows) -> int:
    """How many of ascending rows are not among other ascending rows."""
    if not len(rows) or not len(other_rows) or np.array_equal(rows, other_rows):
        return 0 if len(other_rows) or not len(rows) else len(rows)
    places = np.minimum(np.searchsorted(other_rows, rows), len(other_rows) - 1)
    return int((other_rows[places] != rows).sum())
