"""A documented subset of AIP-160: comparisons joined by AND. `state = FAILED AND text : "heart"`.

Parts of a field that are not plain words are quoted: `metadata."publication year" = 1999`. Values may be in single
quotes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from services.chassis.errors import InvalidArgument

_TOKEN = re.compile(
    r"""\s*(?: (?P<field>[A-Za-z_][\w.\-]*(?:"(?:[^"\\]|\\.)*"(?:\.[\w.\-]*)?)*) \s* (?P<op><=|>=|!=|=|<|>|:) \s*
        (?: "(?P<quoted>(?:[^"\\]|\\.)*)" | '(?P<single>(?:[^'\\]|\\.)*)' | (?P<bare>[^\s"'()][^\s"()]*) ) )\s*""",
    re.VERBOSE,
)
_AND = re.compile(r"AND\s+")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')


MAX_LENGTH = 8 << 10
MAX_TERMS = 100
"""Databases refuse or crawl over expressions of thousands of terms."""


class InvalidFilter(InvalidArgument):
    """A filter that cannot be read, or is too long."""

    reason = "INVALID_FILTER"


@dataclass(frozen=True)
class Term:
    """One comparison: `field` `op` `value`."""

    field: str
    op: str
    value: str

    def number(self) -> float:
        """The value as a number. Raises InvalidFilter."""
        try:
            return float(self.value)
        except ValueError:
            raise InvalidFilter(f"filter: {self.field} is compared with numbers, got {self.value!r}") from None

    def flag(self) -> bool:
        """The value as true or false. Raises InvalidFilter."""
        if self.value not in ("true", "false"):
            raise InvalidFilter(f"filter: {self.field} is true or false, got {self.value!r}")
        return self.value == "true"


def parse_filter(text: str, fields: Mapping[str, str]) -> list[Term]:
    """The comparisons of a filter; none for an empty one.

    `fields` has the operators, separated by blanks, that each field takes; a key that ends in `.` stands for all
    fields that begin so. Raises InvalidFilter that says where and what is expected.
    """
    if len(text) > MAX_LENGTH:
        raise InvalidFilter(f"filter: expected at most {MAX_LENGTH:,} characters, got {len(text):,}")
    terms: list[Term] = []
    position = 0
    while text[position:].strip():
        if terms:
            joined = _AND.match(text, position)
            if not joined:
                raise InvalidFilter(f"filter: expected AND at {text[position : position + 40]!r}")
            position = joined.end()
        match = _TOKEN.match(text, position)
        if not match:
            raise InvalidFilter(f'filter: expected a comparison such as name = "value" at {text[position:][:40]!r}')
        terms.append(_term(match, fields))
        position = match.end()
        if len(terms) > MAX_TERMS:
            raise InvalidFilter(f"filter: expected at most {MAX_TERMS} comparisons")
    return terms


def _term(match: re.Match[str], fields: Mapping[str, str]) -> Term:
    field, op = _QUOTED.sub(lambda part: _unescaped(part[1]), match["field"]), match["op"]
    key = next((name for name in fields if field == name or (name[-1] == "." and field.startswith(name))), None)
    if key is None:
        raise InvalidFilter(f"filter: expected one of the fields {', '.join(fields)}; got {field!r}")
    if op not in fields[key].split():
        raise InvalidFilter(f"filter: {field} takes {fields[key]}; got {op!r}")
    quoted = match["quoted"] if match["single"] is None else match["single"]
    return Term(field, op, match["bare"] if quoted is None else _unescaped(quoted))


def _unescaped(quoted: str) -> str:
    return re.sub(r"\\(.)", r"\1", quoted)
