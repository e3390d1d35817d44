"""Documents become JSON lines: missing values are absent, everything else keeps its value."""

from __future__ import annotations

import datetime
import json
import math
import uuid
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prisma_client import choices, sources
from prisma_client.choices import Architecture, MatrixKind, Normalization, SearchMode


def lines(source: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in b"".join(sources.chunks(source)).splitlines()]


def test_plain_texts_that_are_added_later_do_not_take_the_ids_of_earlier_ones() -> None:
    first = list(sources.chunks(["a", "b"], text_id=sources.position_id))
    assert [json.loads(line)["id"] for line in b"".join(first).splitlines()] == ["0", "1"]
    later = {row["text"]: row["id"] for row in lines(["c", "d", "\ud800"])}
    assert len(set(later.values()) | {"0", "1"}) == 5
    assert {row["text"]: row["id"] for row in lines(["d", "c"])} == {text: later[text] for text in "cd"}


def test_missing_values_of_a_frame_are_absent_and_all_others_are_kept() -> None:
    frame = pd.DataFrame(
        {
            "id": [1, 2],
            "text": ["first", "second"],
            "score": [1.5, float("nan")],
            "limit": [2.5, float("inf")],
            "time": pd.to_datetime(["2026-11-26T16:00:00Z", None]),
            "count": pd.array([7, pd.NA], dtype="Int64"),
            "flag": np.array([True, False]),
            "name": ["a", None],
        }
    )
    assert lines(frame) == [
        {
            "id": 1,
            "text": "first",
            "score": 1.5,
            "limit": 2.5,
            "time": "2026-11-26T16:00:00+00:00",
            "count": 7,
            "flag": True,
            "name": "a",
        },
        {"id": 2, "text": "second", "flag": False},
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.5), 0.5),
        (np.int64(2**53 + 1), 2**53 + 1),
        (np.bool_(True), True),
        (np.str_("text"), "text"),
        (np.array([1, 2]), [1, 2]),
        (np.array([1.5, np.nan]), [1.5, None]),
        (np.datetime64("2026-11-26"), "2026-11-26"),
        (pd.Timestamp("2026-11-26"), "2026-11-26T00:00:00"),
        (datetime.date(2026, 11, 26), "2026-11-26"),
        (Decimal("2.5"), 2.5),
        (Decimal("7"), 7),
        (Decimal("0.12345678901234567890"), "0.12345678901234567890"),
        (datetime.timedelta(days=1, milliseconds=500), 86400.5),
        (pd.Timedelta("2h"), 7200.0),
        (np.timedelta64(90, "m"), 5400.0),
        (pd.Timestamp("2024-01-02T03:04:05.123456789Z"), "2024-01-02T03:04:05.123456789+00:00"),
        (pd.Period("2024-01", "M"), "2024-01"),
        (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (SearchMode.HYBRID, "hybrid"),
        ({"inner": float("nan"), "kept": (1, "a")}, {"kept": [1, "a"]}),
        (Path("folder/file"), "folder/file"),
    ],
)
def test_a_value_is_converted(value: Any, expected: Any) -> None:
    assert lines([{"id": "a", "text": "t", "field": value}])[0]["field"] == expected


@pytest.mark.parametrize(
    "value",
    [None, float("-inf"), np.float32("nan"), np.datetime64("NaT"), pd.NaT, pd.NA, Decimal("NaN"), Decimal("sNaN")],
)
def test_a_missing_value_is_absent(value: Any) -> None:
    assert lines([{"id": "a", "text": "t", "field": value}]) == [{"id": "a", "text": "t"}]


def test_the_index_of_a_frame_may_hold_its_ids_and_rows_without_ids_get_them_from_the_embedder() -> None:
    frame = pd.DataFrame({"text": ["a", "b"], "kind": ["x", "y"]})
    assert lines(frame) == [{"text": "a", "kind": "x"}, {"text": "b", "kind": "y"}]
    assert [row["id"] for row in lines(frame.set_index(pd.Index([7, 8], name="id")))] == [7, 8]
    assert "id" not in lines([{"text": "a"}])[0], "a dictionary may have lost its id"


def test_a_series_is_a_list_of_texts_and_frames_of_polars_have_rows() -> None:
    assert lines(pd.Series(["a", "b"], name="text")) == lines(["a", "b"]) == lines(pl.Series(["a", "b"]))
    assert lines(pl.DataFrame({"id": ["a"], "text": ["t"]})) == [{"id": "a", "text": "t"}]


TIMES = st.datetimes(min_value=datetime.datetime(1700, 1, 1), max_value=datetime.datetime(2200, 1, 1))
DURATIONS = st.timedeltas(min_value=datetime.timedelta(days=-9999), max_value=datetime.timedelta(days=9999))
Column = tuple[list[Any], list[Any], str]
"""Values as a user has them, as JSON has them (None where absent), and the column's dtype in pandas."""


