"""Filters of features: their fields, and comparisons as tests of terms, as an index has them (`metadata_terms`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from services.chassis.filters import Comparison, Filter, Leaf, Logic, leaves
from services.chassis.metadata_filters import TermTest, metadata_test
from services.chassis.metadata_schema import Types
from services.chassis.metadata_terms import Type

NUMBERS = ("density", "precise_density", "max_activation", "mean_activation", "variance", "index", "score", "stability")
FLAGS = ("labelled", "dead")
TRUST = ("TRUSTED", "OPEN", "DOUBTFUL", "UNNAMED")
SOURCES = ("KEYWORDS", "MODEL", "HUMAN")
FAMILY = "family"
FIELDS = {
    **dict.fromkeys(NUMBERS, "= != < <= > >= :*"),
    **dict.fromkeys(FLAGS, "= !="),
    **dict.fromkeys(("source", FAMILY), "= != :*"),
    "trust": "= !=",
}
"""The operators that each field takes."""

_TYPES: Types = {**dict.fromkeys(NUMBERS, Type.NUMBER), **dict.fromkeys(FLAGS, Type.BOOLEAN)}
_Result = TypeVar("_Result")


def check_values(condition: Filter) -> None:
    """Raises InvalidFilter for a value that its field cannot have."""
    for leaf in leaves(condition):
        if not isinstance(leaf, Comparison):
            continue
        if leaf.field in NUMBERS:
            leaf.number()
        elif leaf.field in FLAGS:
            leaf.flag()
        elif leaf.field != FAMILY:
            leaf.one_of(TRUST if leaf.field == "trust" else SOURCES)


def feature_test(leaf: Leaf, test: Callable[[TermTest], _Result], logic: Logic[_Result]) -> _Result:
    """What a comparison of features comes to, where each test of terms comes to what `test` says."""
    if isinstance(leaf, Comparison) and leaf.field in NUMBERS:
        leaf = Comparison(leaf.field, leaf.op, repr(leaf.number()))  # features have doubles, and no longer decimals
    return metadata_test(leaf, _TYPES, test, logic)


def family_ids(condition: Filter) -> list[str]:
    """The families that a filter compares with."""
    return [leaf.value for leaf in leaves(condition) if isinstance(leaf, Comparison) and leaf.field == FAMILY]
