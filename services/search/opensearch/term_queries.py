"""Conditions as queries of the cluster."""

from __future__ import annotations

from typing import Any

from services.chassis.filters import Logic
from services.chassis.metadata_filters import HasTerm, HasTermBetween, HasTermContaining, TermTest
from services.chassis.metadata_terms import end_of_prefix
from services.search.opensearch.cluster import among
from services.search.where import IsAmong, IsMatching, Where, evaluate

_Query = dict[str, Any]
_SPECIAL = frozenset('.?+*|{}[]()"\\#@&<>~^$-')
_MAX_STATES = 100_000
_UNCUT = "([^\x01]|\x01[\x01\x02])*"
"""Characters and escaped ones, but not the mark of a cut text."""

_LOGIC: Logic[_Query] = Logic(
    all_of=lambda parts: {"bool": {"filter": list(parts)}} if parts else {"match_all": {}},
    any_of=lambda parts: {"bool": {"should": list(parts), "minimum_should_match": 1}} if parts else {"match_none": {}},
    negation=lambda part: {"bool": {"must_not": [part]}},
)


def query_of(where: Where) -> _Query:
    """The query of a condition."""
    return evaluate(where, _query_of_leaf, _LOGIC)


def _query_of_leaf(leaf: IsMatching | IsAmong) -> _Query:
    return among(leaf.rows)[0] if isinstance(leaf, IsAmong) else _query_of_test(leaf.test)


def _query_of_test(test: TermTest) -> _Query:
    match test:
        case HasTerm(term):
            return {"term": {"terms": term}}
        case HasTermBetween(prefix, low, high, is_inclusive):
            end = end_of_prefix(prefix)
            above = {"gte": prefix} if low is None else {"gte" if is_inclusive else "gt": low}
            below = {"lt": end} if high is None else {"lte" if is_inclusive else "lt": high}
            return {"range": {"terms": {**above, **below}}}
        case HasTermContaining():
            expression = {"value": _expression(test), "flags": "NONE"}
            return {"regexp": {"terms": {**expression, "max_determinized_states": _MAX_STATES}}}


def _expression(test: HasTermContaining) -> str:
    """A regular expression of terms; of those that are texts as they are, only the ones that are not cut."""
    text = _literal(test.text)
    return f"{_literal(test.text_prefix)}{_UNCUT}{text}{_UNCUT}|{_literal(test.folded_prefix)}.*{text}.*"


def _literal(text: str) -> str:
    return "".join(f"\\{character}" if character in _SPECIAL else character for character in text)
