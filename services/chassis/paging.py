"""Pages with opaque tokens (AIP-158).

A token holds a cursor and a digest of the request's other fields: with other fields it is refused instead of giving a
wrong page. A damaged or invented token is refused too, whatever it holds.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from services.chassis.errors import InvalidArgument

_Item = TypeVar("_Item")
Column = type[int] | type[str] | type[datetime]
"""What one value of a cursor must be; a datetime travels as ISO 8601 text."""
MAX_TOKEN = 4 << 10
_MAX_NUMBER = 2**63 - 1


class InvalidPageToken(InvalidArgument):
    """A token that is damaged, or of a call with other fields."""

    reason = "INVALID_PAGE_TOKEN"


@dataclass(frozen=True)
class Page:
    """Which part of a list is requested.

    size: items on the page. after: the cursor of the last item of the page before; None on the first page.
    """

    size: int
    after: Any
    _digest: str

    @classmethod
    def of(cls, page_size: int, page_token: str, *, bound_to: tuple[Any, ...], default: int, maximum: int) -> Page:
        """The requested page, with any cursor. 0 takes the default size, more than the maximum takes the maximum.

        Raises InvalidArgument for a negative size, InvalidPageToken for a token that cannot be used.
        """
        if page_size < 0:
            raise InvalidArgument.field("page_size", f"expected 0 (for {default}) to {maximum}, got {page_size}")
        digest = hashlib.sha256(json.dumps(bound_to, default=str).encode()).hexdigest()[:16]
        size = min(page_size or default, maximum)
        return cls(size, _decode(page_token, digest) if page_token else None, digest)

    @classmethod
    def offset(cls, page_size: int, page_token: str, *, bound_to: tuple[Any, ...], default: int, maximum: int) -> Page:
        """The requested page of a list by position, or by one number: the cursor is an integer of at least 0."""
        page = cls.of(page_size, page_token, bound_to=bound_to, default=default, maximum=maximum)
        if page.after is not None and not (_is(page.after, int) and page.after >= 0):
            raise _damaged()
        return page

    @classmethod
    def keyset(
        cls,
        page_size: int,
        page_token: str,
        *,
        columns: Sequence[Column],
        bound_to: tuple[Any, ...],
        default: int,
        maximum: int,
    ) -> Page:
        """The requested page of a list by the columns that order it: the cursor is a list of their values."""
        page = cls.of(page_size, page_token, bound_to=bound_to, default=default, maximum=maximum)
        values = page.after
        if values is not None and not (
            isinstance(values, list)
            and len(values) == len(columns)
            and all(_is(value, column) for value, column in zip(values, columns, strict=True))
        ):
            raise _damaged()
        return page

    def part(self, items: Sequence[_Item]) -> tuple[Sequence[_Item], str]:
        """This page of a complete list, and the token of the next one; empty on the last."""
        start = self.after or 0
        if not _is(start, int) or start < 0:
            raise _damaged()
        end = start + self.size
        return items[start:end], self.next_token(end) if end < len(items) else ""

    def next_token(self, cursor: Any) -> str:
        """The token of the page after `cursor`, any JSON value but None."""
        data = json.dumps([self._digest, cursor], separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(token: str, digest: str) -> Any:
    if len(token) > MAX_TOKEN:
        raise _damaged()
    try:
        data = json.loads(base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True))
        token_digest, cursor = data
    except (ValueError, TypeError, RecursionError):
        raise _damaged() from None
    if token_digest != digest or cursor is None:
        raise InvalidPageToken("page_token: it belongs to a call with other fields; start again without a token")
    if not all(_is_scalar(value) for value in (cursor if isinstance(cursor, list) else [cursor])):
        raise _damaged()
    return cursor


def _damaged() -> InvalidPageToken:
    return InvalidPageToken("page_token: it is damaged; start again without a token")


def _is_scalar(value: object) -> bool:
    if isinstance(value, int):
        return abs(value) <= _MAX_NUMBER
    return value is None or isinstance(value, (str, float))


def _is(value: object, column: Column) -> bool:
    if column is int:
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _MAX_NUMBER
    if not isinstance(value, str) or column is str:
        return isinstance(value, str)
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True
