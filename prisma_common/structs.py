"""The values of a `google.protobuf.Struct`, such as metadata, in plain Python. A Struct holds doubles only."""

from __future__ import annotations

import math
from typing import Any

from google.protobuf.struct_pb2 import Struct, Value

MAX_EXACT = 1 << 53
"""Up to here each whole number is a double of its own."""


def plain_struct(struct: Struct) -> dict[str, Any]:
    """The values by key, in the order of the keys."""
    return {key: plain_value(struct.fields[key]) for key in sorted(struct.fields)}


def plain_value(value: Value) -> Any:
    """A value as JSON has it, whole numbers in lists and nested values included."""
    match value.WhichOneof("kind"):
        case "number_value":
            return plain_number(value.number_value)
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "struct_value":
            return plain_struct(value.struct_value)
        case "list_value":
            return [plain_value(member) for member in value.list_value.values]
        case _:
            return None


def plain_number(number: float) -> float:
    """A whole number without a fraction, as it was imported: 7 and not 7.0. −0.0 and numbers beyond 2^53 stay."""
    is_negative_zero = number == 0 and math.copysign(1, number) < 0
    return int(number) if number.is_integer() and abs(number) <= MAX_EXACT and not is_negative_zero else number
