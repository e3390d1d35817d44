"""Conditions as queries of tantivy, which knows terms, and regular expressions over its dictionary of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tantivy import Occur, Query, Schema

from services.chassis.filters import Logic
from services.chassis.metadata_filters import HasTerm, HasTermBetween, HasTermContaining, TermTest
from services.search.embedded.segments import Segment
from services.search.embedded.term_dictionary import TermDictionary
from services.search.where import IsAmong, IsMatching, Where, evaluate

FIELD = "terms"
"""Of tantivy's documents."""
MAX_EXPRESSED_CHARACTERS = 64
"""Of a bound behind its field's prefix; the terms between longer ones are listed instead."""

MAX_LISTED_TERMS = 1000
"""Of a range: fewer cost less than an expression."""

_ANY = "(?s:.)*"
_LAST_CHARACTER = 0x10FFFF
_SPECIAL = frozenset("\\.+*?()|[]{}^$")


_LOGIC: Logic[Query] = Logic(
    all_of=lambda parts: Query.boolean_query([(Occur.Must, part) for part in parts]) if parts else Query.all_query(),
    any_of=lambda parts: (
        Query.boolean_query([(Occur.Should, part) for part in parts]) if parts else Query.empty_query()
    ),
    negation=lambda part: Query.boolean_query([(Occur.Must, Query.all_query()), (Occur.MustNot, part)]),
)


def query_of(where: Where, schema: Schema, parts: Sequence[Segment]) -> Query:
    """The query of a condition. parts: the segments of the texts that are searched."""

    def leaf(leaf: IsMatching | IsAmong) -> Query:
        if isinstance(leaf, IsAmong):
            return Query.term_set_query(schema, "row", leaf.rows.tolist())
        return _query_of_test(leaf.test, schema, parts)

    return evaluate(where, leaf, _LOGIC)


def _query_of_test(test: TermTest, schema: Schema, parts: Sequence[Segment]) -> Query:
    try:
        return _short_query(test, schema, parts)
    except ValueError:  # tantivy refuses expressions of more than 1,000 states
        return _listing(test, schema, [TermDictionary(part) for part in parts])


def _listing(test: TermTest, schema: Schema, dictionaries: Sequence[TermDictionary]) -> Query:
    terms = {term.decode() for dictionary in dictionaries for term in dictionary.terms_with(test)}
    return Query.term_set_query(schema, FIELD, sorted(terms))


def _short_query(test: TermTest, schema: Schema, parts: Sequence[Segment]) -> Query:
    match test:
        case HasTerm(term):
            return Query.term_query(schema, FIELD, term, index_option="basic")
        case HasTermContaining(prefix):
            text = "".join(_one_of(characters) for characters in test.characters)
            return Query.regex_query(schema, FIELD, f"{_literal(prefix)}{_ANY}{text}{_ANY}")
        case HasTermBetween(prefix, low, high):
            dictionaries = [TermDictionary(part) for part in parts]
            is_long = len(low or high or "") - len(prefix) > MAX_EXPRESSED_CHARACTERS
            if is_long or sum(dictionary.count(test) for dictionary in dictionaries) <= MAX_LISTED_TERMS:
                return _listing(test, schema, dictionaries)
            return Query.regex_query(schema, FIELD, f"{_literal(prefix)}(?:{'|'.join(_alternatives(test))})")


def _alternatives(test: HasTermBetween) -> Iterator[str]:
    """Expressions of what may come behind the prefix."""
    bound = test.low or test.high
    if bound is None:
        yield _ANY
        return
    rest = bound[len(test.prefix) :]
    for place, character in enumerate(rest):
        different = _above(ord(character)) if test.low else _below(ord(character))
        if different:
            yield f"{_literal(rest[:place])}{different}{_ANY}"
        if not test.low:
            yield _literal(rest[:place])
    if test.low:
        yield f"{_literal(rest)}(?s:.){'*' if test.is_inclusive else '+'}"
    elif test.is_inclusive:
        yield _literal(rest)


def _above(code: int) -> str:
    return "" if code == _LAST_CHARACTER else f"[{_character(code + 1)}-{_character(_LAST_CHARACTER)}]"


def _below(code: int) -> str:
    return f"[{_character(0)}-{_character(code - 1)}]" if code else ""


def _character(code: int) -> str:
    """A character of a class, by its number. Surrogates are no characters: neither bound of a class is one."""
    if 0xD800 <= code <= 0xDFFF:
        code = 0xE000 if code == 0xD800 else 0xD7FF
    return f"\\x{{{code:X}}}"


def _one_of(characters: str) -> str:
    return f"(?:{'|'.join(map(_literal, characters))})"


def _literal(text: str) -> str:
    return "".join(f"\\{character}" if character in _SPECIAL else character for character in text)
