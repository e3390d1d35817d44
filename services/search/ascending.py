"""Rows looked up among ascending rows: the same as numpy's set functions, which sort or hash what is sorted already."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.search.backend import Rows


def places_of(
    rows: NDArray[np.unsignedinteger], ascending: NDArray[np.unsignedinteger]
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Where those of the rows that are among ascending rows are there, and (R,) which ones are."""
    if not len(ascending):
        return np.empty(0, np.intp), np.zeros(len(rows), dtype=bool)
    places = np.searchsorted(ascending, rows)
    is_there = ascending.take(places, mode="clip") == rows
    return places[is_there], is_there


def are_among(rows: Rows, ascending: Rows) -> NDArray[np.bool_]:
    """(R,) which of the rows are among ascending rows."""
    return places_of(rows, ascending)[1]
