"""What requests for analyses may hold: each function returns checked values, or raises InvalidArgument."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prisma.interpreter.v1 import analyses_pb2 as pb2
from services.chassis.errors import InvalidArgument
from services.chassis.filters import parse_filter
from services.interpreter.features import FILTERS
from services.interpreter.requests import analyzed_text, run_name
from services.interpreter.selection import TRUSTED_ONLY, Selection

MAX_ATTRIBUTED = 50
"""Features that the sentences of a text are compared by."""


@dataclass(frozen=True, kw_only=True)
class AttributionRequest:
    """Which features of which text are attributed to sentences."""

    run: str
    text: str
    selection: Selection
    indices: Sequence[int]
    """If there are any, these features instead of the selected ones."""
    limit: int


def attribution(request: pb2.AttributeSentencesRequest) -> AttributionRequest:
    """Which features of which text are attributed to sentences. Raises InvalidFilter."""
    if len(request.indices) > MAX_ATTRIBUTED:
        raise InvalidArgument.field("indices", f"expected at most {MAX_ATTRIBUTED}, got {len(request.indices)}")
    return AttributionRequest(
        run=run_name(request.run),
        text=analyzed_text(request.text),
        selection=selection(request.features),
        indices=list(dict.fromkeys(request.indices)),
        limit=count_of(request.limit, "limit", default=10, maximum=MAX_ATTRIBUTED),
    )


def selection(message: pb2.FeatureSelection) -> Selection:
    """Which features count. Raises InvalidFilter."""
    return Selection(
        terms=parse_filter(message.filter.strip() or TRUSTED_ONLY, FILTERS), include_tail=message.include_tail
    )


def count_of(value: int, field: str, *, default: int, maximum: int) -> int:
    """A number of things, at most `maximum`; 0 stands for the default."""
    if value > maximum:
        raise InvalidArgument.field(field, f"expected at most {maximum:,}, got {value:,}")
    return value or default
