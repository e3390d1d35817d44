"""Comparisons of metadata as tests of terms, which every back end can make."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from services.chassis.case_folding import folded
from services.chassis.filters import PRESENCE, Comparison, Filter, Leaf, Logic, Presence, leaves
from services.chassis.metadata_schema import MAX_FIELDS, MAX_KEY_BYTES, Types, nearest_key
from services.chassis.metadata_terms import Form, Type, escaped, prefix_of, searchable_text, term_of

METADATA = "metadata."
OPERATORS = f"= != < <= > >= : {PRESENCE}"
MAX_CONTAINED_CHARACTERS = 500
"""Of a text that is looked for within others."""

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class HasTerm:
    """A document has a term."""

    term: str


@dataclass(frozen=True)
class HasTermBetween:
    """A document has a term that begins with `prefix`, and is above `low` or below `high`, if there is one."""

    prefix: str
    low: str | None = None
    high: str | None = None
    is_inclusive: bool = False
    """Whether the bound itself is enough."""

    def __contains__(self, term: str) -> bool:
        if not term.startswith(self.prefix):
            return False
        if self.is_inclusive and term in (self.low, self.high):
            return True
        return (self.low is None or term > self.low) and (self.high is None or term < self.high)


@dataclass(frozen=True)
class HasTermContaining:
    """A document has a value as text that contains a text, case ignored."""

    prefix: str
    """Of the field."""
    text: str
    """Folded."""

    @property
    def text_prefix(self) -> str:
        """Of the field's terms that are texts as they are."""
        return self.prefix + Form.TEXT

    @property
    def folded_prefix(self) -> str:
        """Of the field's terms that are folded texts."""
        return self.prefix + Form.FOLDED


TermTest = HasTerm | HasTermBetween | HasTermContaining


def is_metadata(leaf: Leaf) -> bool:
    """Whether a comparison is one of metadata."""
    return leaf.field.startswith(METADATA)


def key_of(leaf: Leaf) -> str:
    """The key of metadata that is compared."""
    return leaf.field.removeprefix(METADATA)


def check_literals(condition: Filter) -> None:
    """Raises InvalidFilter for texts that are too long to be looked for within others."""
    for leaf in leaves(condition):
        if not isinstance(leaf, Comparison) or not is_metadata(leaf):
            continue
        if leaf.op == ":" and len(leaf.value) > MAX_CONTAINED_CHARACTERS:
            raise leaf.error(f"at most {MAX_CONTAINED_CHARACTERS} characters by `:`")


def metadata_test(leaf: Leaf, types: Types, test: Callable[[TermTest], _Result], logic: Logic[_Result]) -> _Result:
    """What a comparison of metadata comes to, where each test of terms comes to what `test` says.

    types: of the fields; one that is not among them is compared as text.
    """
    key = key_of(leaf)
    presence = HasTermBetween(prefix_of(key))
    if isinstance(leaf, Presence):
        return test(presence)
    if leaf.op == "!=":
        equal = metadata_test(Comparison(leaf.field, "=", leaf.value), types, test, logic)
        return logic.all_of([test(presence), logic.negation(equal)])
    single = _single_test(key, leaf, types.get(key, Type.STRING))
    return logic.any_of([]) if single is None else test(single)


def _single_test(key: str, comparison: Comparison, type_: Type) -> TermTest | None:
    """The test of a comparison; None where its literal is not of the field's type, so that nothing matches."""
    form = type_.form
    if comparison.op == ":" and type_ is Type.STRING:
        return HasTermContaining(prefix_of(key), folded(escaped(comparison.value)))
    term = term_of(key, form, comparison.value)
    if term is None:
        return None
    match comparison.op:
        case "<" | "<=":
            return HasTermBetween(prefix_of(key, form), high=term, is_inclusive=comparison.op == "<=")
        case ">" | ">=":
            return HasTermBetween(prefix_of(key, form), low=term, is_inclusive=comparison.op == ">=")
        case _:
            return HasTerm(term)


def passes(terms: Collection[str], test: TermTest) -> bool:
    """Whether a document with these terms passes a test."""
    match test:
        case HasTerm(term):
            return term in terms
        case HasTermBetween():
            return any(term in test for term in terms)
        case HasTermContaining():
            beginning = test.text_prefix
            return any(
                term.startswith(beginning) and test.text in searchable_text(term[len(beginning) :]) for term in terms
            )


def notices(condition: Filter, types: Sequence[Types]) -> list[str]:
    """What people should know of a filter's metadata: keys that no document has, literals of another type.

    types: of the datasets that are searched.
    """
    merged: Mapping[str, Type] = {key: type_ for part in types for key, type_ in part.items()}
    is_complete = all(len(part) < MAX_FIELDS for part in types)
    result: list[str] = []
    for leaf in leaves(condition):
        if not is_metadata(leaf):
            continue
        key = key_of(leaf)
        if key not in merged:
            if len(key.encode()) > MAX_KEY_BYTES or not is_complete:
                result.append(f"metadata.{key[:200]} is not among the fields with types: it is compared as text")
            else:
                nearest = nearest_key(key, merged)
                hint = f"; did you mean {nearest!r}?" if nearest else ""
                result.append(f"no document has the metadata key {key[:200]!r}{hint}")
        elif isinstance(leaf, Comparison) and not _is_readable(leaf, key, types):
            result.append(
                f"metadata.{key[:200]} is of type {merged[key]}: it cannot be compared with {leaf.value[:100]!r}"
            )
    return list(dict.fromkeys(result))


def _is_readable(comparison: Comparison, key: str, types: Sequence[Types]) -> bool:
    """Whether a literal is one of the field's type in some dataset."""
    for type_ in [part[key] for part in types if key in part]:
        if type_ is Type.BOOLEAN:
            if comparison.value in ("true", "false"):
                return True
        elif term_of(key, type_.form, comparison.value) is not None:
            return True
    return False
