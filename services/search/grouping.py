"""The best passages of each document, so that one long document does not fill the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from services.search.ranked import Documents, Ranking

Payloads = Mapping[tuple[int, int], dict[str, Any]]
"""By place of the dataset and row."""
_READ_AT_ONCE = 200


def best_passages(ranking: Ranking, *, per_document: int, count: int, read: Callable[[Documents], Payloads]) -> Ranking:
    """The first `count` passages of a ranking of which at most `per_document` are of one document.

    read: payloads of some documents; those that were deleted since have none and are left out.
    """
    places: list[int] = []
    hidden_count = 0
    hits_of: Counter[str] = Counter()
    for start in range(0, len(ranking.documents), _READ_AT_ONCE):
        part = np.arange(start, min(start + _READ_AT_ONCE, len(ranking.documents)))
        payloads = read(ranking.documents.take(part))
        for place in part.tolist():
            payload = payloads.get((int(ranking.documents.datasets[place]), int(ranking.documents.rows[place])))
            if payload is None:
                continue
            document = document_of(payload)
            if hits_of[document] == per_document:
                hidden_count += 1
                continue
            hits_of[document] += 1
            places.append(place)
            if len(places) == count:
                return _selected(ranking, places, hidden_count)
    return _selected(ranking, places, hidden_count)


def document_of(payload: Mapping[str, Any]) -> str:
    """The name of the document that a payload is of, or is a passage of."""
    return str(payload["passage"]["document"] if "passage" in payload else payload["name"])


def _selected(ranking: Ranking, places: Sequence[int], hidden_count: int) -> Ranking:
    """The hits at these places; their ranks without steering are among each other, as those with it are."""
    selection = replace(ranking.take(np.array(places, dtype=np.intp)), hidden_count=hidden_count)
    if selection.steered is None:
        return selection
    ranks = selection.steered.unsteered_ranks
    order = np.searchsorted(np.sort(ranks[ranks > 0]), ranks) + 1
    return replace(selection, steered=replace(selection.steered, unsteered_ranks=np.where(ranks > 0, order, 0)))
