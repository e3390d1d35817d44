"""Tables as files: types, order and absent cells in all formats, and a bounded number of rows in memory."""

from __future__ import annotations

import csv
import datetime
import io
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import feather

from services.chassis import columnar_files
from services.chassis.table_files import (
    PART_BYTES,
    Batch,
    Column,
    FileOptions,
    Format,
    ValueType,
    json_text,
    open_writer,
    write_table,
)

NOON = datetime.datetime(2026, 1, 2, 12, 0, 0, 5)
COLUMNS = [
    Column(name="id", type=ValueType.TEXT),
    Column(name="flag", type=ValueType.BOOLEAN),
    Column(name="small", type=ValueType.INTEGER),
    Column(name="large", type=ValueType.UNSIGNED),
    Column(name="both", type=ValueType.DECIMAL),
    Column(name="number", type=ValueType.NUMBER),
    Column(name="day", type=ValueType.DATE),
    Column(name="time", type=ValueType.TIME),
    Column(name="instant", type=ValueType.INSTANT),
    Column(name="tags", type=ValueType.TEXT, is_list=True),
    Column(name="nested", type=ValueType.JSON),
    Column(name="activation", type=ValueType.FLOAT32, attributes={"prisma.feature": "3"}),
]
ROWS: list[list[Any]] = [
    ["a", True, -(2**63), 2**64 - 1, 2**64 - 1, 0.1, NOON.date(), NOON, NOON.replace(tzinfo=datetime.UTC), ["x", "y"]],
    ["=1+1", False, 2**53 + 1, 0, -1, -4.0, datetime.date(1, 1, 1), NOON, None, []],
    ['say "hi",\r\nthen\ttabs – ü 👍🏽', *[None] * 9],
]
NESTED = [{"a": [1, None]}, [], None]
ACTIVATIONS = np.array([0, 0.1, 2.5], np.float32)


def batch() -> Batch:
    return [*zip(*ROWS, strict=True), NESTED, ACTIVATIONS]


def file_of(format: Format, batches: Sequence[Batch] = (), **options: Any) -> bytes:
    writer = open_writer(COLUMNS, FileOptions(format=format, **options))
    return b"".join([*[writer.write(rows) for rows in batches], writer.finish()])


def read(format: Format, data: bytes) -> pa.Table:
    return pq.read_table(io.BytesIO(data)) if format is Format.PARQUET else feather.read_table(io.BytesIO(data))


@pytest.mark.parametrize("format", [Format.PARQUET, Format.ARROW])
def test_columnar_files_keep_all_values_and_types(format: Format) -> None:
    table = read(format, file_of(format, [batch(), batch()], attributes={"prisma": "{}"}))
    types = [pa.string(), pa.bool_(), pa.int64(), pa.uint64(), pa.decimal128(20, 0), pa.float64(), pa.date32()]
    types += [pa.timestamp("us"), pa.timestamp("us", "UTC"), pa.list_(pa.string()), pa.string(), pa.float32()]
    assert [kind.equals(type_) for kind, type_ in zip(table.schema.types, types, strict=True)] == [True] * len(types)
    for column, cells in zip(COLUMNS, batch(), strict=True):
        expected = [None if cell is None else json_text(cell) for cell in cells] if column.name == "nested" else cells
        assert table[column.name].to_pylist() == [*expected, *expected], column
    assert table.schema.metadata[b"prisma"] == b"{}"
    assert table.schema.field("activation").metadata[b"prisma.feature"] == b"3"


def test_csv_keeps_texts_and_guards_formulas() -> None:
    data = file_of(Format.CSV, [batch()])
    header, first, formula, *last = csv.reader(io.StringIO(data.decode(), newline=""))
    assert header == [column.name for column in COLUMNS]
    assert first == [
        "a", "true", "-9223372036854775808", "18446744073709551615", "18446744073709551615", "0.1", "2026-01-02",
        "2026-01-02T12:00:00.000005", "2026-01-02T12:00:00.000005+00:00", '["x","y"]', '{"a":[1,null]}', "0.0",
    ]  # fmt: skip
    assert formula[:5] == ["'=1+1", "false", "9007199254740993", "0", "-1"]
    assert last == [[ROWS[2][0], *[""] * 10, "2.5"]]
    exact = file_of(Format.CSV, [batch()], keeps_formulas=True, byte_order_mark=True).decode()
    assert exact.startswith("\ufeffid,flag") and "\r\n=1+1,false" in exact


def test_json_lines_leave_out_what_has_no_value() -> None:
    first, formula, last = map(json.loads, file_of(Format.JSON_LINES, [batch()]).splitlines())
    assert first["large"] == 2**64 - 1 and first["nested"] == {"a": [1, None]} and first["activation"] == 0
    assert (formula["id"], formula["small"], formula["tags"]) == ("=1+1", 2**53 + 1, [])
    assert last == {"id": ROWS[2][0], "activation": 2.5}


@pytest.mark.parametrize("format", Format)
def test_a_table_without_rows_is_a_file(format: Format) -> None:
    data = file_of(format)
    if format is Format.CSV:
        assert data.decode() == ",".join(column.name for column in COLUMNS) + "\r\n"
    elif format is Format.JSON_LINES:
        assert data == b""
    else:
        assert read(format, data).num_rows == 0 and read(format, data).num_columns == len(COLUMNS)


def test_a_value_that_is_not_of_its_columns_type_is_an_error() -> None:
    for column, value in ((COLUMNS[2], 2**63), (COLUMNS[6], "someday"), (COLUMNS[1], "yes")):
        with pytest.raises(ValueError, match=column.name):
            open_writer([column], FileOptions(format=Format.PARQUET)).write([[value]])


@pytest.mark.parametrize("format", [Format.PARQUET, Format.ARROW])
def test_rows_leave_memory_in_groups(format: Format, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columnar_files, "GROUP_ROWS", 7)
    writer = open_writer(COLUMNS[:1], FileOptions(format=format))
    parts = [writer.write([[f"{number} {place}" for place in range(3)]]) for number in range(10)]
    assert [bool(part) for part in parts[2::3]] == [True] * 3  # 9 rows are above 7
    data = b"".join([*parts, writer.finish()])
    assert read(format, data)["id"].to_pylist() == [f"{number} {place}" for number in range(10) for place in range(3)]
    monkeypatch.setattr(columnar_files, "GROUP_BYTES", 1)
    writer = open_writer(COLUMNS[:1], FileOptions(format=format))
    assert len(writer.write([["x"]])) > 0


async def test_a_file_comes_in_parts_and_ends_with_the_error_of_its_rows() -> None:
    async def batches(end: bool) -> AsyncIterator[Batch]:
        yield [["x" * (3 * PART_BYTES)]]
        if not end:
            raise OSError("gone")

    writer = open_writer(COLUMNS[:1], FileOptions(format=Format.CSV))
    parts = [part async for part in write_table(writer, batches(end=True))]
    assert max(map(len, parts)) == PART_BYTES and len(b"".join(parts)) == 3 * PART_BYTES + 6
    with pytest.raises(OSError, match="gone"):
        async for _part in write_table(open_writer(COLUMNS[:1], FileOptions(format=Format.CSV)), batches(end=False)):
            pass
