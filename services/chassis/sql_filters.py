"""Filters as SQL: AND, OR and NOT, and the terms of metadata, which stand in a column as a JSON array."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    String,
    and_,
    exists,
    false,
    literal,
    not_,
    or_,
    select,
    true,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from services.chassis.filters import Logic
from services.chassis.metadata_filters import HasTerm, HasTermBetween, HasTermContaining, TermTest
from services.chassis.metadata_terms import end_of_prefix

SQL: Logic[ColumnElement[bool]] = Logic(
    all_of=lambda parts: and_(true(), *parts),
    any_of=lambda parts: or_(false(), *parts),
    negation=not_,
)
"""Of conditions that are true or false, never NULL."""


def has_term(terms: ColumnElement[Any], test: TermTest) -> ColumnElement[bool]:
    """Whether the terms in a JSON array pass a test."""
    elements = _elements(terms).table_valued("value", name="term")
    value = elements.c.value
    return exists(select(literal(1)).select_from(elements).where(_passes(value, test)).correlate(terms.table))


def _passes(value: ColumnElement[Any], test: TermTest) -> ColumnElement[bool]:
    by_bytes: ColumnElement[Any] = _by_bytes(value)
    match test:
        case HasTerm(term):
            return value == term
        case HasTermBetween():
            begins = and_(by_bytes >= test.prefix, by_bytes < end_of_prefix(test.prefix))
            if test.low is not None:
                return and_(begins, by_bytes >= test.low if test.is_inclusive else by_bytes > test.low)
            if test.high is not None:
                return and_(begins, by_bytes <= test.high if test.is_inclusive else by_bytes < test.high)
            return begins
        case HasTermContaining():
            pattern = _matches(value, literal(_glob(test), String), literal(_expression(test), String))
            return and_(by_bytes >= test.prefix, by_bytes < end_of_prefix(test.prefix), pattern)


def _glob(test: HasTermContaining) -> str:
    """SQLite's pattern. Of its special characters, only `]` has no meaning of its own, and none in brackets."""
    beginning = "".join(f"[{character}]" if character in "*?[" else character for character in test.prefix)
    return f"{beginning}*{''.join(_class(characters, escape='') for characters in test.characters)}*"


def _expression(test: HasTermContaining) -> str:
    """PostgreSQL's regular expression."""
    characters = "".join(_class(variants, escape="\\") for variants in test.characters)
    return f"^{re.escape(test.prefix)}.*{characters}"


def _class(characters: str, *, escape: str) -> str:
    """One of some characters. A single `^` or `]` is no class in SQLite."""
    if len(characters) == 1 and characters in "^]":
        return f"{escape}{characters}"
    return f"[{''.join(escape + character if character in '^]-[' + escape else character for character in characters)}]"


class _elements(FunctionElement[str]):  # noqa: N801 - as functions of SQL are called
    """The elements of a JSON array, as rows."""

    inherit_cache = True
    name = "elements"


class _by_bytes(FunctionElement[str]):  # noqa: N801
    """A text, to be compared by its bytes."""

    inherit_cache = True
    type = String()
    name = "by_bytes"


class _matches(FunctionElement[bool]):  # noqa: N801
    """Whether a text matches a pattern: of SQLite the first one, of PostgreSQL the second."""

    inherit_cache = True
    type = Boolean()
    name = "matches"


@compiles(_elements, "sqlite")
def _elements_of_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **options)})"


@compiles(_elements, "postgresql")
def _elements_of_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    return f"json_array_elements_text({compiler.process(element.clauses, **options)})"


@compiles(_by_bytes, "sqlite")
def _by_bytes_of_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    return compiler.process(element.clauses, **options)


@compiles(_by_bytes, "postgresql")
def _by_bytes_of_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    return f'{compiler.process(element.clauses, **options)} COLLATE "C"'


@compiles(_matches, "sqlite")
def _matches_of_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    value, glob, _expression = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{value} GLOB {glob}"


@compiles(_matches, "postgresql")
def _matches_of_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    value, _glob, expression = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{value} ~ {expression}"
