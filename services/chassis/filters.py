"""Filters of AIP-160 as trees: comparisons under AND, OR and NOT. `state = FAILED AND text : "heart"`.

    filter     = factor {"AND" factor}
    factor     = term {"OR" term}
    term       = ["NOT" | "-"] ("(" filter ")" | comparison)
    comparison = field ("=" | "!=" | "<" | "<=" | ">" | ">=" | ":") value | field ":" "*"

OR binds tighter than AND, as in AIP-160. Parts of a field that are no plain words are quoted:
`metadata."publication year" = 1999`; values may be quoted by either sort of quotation mark. There are no functions, and
`*` stands for itself except in `field:*`, which asks whether there is a value.

A comparison with an absent field is false, whatever its operator, and NOT turns that round: `NOT metadata.a = 1` is
true where there is no `a`, `metadata.a != 1` is not.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from services.chassis.errors import InvalidArgument

MAX_LENGTH = 8 << 10
"""Characters of a filter."""
MAX_COMPARISONS = 100
"""Databases refuse or crawl over expressions of thousands of comparisons."""
MAX_DEPTH = 20
"""Parentheses within each other."""

PRESENCE = ":*"
"""How the operators of a field say that it may be asked for."""

_FIELD = re.compile(
    r"""[^\W\d][\w\-]*(?:\.(?:[\w\-]+|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'))*""",
    re.DOTALL,
)
_SEGMENT = re.compile(r""""((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'""", re.DOTALL)
_PLAIN_FIELD = re.compile(r"[^\W\d][\w\-]*(?:\.[\w\-]+)*")
_OPERATOR = re.compile(r"<=|>=|!=|=|<|>|:")
_VALUE = re.compile(
    r""""(?P<double>(?:[^"\\]|\\.)*)"|'(?P<single>(?:[^'\\]|\\.)*)'|(?P<bare>[^\s"'()][^\s"()]*)""", re.DOTALL
)
_KEYWORD = re.compile(r"(?:AND|OR|NOT)(?![^\s()])")
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
"""As metadata have them; `float` also reads 1_000, blanks and digits of all scripts."""
_BLANKS = re.compile(r"\s*")
_EXCERPT_LENGTH = 40

_Result = TypeVar("_Result")


class InvalidFilter(InvalidArgument):
    """A filter that cannot be read, or is too long."""

    reason = "INVALID_FILTER"


@dataclass(frozen=True)
class Comparison:
    """`field` `op` `value`."""

    field: str
    op: str
    value: str
    position: int = dataclasses.field(default=0, compare=False)
    """The character of the filter that it begins at, from 1; 0 where it was not read from one."""

    def number(self) -> float:
        """The value as a finite number. Raises InvalidFilter."""
        number = float(self.value) if _NUMBER.fullmatch(self.value) else math.nan
        if not math.isfinite(number):
            raise self.error("a number")
        return number

    def flag(self) -> bool:
        """The value as true or false. Raises InvalidFilter."""
        return self.one_of(("true", "false")) == "true"

    def one_of(self, values: Sequence[str]) -> str:
        """The value, which must be one of some. Raises InvalidFilter."""
        if self.value not in values:
            raise self.error(f"one of {', '.join(values)}")
        return self.value

    def error(self, expected: str) -> InvalidFilter:
        """What to say of a value that is not as expected."""
        place = f" at character {self.position}" if self.position else ""
        return InvalidFilter(f"filter{place}: {self.field} is compared with {expected}, got {self.value[:100]!r}")


@dataclass(frozen=True)
class Presence:
    """`field:*`: there is a value."""

    field: str
    position: int = dataclasses.field(default=0, compare=False)


@dataclass(frozen=True)
class AllOf:
    """All parts are true."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True)
class AnyOf:
    """At least one part is true."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True)
class Negation:
    """The part is not true."""

    part: Filter


Leaf = Comparison | Presence
Filter = Comparison | Presence | AllOf | AnyOf | Negation

UNFILTERED = AllOf(())
"""The empty filter."""


def all_of(parts: Sequence[Filter]) -> Filter:
    """What is true where all parts are, without AND directly within AND."""
    flat = tuple(leaf for part in parts for leaf in conjuncts(part))
    return flat[0] if len(flat) == 1 else AllOf(flat)


def any_of(parts: Sequence[Filter]) -> Filter:
    """What is true where one part is, without OR directly within OR."""
    flat = tuple(leaf for part in parts for leaf in (part.parts if isinstance(part, AnyOf) else (part,)))
    return flat[0] if len(flat) == 1 else AnyOf(flat)


def negation(part: Filter) -> Filter:
    """What is true where the part is not."""
    return part.part if isinstance(part, Negation) else Negation(part)


def conjuncts(part: Filter) -> tuple[Filter, ...]:
    """What must all be true for a filter to be."""
    return part.parts if isinstance(part, AllOf) else (part,)


def leaves(part: Filter) -> Iterator[Leaf]:
    """The comparisons of a filter, in its order."""
    match part:
        case AllOf(parts) | AnyOf(parts):
            for child in parts:
                yield from leaves(child)
        case Negation(negated):
            yield from leaves(negated)
        case _:
            yield part


@dataclass(frozen=True)
class Logic(Generic[_Result]):
    """What AND, OR and NOT are where filters are evaluated: of truth values, arrays, or queries of a database."""

    all_of: Callable[[Sequence[_Result]], _Result]
    """Of no parts, what is always true."""
    any_of: Callable[[Sequence[_Result]], _Result]
    negation: Callable[[_Result], _Result]


TRUTH: Logic[bool] = Logic(all, any, lambda value: not value)


def evaluate(part: Filter, leaf: Callable[[Leaf], _Result], logic: Logic[_Result]) -> _Result:
    """What a filter comes to, where each comparison comes to what `leaf` says."""
    match part:
        case AllOf(parts):
            return logic.all_of([evaluate(child, leaf, logic) for child in parts])
        case AnyOf(parts):
            return logic.any_of([evaluate(child, leaf, logic) for child in parts])
        case Negation(negated):
            return logic.negation(evaluate(negated, leaf, logic))
        case _:
            return leaf(part)


def parse_filter(text: str, fields: Mapping[str, str]) -> Filter:
    """The tree of a filter; UNFILTERED for a blank one.

    `fields` has the operators, separated by blanks, that each field takes (`:*` for presence); a key that ends in `.`
    stands for all fields that begin so. Raises InvalidFilter that says where and what is expected.
    """
    if len(text) > MAX_LENGTH:
        raise InvalidFilter(f"filter: expected at most {MAX_LENGTH:,} characters, got {len(text):,}")
    return _Parser(text, fields).parse() if text.strip() else UNFILTERED


def text_of(part: Filter) -> str:
    """A filter as text that `parse_filter` reads as the same tree."""
    match part:
        case AllOf(parts):
            return " AND ".join(_inner_text(child) for child in parts)
        case AnyOf(parts):
            return " OR ".join(_inner_text(child) for child in parts)
        case Negation(negated):
            return f"NOT {_inner_text(negated)}"
        case Presence():
            return f"{_field_text(part.field)}:*"
        case Comparison():
            return f"{_field_text(part.field)} {part.op} {_quoted(part.value)}"


def _inner_text(part: Filter) -> str:
    return f"({text_of(part)})" if isinstance(part, AllOf | AnyOf) else text_of(part)


def _field_text(name: str) -> str:
    if _PLAIN_FIELD.fullmatch(name):
        return name
    first, _, rest = name.partition(".")
    return f"{first}.{_quoted(rest)}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


class _Parser:
    """Reads one filter by recursive descent."""

    def __init__(self, text: str, fields: Mapping[str, str]) -> None:
        self._text = text
        self._fields = fields
        self._position = 0
        self._comparison_count = 0
        self._depth = 0

    def parse(self) -> Filter:
        """The whole filter."""
        result = self._filter()
        if not self._is_at_end():
            raise self._expected("AND or OR")
        return result

    def _filter(self) -> Filter:
        parts = [self._factor()]
        while self._takes_keyword("AND"):
            parts.append(self._factor())
        return all_of(parts)

    def _factor(self) -> Filter:
        parts = [self._term()]
        while self._takes_keyword("OR"):
            parts.append(self._term())
        return any_of(parts)

    def _term(self) -> Filter:
        if self._takes_keyword("NOT") or self._takes("-"):
            return negation(self._simple())
        return self._simple()

    def _simple(self) -> Filter:
        if not self._takes("("):
            return self._comparison()
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._expected(f"at most {MAX_DEPTH} parentheses within each other")
        result = self._filter()
        if not self._takes(")"):
            raise self._expected("AND, OR or a closing parenthesis")
        self._depth -= 1
        return result

    def _comparison(self) -> Filter:
        self._skip_blanks()
        start = self._position
        match = None if _KEYWORD.match(self._text, start) else _FIELD.match(self._text, start)
        if match is None:
            raise self._expected('a comparison such as name = "value"')
        name = _SEGMENT.sub(lambda part: _unescaped(part[1] if part[1] is not None else part[2]), match[0])
        operators = self._operators(name)
        self._position = match.end()
        self._skip_blanks()
        operator = _OPERATOR.match(self._text, self._position)
        if operator is None:
            raise self._expected(f"one of {operators} after {name}")
        self._position = operator.end()
        self._comparison_count += 1
        if self._comparison_count > MAX_COMPARISONS:
            raise InvalidFilter(f"filter: expected at most {MAX_COMPARISONS} comparisons")
        return self._leaf(name, operator[0], operators.split(), start)

    def _leaf(self, name: str, op: str, operators: Sequence[str], start: int) -> Leaf:
        """The comparison whose value comes next."""
        self._skip_blanks()
        match = None if _KEYWORD.match(self._text, self._position) else _VALUE.match(self._text, self._position)
        if match is None:
            raise self._expected(f"a value after {op}; in quotes, if it has blanks or parentheses or is AND, OR or NOT")
        is_presence = op == ":" and match["bare"] == "*"
        if (PRESENCE if is_presence else op) not in operators:
            self._position = start
            raise self._expected(f"{name} with one of {' '.join(operators)}")
        self._position = match.end()
        if is_presence:
            return Presence(name, start + 1)
        quoted = match["single"] if match["double"] is None else match["double"]
        return Comparison(name, op, match["bare"] if quoted is None else _unescaped(quoted), start + 1)

    def _operators(self, name: str) -> str:
        """The operators that a field takes. Raises InvalidFilter for one that there is not."""
        for field, operators in self._fields.items():
            if name == field or (field[-1] == "." and name.startswith(field) and name != field):
                return operators
        names = [f"{field}<key>" if field[-1] == "." else field for field in self._fields]
        raise self._expected(f"one of the fields {', '.join(names)}")

    def _takes_keyword(self, keyword: str) -> bool:
        self._skip_blanks()
        match = _KEYWORD.match(self._text, self._position)
        if match is None or match[0] != keyword:
            return False
        self._position = match.end()
        return True

    def _takes(self, character: str) -> bool:
        self._skip_blanks()
        is_next = self._text.startswith(character, self._position)
        self._position += is_next
        return is_next

    def _is_at_end(self) -> bool:
        self._skip_blanks()
        return self._position == len(self._text)

    def _skip_blanks(self) -> None:
        match = _BLANKS.match(self._text, self._position)
        assert match is not None, "blanks may be none"
        self._position = match.end()

    def _expected(self, expected: str) -> InvalidFilter:
        rest = self._text[self._position :]
        excerpt = f"{rest[:_EXCERPT_LENGTH]!r}{'…' if len(rest) > _EXCERPT_LENGTH else ''}" if rest else "the end"
        return InvalidFilter(f"filter at character {self._position + 1}: expected {expected}; got {excerpt}")


def _unescaped(quoted: str) -> str:
    return re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL)
