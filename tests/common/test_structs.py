"""Values of a Struct come out as they went in."""

from __future__ import annotations

import math
from typing import Any

from google.protobuf.struct_pb2 import Struct
from hypothesis import given
from hypothesis import strategies as st

from prisma_common.structs import MAX_EXACT, plain_number, plain_struct

SCALARS = st.none() | st.booleans() | st.text() | st.integers(-MAX_EXACT, MAX_EXACT) | st.floats(0.25, 0.75)
VALUES = st.recursive(SCALARS, lambda values: st.lists(values) | st.dictionaries(st.text(), values), max_leaves=8)


@given(st.dictionaries(st.text(), VALUES))
def test_values_come_out_as_they_went_in(values: dict[str, Any]) -> None:
    struct = Struct()
    struct.update(values)
    assert repr(plain_struct(struct)) == repr(in_order(values))


def test_numbers_that_are_no_exact_integers_stay() -> None:
    assert [plain_number(number) for number in (1e300, 2.0**53 + 2, math.inf)] == [1e300, 2.0**53 + 2, math.inf]
    assert repr(plain_number(-0.0)) == "-0.0"
    assert repr(plain_number(7.0)) == "7"


def in_order(value: Any) -> Any:
    """The same value with the keys of its topmost and nested objects in order."""
    if isinstance(value, dict):
        return {key: in_order(value[key]) for key in sorted(value)}
    return [in_order(member) for member in value] if isinstance(value, list) else value
