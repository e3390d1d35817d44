"""Partial updates (AIP-134)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from services.chassis.errors import InvalidArgument


def changed_fields(message: Message, mask: FieldMask, updatable: Sequence[str]) -> dict[str, Any]:
    """Fields and values that an update changes: those of the mask, or without one those that are set.

    Raises InvalidArgument for a field that can't be updated.
    """
    paths = list(mask.paths) or [name for name in updatable if getattr(message, name)]
    for path in paths:
        if path not in updatable:
            raise InvalidArgument.field("update_mask", f"expected some of {', '.join(updatable)}; got {path!r}")
    return {path: getattr(message, path) for path in paths}


def check_lengths(message: Message, field: str, limits: dict[str, int]) -> None:
    """Raises InvalidArgument where a text of the message, itself at `field`, is longer than its limit in characters."""
    for name, limit in limits.items():
        if len(getattr(message, name)) > limit:
            raise InvalidArgument.field(f"{field}.{name}", f"expected at most {limit} characters")
