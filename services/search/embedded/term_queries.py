"""Conditions as queries of tantivy: terms of metadata, and columns of numbers and dates for ranges.

A column has the place of each value (`place_of`): a range of places is a range of values, except at its bound, where
several values may have one place. Those of them that pass are listed. Conditions of many terms or rows are no queries:
tantivy opens a list of texts for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import takewhile
from typing import Any

from tantivy import Index, Occur, Query, Schema

from services.chassis.filters import Logic
from services.chassis.metadata_filters import HasTerm, HasTermBetween, HasTermContaining, TermTest
from services.chassis.metadata_terms import Form, parts_of, place_of
from services.search.embedded.term_dictionary import TermDictionary
from services.search.where import IsAmong, IsMatching, Where, evaluate

TERMS = "terms"
"""The field of tantivy's documents that has their terms, and the prefix of each field that has a value."""
COLUMNS = "columns"
"""The field that has the places of numbers and dates."""
MAX_LISTED = 1000
"""Terms, or rows, of one comparison."""

_ORDERED_FORMS = (Form.NUMBER, Form.DATE)

_LOGIC: Logic[Query] = Logic(
    all_of=lambda parts: Query.boolean_query([(Occur.Must, part) for part in parts]) if parts else Query.all_query(),
    any_of=lambda parts: (
        Query.boolean_query([(Occur.Should, part) for part in parts]) if parts else Query.empty_query()
    ),
    negation=lambda part: Query.boolean_query([(Occur.Must, Query.all_query()), (Occur.MustNot, part)]),
)


class TooManyTerms(Exception):
    """A condition has too many terms or rows for a query of tantivy."""


def indexed_terms(terms: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """The values of TERMS and COLUMNS of a document with these terms."""
    prefixes: set[str] = set()
    columns: dict[str, list[int]] = {}
    for prefix, form, value in parts_of(terms):
        prefixes.add(prefix)
        if form in _ORDERED_FORMS:
            columns.setdefault(_column(prefix + form), []).append(place_of(value))
    return [*prefixes, *terms], columns


class ConditionQueries:
    """Makes the queries of conditions for one full-text index."""

    def __init__(self, index: Index, schema: Schema, dictionaries: Sequence[TermDictionary]) -> None:
        """dictionaries: of the segments of its texts."""
        self._index = index
        self._schema = schema
        self._dictionaries = dictionaries

    def query_of(self, where: Where) -> Query:
        """The query of a condition. Raises TooManyTerms."""
        return evaluate(where, self._leaf, _LOGIC)

    def _leaf(self, leaf: IsMatching | IsAmong) -> Query:
        if isinstance(leaf, IsMatching):
            return self._test(leaf.test)
        if len(leaf.rows) > MAX_LISTED:
            raise TooManyTerms
        return Query.term_set_query(self._schema, "row", leaf.rows.tolist())

    def _test(self, test: TermTest) -> Query:
        match test:
            case HasTerm(term):
                return self._has(term)
            case HasTermBetween(prefix, low=None, high=None):
                return self._has(prefix)
            case HasTermBetween(prefix) if prefix[-1] in _ORDERED_FORMS:
                return self._range(test)
            case _:
                return self._listing(test)

    def _has(self, term: str) -> Query:
        return Query.term_query(self._schema, TERMS, term, index_option="basic")

    def _range(self, test: HasTermBetween) -> Query:
        bound = place_of((test.low or test.high or "")[len(test.prefix) :])
        beside = self._terms_at(bound, test)
        are_all = bool(beside) and not self._terms_at(bound, _opposite(test))
        first, last = "[]" if are_all else "{}"
        places = f"{first}{bound} TO *{last}" if test.low else f"{first}* TO {bound}{last}"
        beyond = self._index.parse_query(f"{COLUMNS}.{_column(test.prefix)}:{places}")
        return _LOGIC.any_of([beyond, self._listed(beside)]) if beside and not are_all else beyond

    def _terms_at(self, bound: int, test: HasTermBetween) -> set[bytes]:
        """The terms that pass and whose place is that of the bound."""
        terms: set[bytes] = set()
        for dictionary in self._dictionaries:
            beside = dictionary.terms_beside(test)
            for term in takewhile(lambda term: place_of(term.decode()[len(test.prefix) :]) == bound, beside):
                terms.add(term)
                if len(terms) > MAX_LISTED:
                    raise TooManyTerms
        return terms

    def _listing(self, test: HasTermBetween | HasTermContaining) -> Query:
        if sum(dictionary.count(test) for dictionary in self._dictionaries) > MAX_LISTED:
            raise TooManyTerms
        return self._listed({term for dictionary in self._dictionaries for term in dictionary.terms_with(test)})

    def _listed(self, terms: set[bytes]) -> Query:
        return Query.term_set_query(self._schema, TERMS, sorted(term.decode() for term in terms))


def _opposite(test: HasTermBetween) -> HasTermBetween:
    """What the other terms of the field pass."""
    return HasTermBetween(test.prefix, low=test.high, high=test.low, is_inclusive=not test.is_inclusive)


@lru_cache(maxsize=1 << 12)
def _column(prefix: str) -> str:
    """The name of a column: keys may have any characters."""
    return f"{prefix[-1]}{blake2b(prefix.encode(), digest_size=16).hexdigest()}"
