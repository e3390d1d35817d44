"""Which documents a search may return: a filter, as back ends take it, of tests of metadata's terms and row sets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from services.chassis.filters import Logic
from services.chassis.metadata_filters import TermTest

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class IsMatching:
    """The document's metadata pass a test."""

    test: TermTest


@dataclass(frozen=True, eq=False)
class IsAmong:
    """The document is one of some."""

    rows: NDArray[np.uint64]
    """Ascending."""


@dataclass(frozen=True)
class All:
    """All parts are true."""

    parts: tuple[Where, ...]


@dataclass(frozen=True)
class Any:
    """At least one part is true."""

    parts: tuple[Where, ...]


@dataclass(frozen=True)
class Not:
    """The part is not true."""

    part: Where


Where = IsMatching | IsAmong | All | Any | Not

WHERE: Logic[Where] = Logic(lambda parts: All(tuple(parts)), lambda parts: Any(tuple(parts)), Not)
EVERYWHERE = All(())


def evaluate(where: Where, leaf: Callable[[IsMatching | IsAmong], _Result], logic: Logic[_Result]) -> _Result:
    """What a condition comes to, where its leaves come to what `leaf` says."""
    match where:
        case All(parts):
            return logic.all_of([evaluate(part, leaf, logic) for part in parts])
        case Any(parts):
            return logic.any_of([evaluate(part, leaf, logic) for part in parts])
        case Not(part):
            return logic.negation(evaluate(part, leaf, logic))
        case _:
            return leaf(where)
