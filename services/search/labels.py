"""Active labels of features, with the activation from which each is precise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from services.search.backend import Index, Kind, Stream, StreamState
from services.search.query import FeatureLabel, reliability_of

_CACHED_RUNS = 16


class FeatureLabels:
    """Reads labels from one index; those of the latest runs are kept until the run's labels change."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._labels: dict[str, tuple[StreamState, dict[int, FeatureLabel | None]]] = {}

    def of(self, run: str, indices: Sequence[int]) -> dict[int, FeatureLabel]:
        """Active labels by index; none where the run's labels are not indexed yet."""
        stream = Stream(Kind.LABELS, run)
        state = self._index.state(stream)
        if state is None:
            return {}
        cached_state, labels = self._labels.get(run, (None, {}))
        if cached_state != state:
            labels = {}
            while len(self._labels) >= _CACHED_RUNS:
                self._labels.pop(next(iter(self._labels)))
            self._labels[run] = (state, labels)
        missing = sorted(set(indices) - set(labels))
        if missing:
            payloads = self._index.payloads(stream, np.array(missing, dtype=np.uint64))
            labels.update({index: _label(payloads[index]) if index in payloads else None for index in missing})
        return {index: label for index in indices if (label := labels[index]) is not None}


def _label(payload: Mapping[str, Any]) -> FeatureLabel | None:
    """The label of an indexed feature; None where it has none."""
    if not payload["label"]:
        return None
    return FeatureLabel(str(payload["label"]), payload.get("threshold") or 0.0, reliability_of(payload))
