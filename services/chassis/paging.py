"""Pages with opaque tokens (AIP-158).

A token holds a cursor and a digest of the request's other fields: used with other fields, it is refused instead of
giving a wrong page.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from services.chassis.errors import InvalidArgument

_Item = TypeVar("_Item")


class InvalidPageToken(InvalidArgument):
    """A token that is damaged, or of a call with other fields."""

    reason = "INVALID_PAGE_TOKEN"


@dataclass(frozen=True)
class Page:
    """Which part of a list is asked for."""

    size: int
    after: Any
    """The cursor of the last item of the page before; None on the first page."""
    _digest: str

    @classmethod
    def of(cls, page_size: int, page_token: str, *, bound_to: tuple[Any, ...], default: int, maximum: int) -> Page:
        """The page that a request asks for. 0 takes the default, more than the maximum takes the maximum.

        Raises InvalidArgument for a negative size, InvalidPageToken for a token that can't be used.
        """
        if page_size < 0:
            raise InvalidArgument.field("page_size", f"expected 0 (for {default}) to {maximum}, got {page_size}")
        digest = hashlib.sha256(json.dumps(bound_to, default=str).encode()).hexdigest()[:16]
        size = min(page_size or default, maximum)
        return cls(size, _decode(page_token, digest) if page_token else None, digest)

    def part(self, items: Sequence[_Item]) -> tuple[Sequence[_Item], str]:
        """This page of a list that is all there, and the token of the next one; empty on the last."""
        start = int(self.after or 0)
        end = start + self.size
        return items[start:end], self.next_token(end) if end < len(items) else ""

    def next_token(self, cursor: Any) -> str:
        """The token of the page behind `cursor`, any JSON value but None."""
        data = json.dumps([self._digest, cursor], separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(token: str, digest: str) -> Any:
    try:
        data = json.loads(base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True))
        found, cursor = data
    except (binascii.Error, ValueError, TypeError):
        raise InvalidPageToken("page_token: it is damaged; start again without a token") from None
    if found != digest or cursor is None:
        raise InvalidPageToken("page_token: it belongs to a call with other fields; start again without a token")
    return cursor