@st.composite
def columns(draw: st.DrawFn, rows: int) -> Column:
    """A column of one type, some of whose values are missing."""

    def some(values: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(st.none() | values, min_size=rows, max_size=rows))

    def converted(values: list[Any], convert: Callable[[Any], Any]) -> list[Any]:
        return [None if value is None else convert(value) for value in values]

    kind = draw(st.sampled_from(["integer", "float", "flag", "text", "category", "time", "duration", "list", "nested"]))
    if kind == "integer":
        values = some(st.integers(-(2**63), 2**63 - 1))
        return values, values, "Int64"
    if kind == "float":
        values = some(st.floats(allow_nan=True, allow_infinity=True))
        return values, [None if value is None or not math.isfinite(value) else value for value in values], "float64"
    if kind == "flag":
        values = some(st.booleans())
        return values, values, "boolean"
    if kind in ("text", "category"):
        values = some(st.text(st.characters(exclude_categories=["Cs"]), max_size=5))
        return values, values, "string" if kind == "text" else "category"
    if kind == "time":
        values = some(TIMES)
        return values, converted(values, datetime.datetime.isoformat), "datetime64[us]"
    if kind == "duration":
        values = some(DURATIONS)
        return values, converted(values, datetime.timedelta.total_seconds), "timedelta64[us]"
    if kind == "list":
        values = some(st.lists(st.none() | st.integers(-9, 9), max_size=3))
        return values, values, "object"
    values = some(st.fixed_dictionaries({"inner": st.none() | st.text("ab", max_size=2)}))
    return values, converted(values, lambda value: {k: v for k, v in value.items() if v is not None}), "object"


@settings(max_examples=60)
@given(data=st.data(), rows=st.integers(1, 5))
def test_any_frame_of_pandas_and_polars_keeps_its_values_and_leaves_out_missing_ones(
    data: st.DataObject, rows: int
) -> None:
    drawn = data.draw(st.lists(columns(rows), max_size=4))
    ids = [f"row {number}" for number in range(rows)]
    expected = [
        {
            "id": ids[row],
            "text": "t",
            **{
                f"c{i}": json_values[row] for i, (_, json_values, _) in enumerate(drawn) if json_values[row] is not None
            },
        }
        for row in range(rows)
    ]
    fixed = {"id": ids, "text": ["t"] * rows}
    of_pandas = {f"c{i}": pd.Series(values, dtype=dtype) for i, (values, _, dtype) in enumerate(drawn)}
    assert lines(pd.DataFrame({**fixed, **of_pandas})) == expected
    of_polars = {f"c{i}": pl.Series(values, strict=False) for i, (values, _, _) in enumerate(drawn)}
    assert lines(pl.DataFrame({**fixed, **of_polars})) == expected


def test_a_long_frame_is_converted_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "FRAME_ROWS", 3)
    ids = [str(number) for number in range(10)]
    for frame in (pd.DataFrame({"id": ids, "text": ids}), pl.DataFrame({"id": ids, "text": ids})):
        assert [row["id"] for row in lines(frame)] == ids


def test_wrong_documents_are_errors_before_anything_is_sent(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"document 0: expected a dictionary or a text, got int"):
        sources.chunks([3])
    for value in (b"t", np.bytes_(b"t"), 1 + 2j, object()):
        with pytest.raises(TypeError, match=r"document 0: m: expected text, numbers, .*; got (bytes|complex|object)"):
            sources.chunks([{"id": "a", "text": "t", "m": value}])
    with pytest.raises(TypeError, match="got one dictionary"):
        sources.chunks({"id": "a", "text": "its names are no texts"})
    with pytest.raises(TypeError, match="several fields have the same name"):
        sources.chunks([{"id": "a", "text": "t", 1: "one", "1": "another"}])
    with pytest.raises(TypeError, match="several columns have the same name"):
        sources.chunks(pd.DataFrame([["a", "t", 1, 2]], columns=["id", "text", "m", "m"]))
    nested: list[Any] = []
    nested.append(nested)
    for value in (nested, 10**5000):
        with pytest.raises(TypeError, match="document 0: "):
            sources.chunks([{"id": "a", "text": "t", "m": value}])
    with pytest.raises(FileNotFoundError):
        sources.chunks(tmp_path / "none")


def test_choices_have_the_values_of_the_protos() -> None:
    from prisma.interpreter.v1.resources_pb2 import FeatureMatrix
    from prisma.search.v1.search_service_pb2 import SearchDocumentsRequest
    from prisma.trainer.v1.resources_pb2 import Config

    for choice, enum in (
        (SearchMode, SearchDocumentsRequest.Mode),
        (Architecture, Config.Architecture),
        (Normalization, Config.Normalization),
        (MatrixKind, FeatureMatrix.Kind),
    ):
        prefix = enum.DESCRIPTOR.name.upper()
        assert {f"{prefix}_{name}" for name in choice.__members__} | {f"{prefix}_UNSPECIFIED"} == set(enum.keys())
        assert all(member.value.replace("-", "_").upper() == member.name for member in choice)


def test_a_wrong_choice_names_the_possible_ones() -> None:
    with pytest.raises(ValueError, match="unknown architecture 'jumprelu': choose one of top-k, batch-top-k"):
        choices.training_config({"architecture": "jumprelu"})
    with pytest.raises(ValueError, match="unknown option colour: choose from expansion, k"):
        choices.training_config({"colour": 3})
    assert choices.training_config({"architecture": "BATCH_TOP_K", "k": None}).architecture == 2
