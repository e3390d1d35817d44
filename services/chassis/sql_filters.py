"""Filters as SQL: AND, OR and NOT, and the terms of metadata, which stand in a column as a JSON array."""

from __future__ import annotations

from itertools import chain
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    String,
    and_,
    case,
    exists,
    false,
    func,
    literal,
    not_,
    or_,
    select,
    true,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from services.chassis.case_folding import CONTAINS_FUNCTION, folded, replacements_for
from services.chassis.filters import Logic
from services.chassis.metadata_filters import HasTerm, HasTermBetween, HasTermContaining, TermTest
from services.chassis.metadata_terms import CUT_MARK, DIGEST_CHARACTERS, end_of_prefix

_CUT_CHARACTERS = len(CUT_MARK) + DIGEST_CHARACTERS
"""Behind the beginning of a long text."""

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
            prefix = test.text_prefix
            text = func.substr(value, len(prefix) + 1)
            mark = func.substr(text, func.length(text) - _CUT_CHARACTERS + 1, len(CUT_MARK))
            beginning = func.substr(text, 1, func.length(text) - _CUT_CHARACTERS)
            uncut = case((mark == CUT_MARK, beginning), else_=text)
            return and_(by_bytes >= prefix, by_bytes < end_of_prefix(prefix), contains_folded(uncut, test.text))


def contains(text: ColumnElement[Any], part: str) -> ColumnElement[bool]:
    """Whether a text contains another one, case ignored."""
    return contains_folded(text, folded(part))


def contains_folded(text: ColumnElement[Any], folded_part: str) -> ColumnElement[bool]:
    """Whether a text contains a folded one, case ignored."""
    replacements = replacements_for(folded_part)
    return _contains(
        text,
        *(
            literal(value, String)
            for value in (
                folded_part,
                replacements.originals,
                replacements.replacements,
                *chain.from_iterable(replacements.expansions),
            )
        ),
    )


class _elements(FunctionElement[str]):  # noqa: N801 - as functions of SQL are called
    """The elements of a JSON array, as rows."""

    inherit_cache = True
    name = "elements"


class _by_bytes(FunctionElement[str]):  # noqa: N801
    """A text, to be compared by its bytes."""

    inherit_cache = True
    type = String()
    name = "by_bytes"


class _contains(FunctionElement[bool]):  # noqa: N801
    """Whether a text contains a folded one: the text, the folded one, and how the text is folded for it."""

    inherit_cache = True
    type = Boolean()
    name = "contains"


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


@compiles(_contains, "sqlite")
def _contains_of_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    text, part, *_replacements = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{CONTAINS_FUNCTION}({text}, {part})"


@compiles(_contains, "postgresql")
def _contains_of_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    text, part, originals, replacements, *expansions = (
        compiler.process(clause, **options) for clause in element.clauses
    )
    text = f"translate({text}, {originals}, {replacements})"
    for original, expansion in zip(expansions[::2], expansions[1::2], strict=True):
        text = f"replace({text}, {original}, {expansion})"
    return f"strpos({text}, {part}) > 0"
