"""Values of metadata as terms: equal values have equal terms, and terms ascend with the values."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal

import hypothesis.strategies as st
import pytest
from hypothesis import given

from services.chassis import metadata_schema
from services.chassis.filters import parse_filter
from services.chassis.metadata_filters import METADATA, OPERATORS, notices
from services.chassis.metadata_schema import nearest_key
from services.chassis.metadata_terms import (
    Form,
    date_form,
    described,
    index_terms_of,
    number_form,
    parts_of,
    place_of,
    prefix_of,
    term_of,
    terms_of,
)

decimals = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30, places=10)
numbers = st.integers(-(2**63), 2**64) | st.floats(allow_nan=False, allow_infinity=False, width=64)
moments = st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1)).flatmap(
    lambda moment: st.integers(-840, 840).map(
        lambda minutes: moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    )
)


@given(numbers | decimals.map(str), numbers | decimals.map(str))
def test_numbers_ascend_as_their_terms_do(one: float | str, other: float | str) -> None:
    first, second = number_form(one), number_form(other)
    if first is not None and second is not None:  # 1e-300 has no term
        assert (first < second) == (Decimal(str(one)) < Decimal(str(other)))
        assert (first == second) == (Decimal(str(one)) == Decimal(str(other)))


@given(numbers | decimals.map(str), numbers | decimals.map(str))
def test_places_never_descend_where_numbers_ascend(one: float | str, other: float | str) -> None:
    first, second = sorted(form for form in (number_form(one), number_form(other), number_form(0)) if form)[:2]
    assert 0 <= place_of(first) <= place_of(second) < 2**63


@given(moments, moments)
def test_places_never_descend_where_instants_ascend(one: datetime, other: datetime) -> None:
    first, second = sorted((date_form(one.isoformat()) or "", date_form(other.isoformat()) or ""))
    assert 0 <= place_of(first) <= place_of(second) < 2**63


@given(moments, moments)
def test_instants_ascend_as_their_terms_do(one: datetime, other: datetime) -> None:
    first, second = date_form(one.isoformat()), date_form(other.isoformat())
    assert first is not None
    assert second is not None
    assert (first < second) == (one < other)
    assert (first == second) == (one == other)


@given(st.text(max_size=20), st.text(max_size=20))
def test_texts_ascend_as_their_terms_do_by_bytes(one: str, other: str) -> None:
    first, second = term_of("key", Form.TEXT, one), term_of("key", Form.TEXT, other)
    assert first is not None
    assert second is not None
    assert (first.encode() < second.encode()) == (one < other)
    assert "\x00" not in first


@pytest.mark.parametrize(
    ("literal", "values"),
    [
        ("4", [4, 4.0, "4", "4.0", "+4", "4e0", "04"]),
        ("4.0", [4, 4.0, "4"]),
        ("0.50", [0.5, "0.5", ".5", "5e-1"]),
        ("-0", [0, "0", -0.0, "0.000"]),
        ("9007199254740993", [9007199254740993, "9007199254740993"]),
        ("1e22", [10**22, 1e22]),
    ],
)
def test_a_number_is_one_however_it_is_written(literal: str, values: list[object]) -> None:
    term = term_of("key", Form.NUMBER, literal)
    for value in values:
        assert term in terms_of({"key": value}), value
    different = [5, 9007199254740992, "4 ", False, True, "nan", "four", "4,0", "٤"]
    assert term not in terms_of({"key": different, "other": values})


def test_what_is_no_number_or_date_is_none() -> None:
    for text in ("", ".", "-", "1e", "e5", "1_0", "nan", "inf", "0x10", "1e99999", "1" * 401, " 1"):
        assert number_form(text) is None, text
    for text in ("2021", "2021-13-01", "2021-02-30", "21-01-01", "2021-01-01T25:00", "2021-01-01 10:00 UTC", "today"):
        assert date_form(text) is None, text


def test_keys_and_values_cannot_be_mixed_up() -> None:
    assert not set(terms_of({"a=b": "c"})) & set(terms_of({"a": "b=c"}))
    assert terms_of({"key": "x" * 5000}) != terms_of({"key": "x" * 5001})
    assert all(len(term.encode()) < 1400 for term in terms_of({"k" * 3000: "ä" * 9000}))
    assert described({"a": None, "b": [], "c": {}}) == ([], set())


def test_the_nearest_key_is_named() -> None:
    keys = {"category", "Publication Year", "metadata.rating"}
    assert nearest_key("categry", keys) == "category"
    assert nearest_key("publication year", keys) == "Publication Year"
    assert nearest_key("rating", keys) == "metadata.rating"
    assert nearest_key("zzz", keys) is None


def test_fields_of_long_keys_are_not_counted() -> None:
    long = "k" * (metadata_schema.MAX_KEY_BYTES + 1)
    schema = metadata_schema.changed({}, [described({"a": 1, long: 2, "nested": {long: 3}})], by=1)
    assert set(schema) == {"a"}
    condition = parse_filter(f'metadata."{long}" > 1', {METADATA: OPERATORS})
    assert notices(condition, [metadata_schema.types_of(schema)]) == [
        f"metadata.{long[:200]} is not among the fields with types: it is compared as text"
    ]


@given(st.dictionaries(st.text(max_size=30), st.text(max_size=20) | st.integers(-99, 99) | st.dates().map(str)))
def test_terms_can_be_taken_apart(metadata: dict[str, object]) -> None:
    terms = index_terms_of(metadata)
    assert ["".join(parts) for parts in parts_of(terms)] == terms
    assert {prefix for prefix, _form, _value in parts_of(terms)} == {prefix_of(key) for key in metadata}
