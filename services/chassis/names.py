"""Resource names and ids in requests, checked."""

from __future__ import annotations

import re
import unicodedata
import uuid
from collections.abc import Callable

from prisma_common.names import SEGMENT, match
from services.chassis.errors import InvalidArgument

_ALPHABET = "1 to 128 letters, digits or . _ ~ -"


def parse(pattern: str, name: str, field: str) -> tuple[str, ...]:
    """The variable segments of `name`, in the order of `pattern`. Raises InvalidArgument that names `field`."""
    segments = match(pattern, name)
    if segments is None:
        raise InvalidArgument.field(
            field, f"expected a name like `{pattern}`, each part {_ALPHABET}; got {name[:200]!r}"
        )
    return segments


def check_id(value: str, field: str) -> str:
    """`value` if it can be a segment. Raises InvalidArgument that names `field`."""
    if not SEGMENT.fullmatch(value):
        raise InvalidArgument.field(field, f"expected {_ALPHABET}; got {value[:200]!r}")
    return value


def slug(text: str, default: str) -> str:
    """An id derived from `text`: lower case, words joined by `-`, at most 100 characters; `default` if none is left."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9._]+", "-", plain).strip("-.")[:100] or default


def free_id(candidate: str, is_taken: Callable[[str], bool]) -> str:
    """`candidate`, or the first of `candidate-2`, `candidate-3` … that is not taken."""
    number, free = 1, candidate
    while is_taken(free):
        number += 1
        free = f"{candidate}-{number}"
    return free


def new_uid() -> str:
    """A random id that is never used again: 32 hexadecimal digits."""
    return uuid.uuid4().hex
