"""Documents become JSON lines: missing values are absent, everything else keeps its value."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

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
        ({"inner": float("nan"), "kept": (1, "a")}, {"kept": [1, "a"]}),
        (Path("folder/file"), "folder/file"),
    ],
)
def test_a_value_is_converted(value: Any, expected: Any) -> None:
    assert lines([{"id": "a", "text": "t", "field": value}])[0]["field"] == expected


@pytest.mark.parametrize(
    "value", [None, float("-inf"), np.float32("nan"), np.datetime64("NaT"), pd.NaT, pd.NA, Decimal("NaN")]
)
def test_a_missing_value_is_absent(value: Any) -> None:
    assert lines([{"id": "a", "text": "t", "field": value}]) == [{"id": "a", "text": "t"}]


def test_the_index_of_a_frame_may_hold_its_ids_and_rows_without_ids_get_them_from_the_embedder() -> None:
    frame = pd.DataFrame({"text": ["a", "b"], "kind": ["x", "y"]})
    assert lines(frame) == [{"text": "a", "kind": "x"}, {"text": "b", "kind": "y"}]
    assert [row["id"] for row in lines(frame.set_index(pd.Index([7, 8], name="id")))] == [7, 8]
    assert "id" not in lines([{"text": "a"}])[0], "a dictionary may have lost its id"


def test_a_series_is_a_list_of_texts_and_frames_of_polars_have_rows() -> None:
    class Polars:
        def to_dict(self, *, as_series: bool = True) -> dict[str, list[str]]:
            raise AssertionError(as_series)

        def to_dicts(self) -> list[dict[str, str]]:
            return [{"id": "a", "text": "t"}]

    assert lines(pd.Series(["a", "b"], name="text")) == lines(["a", "b"])
    assert lines(Polars()) == [{"id": "a", "text": "t"}]


def test_wrong_documents_are_errors_before_anything_is_sent(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"document 0: expected a dictionary or a text, got int"):
        sources.chunks([3])
    with pytest.raises(TypeError, match=r"document 0: .*bytes"):
        sources.chunks([{"id": "a", "text": b"t"}])
    with pytest.raises(TypeError, match="got one dictionary"):
        sources.chunks({"id": "a", "text": "its names are no texts"})
    with pytest.raises(TypeError, match="several fields have the same name"):
        sources.chunks([{"id": "a", "text": "t", 1: "one", "1": "another"}])
    with pytest.raises(TypeError, match="several columns have the same name"):
        sources.chunks(pd.DataFrame([["a", "t", 1, 2]], columns=["id", "text", "m", "m"]))
    nested: list[Any] = []
    nested.append(nested)
    for value in (nested, 10**5000, Decimal("sNaN")):
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
