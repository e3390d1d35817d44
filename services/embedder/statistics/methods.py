"""What statistics and maps are computed with, and stored with: those of another method are stale."""

from __future__ import annotations

from enum import StrEnum

from services.embedder.statistics import languages

STATISTICS_VERSION = 2
"""Of the computation. 1 could leave out documents whose metadata changed meanwhile."""
MAP_VERSION = 2
"""Of the drawing of maps, as STATISTICS_VERSION. Maps of version 1 were stored without it."""


class MapMethod(StrEnum):
    """How vectors become points."""

    PCA = "PCA"
    UMAP = "UMAP"


def statistics_method() -> str:
    """The present method of statistics, with what identifies languages, if that is installed."""
    return f"{STATISTICS_VERSION} {languages.method()}".strip()


def versioned(method: MapMethod) -> str:
    """The present method of maps."""
    return f"{method} {MAP_VERSION}"


def map_method_of(stored: str) -> MapMethod:
    """How the vectors of a stored map became points."""
    return MapMethod(stored.partition(" ")[0])
