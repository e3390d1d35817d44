"""Resource names (AIP-122): `datasets/{dataset}/documents/{document}`."""

from __future__ import annotations

import re
import unicodedata
import uuid
from collections.abc import Callable

from services.chassis.errors import InvalidArgument

SEGMENT = re.compile(r"[A-Za-z0-9._~-]{1,128}")


def parse(pattern: str, name: str, field: str) -> tuple[str, ...]:
    """The variable segments of `name`, in the order of `pattern`. Raises InvalidArgument that names `field`."""
    wanted, given = pattern.split("/"), name.split("/")
    segments: list[str] = []
    if len(wanted) == len(given):
        for want, got in zip(wanted, given, strict=True):
            if want.startswith("{") and SEGMENT.fullmatch(got):
                segments.append(got)
            elif want != got:
                break
        else:
            return tuple(segments)
    raise InvalidArgument.field(
        field, f"expected a name like `{pattern}`, each part 1 to 128 letters, digits or . _ ~ -; got {name[:200]!r}"
    )


def check_id(value: str, field: str) -> str:
    """`value` if it can be a segment. Raises InvalidArgument that names `field`."""
    if SEGMENT.fullmatch(value):
        return value
    raise InvalidArgument.field(field, f"expected 1 to 128 letters, digits or . _ ~ -; got {value[:200]!r}")


def slug(text: str, default: str) -> str:
    """An id made of `text`: lower case, words joined by `-`, at most 100 characters; `default` if nothing is left."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9._]+", "-", plain).strip("-.")[:100] or default


def free_id(wanted: str, taken: Callable[[str], bool]) -> str:
    """`wanted`, or the first of `wanted-2`, `wanted-3` … that is not taken."""
    number, candidate = 1, wanted
    while taken(candidate):
        number += 1
        candidate = f"{wanted}-{number}"
    return candidate


def new_uid() -> str:
    """A random id that is never used again: 32 hexadecimal digits."""
    return uuid.uuid4().hex
