"""The table of a run's documents: its columns and their types, its rows, and what happens while it is written."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.protobuf.struct_pb2 import Struct
from pyarrow import feather

from prisma.interpreter.v1 import interpreter_service_pb2 as pb2
from prisma_common import wire
from services.chassis import columnar_files
from services.chassis.errors import Aborted, InvalidArgument
from services.chassis.filters import InvalidFilter, parse_filter
from services.chassis.metadata_schema import changed, types_of
from services.chassis.metadata_terms import Type, described
from services.chassis.table_files import Format
from services.embedder.metadata import readable
from services.interpreter import document_sets, document_tables, table_requests
from services.interpreter.document_sets import Dataset
from services.interpreter.document_tables import DocumentTable, document_table
from services.interpreter.documents import Document, Passage
from services.interpreter.errors import FeatureNotFound
from services.interpreter.runs import Run
from services.interpreter.table_features import column_names
from services.interpreter.upstream import plain_struct
from tests.filters import DOCUMENTS, FILTERS, TYPES, matching_rows
from tests.interpreter.planted_run import PlantedRun

FORMATS = {Format.CSV: 1, Format.JSON_LINES: 2, Format.PARQUET: 3, Format.ARROW: 4}
MONTH, FINE = "2021-05", "2021-05-01T00:00:00.1234567"
GROUPS = ("harbour", "bridge", "harbour", "late")
"""Words, also the labels of latents 0 to 3: 0 and 2 have the same one."""
Metadata = Mapping[str, Any]


class Source:
    """Embedder and trainer with some documents, of which every sixth has a feature."""

    def __init__(
        self, metadata: Sequence[Metadata], *, types: Mapping[str, Type] | None = None, groups: Sequence[str] = GROUPS
    ) -> None:
        words = [group.lower() for group in groups]
        texts = [words[row // 6 % len(words)] if row % 6 == 0 else "nothing" for row in range(max(12, len(metadata)))]
        self.planted = PlantedRun(groups, texts)
        self.rows = {row: dict(values) for row, values in enumerate(metadata)}
        self.texts = texts
        self.passages: dict[int, Passage] = {}
        self.requests: list[Sequence[tuple[int, int]]] = []
        self.block_size = 5
        self._types = types if types is not None else types_of(changed({}, map(described, metadata), by=1))

    async def dataset(self, name: str) -> Dataset:
        return Dataset(name=name, uid="v", embedding_model="m", types=self._types, has_passages=bool(self.passages))

    def codes(self, run: Run, ranges: Sequence[tuple[int, int]] = ()) -> AsyncIterator[wire.Codes]:
        return self.planted.codes(run)

    async def document_blocks(
        self, run: Run, fields: Sequence[str], ranges: Sequence[tuple[int, int]] = ()
    ) -> AsyncIterator[Sequence[Document]]:
        self.requests.append(ranges)
        spans = ranges or [(0, len(self.texts))]
        rows = [row for start, end in spans for row in range(start, end) if row in self.rows]
        for start in range(0, len(rows), self.block_size):
            yield [self._document(row) for row in rows[start : start + self.block_size]]

    def _document(self, row: int) -> Document:
        return Document(
            name=f"datasets/d/documents/{row}",
            key=f"k{row}",
            row=row,
            text=self.texts[row],
            metadata=travelled(self.rows[row]),
            passage=self.passages.get(row),
        )


def travelled(metadata: Metadata) -> Metadata:
    """Metadata as the embedder sends it and the interpreter reads it."""
    message = Struct()
    message.update(readable(dict(metadata)))
    return plain_struct(message)


async def table_of(source: Source, format: Format = Format.CSV, **options: Any) -> DocumentTable:
    request = table_requests.document_table(pb2.ExportTableRequest(run="runs/r", format=FORMATS[format], **options))
    return await document_table(request, source.planted.features, source)


def names_of(table: DocumentTable) -> list[str]:
    return [column.name for column in table.columns]


async def file_of(source: Source, format: Format = Format.CSV, **options: Any) -> bytes:
    return b"".join([part async for part in (await table_of(source, format, **options)).file()])


async def arrow_of(source: Source, format: Format = Format.PARQUET, **options: Any) -> pa.Table:
    data = io.BytesIO(await file_of(source, format, **options))
    return pq.read_table(data) if format is Format.PARQUET else feather.read_table(data)


def csv_of(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


async def test_columns_of_parquet_and_arrow_have_the_types_of_their_values() -> None:
    large = 2**53 + 1
    source = Source(
        [
            {"int": 1, "big": large, "unsigned": 2**64 - 1, "both": -1, "number": 4, "flag": True, "day": "2021-05-01"},
            {
                "int": -5,
                "big": -(2**63),
                "unsigned": 7,
                "both": 2**64 - 1,
                "number": 0.1,
                "flag": False,
                "day": "2021-05",
            },
            {
                "time": "2021-05-01T12:00:00.5",
                "instant": "2021-05-01T12:00:00+02:00",
                "fine": "2021-05-01T00:00:00.1234567",
            },
            {
                "time": "2021-05-02",
                "instant": "2021-05-01",
                "fine": "2021-05-01",
                "tags": ["a", None],
                "sizes": [large],
            },
            {"tags": [], "sizes": 5, "deep": [[1], {"a": None}], "author": {"name": "Ü", "ids": [1]}, "mixed": "x"},
            {"mixed": 4, "deep": "flat", "null": None, "author": {"name": "b"}},
        ]
    )
    for format in (Format.PARQUET, Format.ARROW):
        table = await arrow_of(source, format, strongest_count=0)
        types = {field.name: str(field.type).replace("element", "item") for field in table.schema}
        expected = {
            "id": "string",
            "text": "string",
            "author.ids": "list<item: int64>",
            "author.name": "string",
            "big": "int64",
            "both": "decimal128(20, 0)",
            "day": "date32[day]",
            "deep": "string",
            "fine": "string",
            "flag": "bool",
            "instant": "timestamp[us, tz=UTC]",
            "int": "int64",
            "mixed": "string",
            "number": "double",
            "sizes": "list<item: int64>",
            "tags": "list<item: string>",
            "time": "timestamp[us]",
            "unsigned": "uint64",
        }
        assert {name: types[name] for name in expected} == expected and list(types)[: len(expected)] == list(expected)
        assert table["big"].to_pylist() == [large, -(2**63), *[None] * 4]
        assert table["unsigned"].to_pylist()[:2] == [2**64 - 1, 7]
        assert table["both"].to_pylist()[:2] == [Decimal(-1), Decimal(2**64 - 1)]
        assert table["day"].to_pylist()[:3] == [date(2021, 5, 1), date(2021, 5, 1), None]
        assert table["time"].to_pylist()[2:4] == [datetime.fromisoformat("2021-05-01T12:00:00.5"), datetime(2021, 5, 2)]
        instants = [datetime(2021, 5, 1, 10, tzinfo=UTC), datetime(2021, 5, 1, tzinfo=UTC)]
        assert table["instant"].to_pylist()[2:4] == instants
        assert table["fine"].to_pylist()[2:4] == [FINE, "2021-05-01"]
        assert table["tags"].to_pylist()[3:5] == [["a", None], []]
        assert table["sizes"].to_pylist()[3:5] == [[large], [5]]
        assert table["deep"].to_pylist()[4:] == ['[[1],{"a":null}]', '"flat"']
        assert table["author.name"].to_pylist()[4:] == ["Ü", "b"]
        assert table["mixed"].to_pylist()[4:] == ["x", "4"]


async def test_csv_and_json_lines_keep_values_as_they_were_imported() -> None:
    metadata = [
        {"big": 2**63 + 1, "day": "2021-05-01T12:00:00+02:00", "flag": True, "tags": ["a"], "author": {"name": "x"}},
        {"big": 3, "day": "2021-05", "number": 4.5, "author": {}},
    ]
    source = Source(metadata)
    lines = [json.loads(line) for line in (await file_of(source, Format.JSON_LINES, feature_count=0)).splitlines()]
    added = [{"id": f"k{row}", "text": source.texts[row], "features": features(row)} for row in range(2)]
    assert lines == [{**columns, **values} for columns, values in zip(added, metadata, strict=True)]
    first, second = csv_of(await file_of(source, feature_count=0, strongest_count=0))
    assert first == {
        "id": "k0",
        "text": "harbour",
        "author.name": "x",
        "big": "9223372036854775809",
        "day": "2021-05-01T12:00:00+02:00",
        "flag": "true",
        "number": "",
        "tags": '["a"]',
    }
    assert (second["big"], second["day"], second["number"], second["tags"]) == ("3", "2021-05", "4.5", "")


def features(row: int) -> str:
    return "harbour #0 (1); harbour #2 (1)" if row == 0 else ""


@pytest.mark.parametrize("format", [Format.CSV, Format.PARQUET])
async def test_filters_match_what_a_search_matches(format: Format) -> None:
    types = {key: Type(name) for key, name in TYPES.items()}
    source = Source(DOCUMENTS, types=types)
    assert len(FILTERS) > 60
    for text in FILTERS:
        data = await file_of(source, format, filter=text, omit_metadata=True, omit_text=True, feature_count=0)
        table = pq.read_table(io.BytesIO(data)).to_pylist() if format is Format.PARQUET else csv_of(data)
        ids = [row["id"] for row in table]
        assert ids == [f"k{row}" for row in matching_rows(text)], text


async def test_filters_compare_activations_of_the_run() -> None:
    source = Source([{"row": row} for row in range(24)])
    for text, rows in {
        "latent.0 > 0": [0, 12],
        "latent.1 >= 0.5 OR metadata.row = 5": [5, 6],
        "NOT latent.0 > 0 AND metadata.row < 3": [1, 2],
    }.items():
        assert [row["id"] for row in csv_of(await file_of(source, filter=text))] == [f"k{row}" for row in rows], text
    with pytest.raises(FeatureNotFound):
        await table_of(source, filter="latent.9 > 0")
    for text in ("latent.x > 0", "latent.1 > many", "text : a", "metadata.row >", f"metadata.row : {'a' * 501}"):
        with pytest.raises(InvalidFilter):
            await table_of(source, filter=text)
    notices = (await table_of(source, filter="metadata.rwo > 1")).notices
    assert notices == ["no document has the metadata key 'rwo'; did you mean 'row'?"]


def test_bounds_of_activations_are_exact() -> None:
    codes = wire.Codes(
        rows=np.arange(2, dtype=np.uint64),
        indptr=np.array([0, 1, 2], np.uint32),
        indices=np.zeros(2, np.uint32),
        values=np.array([0.3, 0.2], np.float32),
        latent_count=4,
    )
    run = Source([]).planted.features.run
    for text, expected in {
        "latent.0 > 0.3": [True, False],  # float32(0.3) is 0.30000001
        "latent.0 <= 0.3": [False, True],
        "latent.0 = 0.3": [False, False],
    }.items():
        condition = parse_filter(text, document_sets.FILTERS)
        matches = document_sets.matching_rows(condition, run=run, types={}, codes=codes, metadata=[])
        assert matches.tolist() == expected, text


@pytest.mark.parametrize("number", [2**53 + 1, -(2**53) - 1, 2**64 - 1])
async def test_large_integers_beside_fractions_keep_their_digits(number: int) -> None:
    metadata = [{"n": number}, {"n": 0.5}, {"n": -1.5}, {"n": 3}]
    source = Source(metadata)
    values = [str(number), "0.5", "-1.5", "3"]
    assert [row["n"] for row in csv_of(await file_of(source, feature_count=0))][:4] == values
    for format in (Format.PARQUET, Format.ARROW):
        table = await arrow_of(source, format, feature_count=0)
        assert table["n"].type == pa.string() and table["n"].to_pylist()[:4] == values
    lines = [json.loads(line) for line in (await file_of(source, Format.JSON_LINES)).splitlines()]
    assert [line["n"] for line in lines[:4]] == [number, 0.5, -1.5, 3]


async def test_integers_that_doubles_represent_stay_numbers_beside_fractions() -> None:
    table = await arrow_of(Source([{"n": 2**53 + 2}, {"n": 0.5}]), feature_count=0)
    assert table["n"].to_pylist()[:2] == [2**53 + 2, 0.5]


async def test_json_lines_have_only_the_keys_that_are_named() -> None:
    source = Source([{"author": {"name": "x", "mail": {"home": "y"}}, "a.b": 1, "z": [2]}, {"author": {"mail": {}}}])
    table = await table_of(source, Format.JSON_LINES, metadata_keys=["author.name", "a", "q"], feature_count=0)
    assert table.notices == ["no document has the metadata key 'q'"]
    first, second = [json.loads(line) for line in b"".join([part async for part in table.file()]).splitlines()][:2]
    assert first == {"id": "k0", "text": "harbour", "author": {"name": "x"}, "a.b": 1, "features": features(0)}
    assert "author" not in second


async def test_json_lines_have_any_number_of_keys() -> None:
    source = Source([{f"key {row} {place}": place for place in range(100)} for row in range(11)])
    lines = [json.loads(line) for line in (await file_of(source, Format.JSON_LINES, feature_count=0)).splitlines()]
    for line, metadata in zip(lines, source.rows.values(), strict=False):
        assert metadata.items() <= line.items() and len(line) == 103


async def test_names_of_keys_differ_from_all_others_whatever_the_case() -> None:
    source = Source([{"ID": 1, "Year": 2, "year": 3, "YEAR": 4, "Feature: x": 5, "Metadata.z": 6}])
    options: dict[str, Any] = {"feature_count": 0, "strongest_count": 0}
    names = names_of(await table_of(source, **options))
    assert names == [
        "id", "text", "metadata.Feature: x", "metadata.ID", "metadata.Metadata.z",
        "YEAR", "metadata.Year", "metadata.year #2",
    ]  # fmt: skip
    (row, *_) = csv_of(await file_of(source, **options))
    assert (row["YEAR"], row["metadata.Year"], row["metadata.year #2"], row["metadata.ID"]) == ("4", "2", "3", "1")
    line = json.loads((await file_of(source, Format.JSON_LINES, **options)).splitlines()[0])
    assert (line["year"], line["Year"], line["id"], line["metadata.ID"]) == (3, 2, "k0", 1)


async def test_each_trusted_feature_is_a_column_of_activations() -> None:
    source = Source([{}] * 24)
    table = await arrow_of(source)
    assert table.column_names == [
        "id", "text", "features", "feature: harbour #0", "feature: harbour #2", "feature: bridge", "feature: late",
    ]  # fmt: skip
    codes = wire.concatenate([part async for part in source.planted.codes(source.planted.run)], 4)
    for index, name in enumerate(("harbour #0", "bridge", "harbour #2", "late")):
        dense = np.zeros(24, np.float32)
        rows = np.repeat(np.arange(24), np.diff(codes.indptr.astype(int)))
        dense[rows[codes.indices == index]] = codes.values[codes.indices == index]
        column = table[f"feature: {name}"]
        assert column.type == pa.float32() and column.to_numpy().tolist() == dense.tolist() and dense.any()
        assert table.schema.field(f"feature: {name}").metadata == {b"prisma.feature": str(index).encode()}
    about = json.loads(table.schema.metadata[b"prisma"])
    assert (about["run"], about["dataset"], about["notices"]) == ("runs/r", "datasets/d", [])
    assert about["features"][0] == {"column": "feature: harbour #0", "index": 0, "label": "harbour", "trust": "TRUSTED"}
    assert table["features"].to_pylist()[:2] == ["harbour #0 (1); harbour #2 (1)", ""]


async def test_features_are_chosen_by_count_filter_and_index() -> None:
    source = Source([{}] * 24)
    table = await table_of(source, feature_count=2, strongest_count=1)
    assert names_of(table) == [
        "id",
        "text",
        "features",
        "feature: harbour #0",
        "feature: harbour #2",
    ]
    assert table.notices == ["4 features count, of which the 2 most frequent ones are columns"]
    assert (await arrow_of(source, strongest_count=1))["features"].to_pylist()[::6] == [
        "harbour #0 (1)", "bridge (1)", "harbour #0 (1)", "late (1)",
    ]  # fmt: skip
    names = names_of(await table_of(source, indices=[3, 1, 3], strongest_count=0))
    assert names == ["id", "text", "feature: late", "feature: bridge"]
    names = names_of(await table_of(source, feature_filter="index > 1", omit_text=True))
    assert names == ["id", "features", "feature: harbour", "feature: late"]
    assert (await table_of(source, feature_filter="index > 99")).notices == [
        "No feature of runs/r matches the filter of features"
    ]
    for wrong in (
        {"feature_count": 2001},
        {"strongest_count": 51},
        {"indices": range(2001)},
        {"indices": [1], "feature_filter": "index > 1"},
        {"indices": [1], "feature_count": 1},
        {"byte_order_mark": True},
        {"keep_formulas": True},
        {"metadata_keys": ["a"], "omit_metadata": True},
    ):
        with pytest.raises(InvalidArgument, match="|".join(wrong)):
            await table_of(source, Format.PARQUET, **wrong)
    with pytest.raises(FeatureNotFound):
        await table_of(source, indices=[9])


async def test_activations_below_a_threshold_count_only_where_they_are_requested() -> None:
    source = Source([{}] * 12)
    source.planted = PlantedRun(GROUPS, source.texts, thresholds={0: 1.5})
    assert not (await arrow_of(source))["feature: harbour #0"].to_numpy().any()
    assert (await arrow_of(source))["features"][0].as_py() == "harbour #2 (1)"
    assert (await arrow_of(source, include_tail=True))["feature: harbour #0"].to_numpy().any()


async def test_a_run_without_trusted_labels_is_exported_with_a_notice() -> None:
    source = Source([{}] * 24)
    features = source.planted.features
    source.planted.features = replace(features, labels={})
    table = await table_of(source)
    assert names_of(table)[3:] == [f"feature: {index}" for index in (0, 2, 1, 3)]
    assert table.notices == ["runs/r has no labels: all features count, and are called by their indices"]

    untested = {
        index: replace(label, draft=replace(label.draft, scores=None)) for index, label in features.labels.items()
    }
    source.planted.features = replace(features, labels=untested)
    table = await table_of(source)
    assert len(table.columns) == 7 and "No feature of runs/r is trusted" in table.notices[0]

    source.planted = PlantedRun(GROUPS, source.texts, doubtful=range(4))
    table = await table_of(source)
    assert names_of(table) == ["id", "text", "features"]
    assert table.notices == ["No feature of runs/r counts: label its features, or set the filter of features"]


def test_names_of_columns_differ_whatever_the_case() -> None:
    groups = ("a", "A", "a #0", "b")
    features = PlantedRun(groups, ["a b"]).features
    assert column_names(features, range(4)) == {0: "a #0 #0", 1: "A #1", 2: "a #0 #2", 3: "b"}
    assert column_names(features, [0, 3]) == {0: "a", 3: "b"}


async def test_keys_that_other_columns_have_are_renamed_and_keys_can_be_selected() -> None:
    source = Source([{"id": 1, "text": "t", "feature: x": 2, "passage": 3, "a": {"b": 4, "c": 5}, "ab": 6, "z": 7}])
    names = names_of(await table_of(source, feature_count=0, strongest_count=0))
    assert names == [
        "id", "text", "a.b", "a.c", "ab",
        "metadata.feature: x", "metadata.id", "metadata.passage", "metadata.text", "z",
    ]  # fmt: skip
    table = await table_of(source, metadata_keys=["a", "zz"], feature_count=0, strongest_count=0)
    assert names_of(table) == ["id", "text", "a.b", "a.c"]
    assert table.notices == ["no document has the metadata key 'zz'; did you mean 'z'?"]
    table = await table_of(source, metadata_keys=["a.c", "z"], feature_count=0, strongest_count=0)
    assert names_of(table) == ["id", "text", "a.c", "z"] and not table.notices
    many = Source([{f"key {row} {place}": 1 for place in range(100)} for row in range(11)])
    with pytest.raises(InvalidArgument, match="more than 1,000 keys"):
        await table_of(many)
    assert len((await table_of(many, metadata_keys=["key 3 4"], feature_count=0)).columns) == 4


async def test_a_csv_file_is_safe_in_a_spreadsheet_and_exact_where_it_is_requested() -> None:
    texts = ["=1+1", "+49", "-5", "@x", "\tx", "\rx", 'say "hi", ü\r\nnext', "5-1"]
    source = Source([{"note": text, "number": -1.5} for text in texts])
    rows = csv_of(await file_of(source, feature_count=0))
    assert [row["note"] for row in rows] == [*(f"'{text}" for text in texts[:6]), *texts[6:]]
    assert {row["number"] for row in rows} == {"-1.5"}
    data = await file_of(source, feature_count=0, keep_formulas=True, byte_order_mark=True)
    assert data.startswith(b"\xef\xbb\xbfid,text,")
    assert [row["note"] for row in csv_of(data)] == texts


@pytest.mark.parametrize("format", Format)
async def test_a_table_can_be_without_documents(format: Format) -> None:
    for source, options in ((Source([]), {}), (Source([{"a": 1}] * 3), {"filter": "metadata.a > 1"})):
        data = await file_of(source, format, **options)
        if format is Format.CSV:
            assert data.startswith(b"id,text,") and data.count(b"\r\n") == 1
        elif format is Format.JSON_LINES:
            assert data == b""
        else:
            assert (await arrow_of(source, format, **options)).num_rows == 0


async def test_passages_say_where_they_stand() -> None:
    source = Source([{"a": 1}, {"a": 1}])
    place = Passage(name="p", row=1, document="datasets/d/documents/x", index=0, count=2, start=0, end=9)
    source.passages = {0: place, 1: replace(place, index=1, start=7, end=20)}
    table = await arrow_of(source, feature_count=0, strongest_count=0)
    assert table.column_names == ["id", "passage", "passage_count", "passage_start", "passage_end", "text", "a"]
    assert table.slice(1).to_pylist()[0] == {
        "id": "k1", "passage": 1, "passage_count": 2, "passage_start": 7, "passage_end": 20, "text": "nothing", "a": 1,
    }  # fmt: skip


async def test_deleted_documents_are_left_out_and_changed_ones_are_read_again() -> None:
    source = Source([{"a": row} for row in range(12)])
    del source.rows[3]
    late = source.rows.pop(5)
    read_blocks = source.document_blocks

    async def with_a_change(run: Run, fields: Sequence[str], ranges: Sequence[tuple[int, int]] = ()) -> Any:
        async for block in read_blocks(run, fields, ranges):
            yield block
        if len(source.requests) == 2:  # the first reads metadata alone, the second the first rows
            source.rows[5] = late

    source.document_blocks = with_a_change
    rows = csv_of(await file_of(source))
    assert sorted(int(row["a"]) for row in rows) == [0, 1, 2, *range(4, 12)]


@pytest.mark.parametrize("format", [Format.PARQUET, Format.CSV])
async def test_a_document_that_no_longer_fits_its_column_fails_the_export(format: Format) -> None:
    source = Source([{"a": row} for row in range(12)])
    table = await table_of(source, format)
    source.rows[9] = {"a": "text"}
    with pytest.raises(Aborted, match="changed while the table was written"):
        _parts = [part async for part in table.file()]


async def test_memory_holds_a_few_blocks_however_many_documents_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document_tables, "CODE_ROWS", 50)
    monkeypatch.setattr(columnar_files, "GROUP_ROWS", 100)
    source = Source([{"a": row} for row in range(3000)])
    for format in Format:
        requests: list[int] = []
        source.requests.clear()
        table = await table_of(source, format)
        async for _part in table.file():
            requests.append(len(source.requests))
        # The file grows as documents are read: each block of 50 leaves memory after at most two more.
        steps = np.diff([1, *requests])
        assert steps.max() <= 3 and requests[-1] == 1 + 60, format
        assert all(end - start <= 50 for ranges in source.requests[1:] for start, end in ranges)


async def test_a_client_that_leaves_stops_the_reading() -> None:
    source = Source([{"a": row} for row in range(600)])
    table = await table_of(source)
    file = table.file()
    assert await anext(file)
    await file.aclose()
    count = len(source.requests)
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(source.requests) == count == 2
