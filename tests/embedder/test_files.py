"""Files as other tools write them: every row comes in, with the same text and types, and guesses are said."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import random
import string
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import duckdb
import hypothesis.strategies as st
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xlsxwriter
from backports import zstd
from hypothesis import given, settings
from pyarrow import ipc

from services.embedder.documents import NewDocument
from services.embedder.errors import FileTooLarge, InvalidFile
from services.embedder.files.documents import read_documents
from services.embedder.files.fields import find_fields
from services.embedder.files.formats import FileOptions, Format, Layout, Limits
from services.embedder.files.opening import open_file
from services.embedder.items import FieldOptions, Fields, IdSource, Reason, Rejection
from tests.archives import zipped
from tests.embedder import libreoffice
from tests.embedder.hostile_files import tarred

LIMITS = Limits(item_bytes=1 << 22, file_bytes=1 << 26)
TEXTS = [
    "A plain text.",
    'With "quotes", a comma; a semicolon and a\ttab',
    "Two\nlines",
    "Two\r\nlines of Windows",
    "naïve café, 東京, हिन्दी, 👩‍🔬, \u2028 and é",
    " spaces at both ends ",
    "=1+1",
    "00123",
]
ROWS: list[dict[str, Any]] = [
    {
        "key": f"k{row:03}",
        "body": f"{TEXTS[row % len(TEXTS)]}#{row}",
        "stars": row % 5,
        "price": row + 0.25,
        "new": row % 2 == 0,
    }
    for row in range(40)
]


class Read:
    """What a file gives."""

    def __init__(self, data: bytes, options: FileOptions | None = None, fields: FieldOptions | None = None) -> None:
        reader = open_file(io.BytesIO(data), options or FileOptions(), LIMITS)
        guess = find_fields(reader, fields or FieldOptions())
        items = list(read_documents(reader, guess.fields, 1 << 20))
        self.layout: Layout = reader.layout
        self.fields: Fields = guess.fields
        self.notes = [*reader.layout.notes, *guess.notes]
        self.rejections = [item for item in items if isinstance(item, Rejection)]
        self.documents: list[NewDocument] = [item[1] for item in items if not isinstance(item, Rejection)]


def written(write: Callable[[Path], object], name: str, folder: Path) -> bytes:
    path = folder / name
    write(path)
    return path.read_bytes()


def csv_file(rows: list[dict[str, Any]] = ROWS, **options: Any) -> bytes:
    buffer = io.BytesIO()
    pd.DataFrame(rows).to_csv(buffer, index=False, **options)
    return buffer.getvalue()


def duckdb_copy(path: Path, options: str) -> None:
    duckdb.from_arrow(pa.Table.from_pylist(ROWS)).query("rows", f"COPY (SELECT * FROM rows) TO '{path}' ({options})")


FILES: dict[str, Callable[[Path], bytes]] = {
    "pandas.csv": lambda _folder: csv_file(),
    "pandas.tsv": lambda _folder: csv_file(sep="\t"),
    "pandas semicolons": lambda _folder: csv_file(sep=";", quoting=1),
    "pandas utf-8-sig": lambda _folder: csv_file(encoding="utf-8-sig"),
    "pandas utf-16": lambda _folder: csv_file(encoding="utf-16"),
    "pandas windows line ends": lambda _folder: csv_file(lineterminator="\r\n"),
    "pandas.parquet": lambda folder: written(pd.DataFrame(ROWS).to_parquet, "a.parquet", folder),
    "pandas.feather": lambda folder: written(pd.DataFrame(ROWS).to_feather, "a.feather", folder),
    "pandas.xlsx": lambda folder: written(
        lambda path: pd.DataFrame(ROWS).to_excel(
            path, index=False, engine="xlsxwriter", engine_kwargs={"options": {"strings_to_formulas": False}}
        ),
        "a.xlsx",
        folder,
    ),
    "pandas.jsonl": lambda folder: written(
        lambda path: pd.DataFrame(ROWS).to_json(path, orient="records", lines=True), "a.jsonl", folder
    ),
    "pandas.json": lambda folder: written(lambda path: pd.DataFrame(ROWS).to_json(path, orient="records"), "a", folder),
    "polars.csv": lambda folder: written(pl.DataFrame(ROWS).write_csv, "b.csv", folder),
    "polars.parquet": lambda folder: written(pl.DataFrame(ROWS).write_parquet, "b.parquet", folder),
    "polars.arrow": lambda folder: written(pl.DataFrame(ROWS).write_ipc, "b.arrow", folder),
    "polars arrow stream": lambda folder: written(pl.DataFrame(ROWS).write_ipc_stream, "b.arrows", folder),
    "polars.ndjson": lambda folder: written(pl.DataFrame(ROWS).write_ndjson, "b.ndjson", folder),
    "duckdb.csv": lambda folder: written(lambda path: duckdb_copy(path, "HEADER"), "c.csv", folder),
    "duckdb.parquet": lambda folder: written(lambda path: duckdb_copy(path, "FORMAT parquet"), "c.parquet", folder),
    "duckdb.json": lambda folder: written(lambda path: duckdb_copy(path, "FORMAT json"), "c.json", folder),
    "gzip": lambda _folder: gzip.compress(csv_file()),
    "bzip2": lambda _folder: bz2.compress(csv_file()),
    "xz": lambda _folder: lzma.compress(csv_file()),
    "Zstandard": lambda _folder: zstd.compress(csv_file()),
    "zip": lambda _folder: zipped({"a.csv": csv_file()}),
    "tar.gz of parts": lambda _folder: gzip.compress(
        tarred({"data/0.csv": csv_file(ROWS[:15]), "data/1.csv": csv_file(ROWS[15:]), "README.md": b"# Read me"})
    ),
    "zip of gzip": lambda _folder: zipped({"a.csv.gz": gzip.compress(csv_file())}),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_of_another_tool_comes_in_row_by_row(kind: str, tmp_path: Path) -> None:
    read = Read(FILES[kind](tmp_path))
    assert read.rejections == []
    assert [(document.key, document.text) for document in read.documents] == [(row["key"], row["body"]) for row in ROWS]
    for document, row in zip(read.documents, ROWS, strict=True):
        assert document.metadata == {"stars": row["stars"], "price": row["price"], "new": row["new"]}
        assert isinstance(document.metadata["stars"], int)
        assert isinstance(document.metadata["new"], bool)


@pytest.mark.parametrize("suffix", libreoffice.FORMATS)
def test_a_workbook_of_libreoffice_comes_in_row_by_row(suffix: str) -> None:
    data = (libreoffice.FOLDER / f"reviews.{suffix}").read_bytes()
    read = Read(data)
    rows = libreoffice.rows()
    assert (read.fields.id_field, read.fields.text_fields, read.layout.sheet) == ("key", ("body",), "reviews")
    empty = [place for place, row in enumerate(rows, start=1) if row["body"] is None]
    assert [(rejection.item, rejection.table) for rejection in read.rejections] == [
        (place, "reviews") for place in empty
    ]
    valid = [row for row in rows if row["body"] is not None]
    for document, row in zip(read.documents, valid, strict=True):
        text = row["body"].replace("\r\n", "\n")  # as LibreOffice has lines
        assert document.key == row["key"]
        assert document.text == (text if suffix == "xlsx" else text.replace("\t", ""))  # it writes no tab into .ods
        expected = {name: value for name, value in row.items() if name not in ("key", "body") and value is not None}
        assert document.metadata == expected
        assert [type(document.metadata[name]) for name in ("helpful", "verified", "date", "code")] == [
            int,
            bool,
            str,
            str,
        ]


def test_a_hugging_face_dataset_comes_in_as_it_lies_on_disk(tmp_path: Path) -> None:
    datasets.Dataset.from_list(ROWS).save_to_disk(tmp_path / "saved", num_shards=3)
    files = {path.name: path.read_bytes() for path in (tmp_path / "saved").iterdir()}
    assert {"dataset_info.json", "state.json"} < files.keys()
    read = Read(tarred({f"saved/{name}": data for name, data in files.items()}))
    assert [document.text for document in read.documents] == [row["body"] for row in ROWS]
    assert "3 files are read as one table." in read.notes


def test_text_files_are_documents_by_path() -> None:
    files = {
        "b/two.txt": "café".encode("windows-1252"),
        "a/one.md": b"\xef\xbb\xbf# One",
        "c.txt": "três".encode("utf-16"),
    }
    files |= {"__MACOSX/x.txt": b"no", ".hidden.txt": b"no", "picture.png": b"\x89PNG", "empty.txt": b" "}
    read = Read(zipped(files))
    assert {document.key: document.text for document in read.documents} == {
        "a/one.md": "# One",
        "b/two.txt": "café",
        "c.txt": "três",
    }
    assert [(rejection.key, rejection.reason) for rejection in read.rejections] == [("empty.txt", Reason.INVALID_TEXT)]
    assert read.layout.format is Format.TEXT_FILES


def test_lines_are_documents_where_the_caller_says_so() -> None:
    read = Read(b"One text, with a comma.\r\n\r\nAnother.\n", FileOptions(format=Format.TEXT_LINES))
    assert [document.text for document in read.documents] == ["One text, with a comma.", "Another."]


def test_what_is_guessed_is_said_and_can_be_set() -> None:
    data = "Prénom;Avis\nZoé;très long et très bien écrit\nNoël;court mais assez long aussi\n".encode("windows-1252")
    read = Read(data)
    assert [document.text for document in read.documents] == [
        "très long et très bien écrit",
        "court mais assez long aussi",
    ]
    assert (read.layout.encoding, read.layout.delimiter) == ("windows-1252", ";")
    assert any("Windows-1252" in note for note in read.notes)
    assert any("'Avis'" in note for note in read.notes)
    assert any("digest" in note for note in read.notes)
    read = Read(data, FileOptions(encoding="cp1250"), FieldOptions("Prénom", ("Prénom", "Avis"), ()))
    assert read.documents[1] == NewDocument("Noël", "Noël\n\ncourt mais assez long aussi", {})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (FieldOptions(text_fields=("no",)), "no field is called 'no'; the fields are 'key', 'body', 'stars'"),
        (FieldOptions(id_field="ids"), "no field is called 'ids'"),
        (FieldOptions(metadata_fields=("x",)), "no field is called 'x'"),
    ],
)
def test_a_field_that_is_missing_is_said_once(fields: FieldOptions, message: str) -> None:
    with pytest.raises(InvalidFile, match=message):
        Read(csv_file(), fields=fields)


def test_types_are_those_of_all_cells_of_a_column() -> None:
    table = "id,text,zip,count,share,flag,mixed,large,gap\n"
    table += "1,first text,01234,1,0.5,true,1,9007199254740993,NaN\n"
    table += "2,second text,99999,2,1e-3,FALSE,one,1,3\n"
    table += "3,third text,,,inf,,,,\n"
    read = Read(table.encode())
    assert [dict(document.metadata) for document in read.documents] == [
        {"zip": "01234", "count": 1, "share": 0.5, "flag": True, "mixed": "1", "large": 9007199254740993},
        {"zip": "99999", "count": 2, "share": 1e-3, "flag": False, "mixed": "one", "large": 1, "gap": 3},
        {},
    ]


def test_columns_of_arrow_keep_what_json_can_hold() -> None:
    day = pd.Timestamp("2026-01-02T03:04:05.123456")
    table = pa.table(
        {
            "id": pa.array([1, 2**60], pa.int64()),
            "text": pa.array(["a text", "b text"]).dictionary_encode(),
            "time": pa.array([day, None], pa.timestamp("ns")),
            "exact": pa.array([day.value + 1, None]).cast(pa.timestamp("ns")),
            "wide": pa.array([1, 2**64 - 1], pa.uint64()),
            "nan": pa.array([float("nan"), float("inf")]),
            "tags": pa.array([["x", None], []]),
            "nested": pa.array([{"a": 1}, None]),
            "vector": pa.array([[0.5] * 16, [1.0] * 16], pa.list_(pa.float32())),
            "scores": pa.array([[0.5] * 4, None], pa.list_(pa.float32())),
        }
    )
    sink = io.BytesIO()
    with ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    read = Read(sink.getvalue())
    assert [document.key for document in read.documents] == ["1", str(2**60)]
    assert read.documents[0].metadata == {
        "time": "2026-01-02T03:04:05.123456",
        "exact": "2026-01-02T03:04:05.123456001",
        "wide": 1,
        "tags": ["x", None],
        "nested": {"a": 1},
        "scores": [0.5] * 4,
    }
    assert read.documents[1].metadata == {"wide": 2**64 - 1, "tags": []}
    assert read.fields.vector_field == "vector"


def test_documents_without_ids_get_digests_of_their_texts_and_all_come_in() -> None:
    read = Read(b"text\nsame text\nother text\nsame text\n")
    keys = [document.key for document in read.documents]
    assert len(set(keys)) == 3
    assert keys[2] == f"{keys[0]}-2"
    assert keys == [document.key for document in Read(b"text\nsame text\nother text\nsame text\n").documents]


def test_a_column_called_id_need_not_hold_the_ids() -> None:
    table = b"id,text,n\n7,same text,1\n7,same text,2\n,other text,3\n"
    assert [document.key for document in Read(table).documents] == ["7"]
    by_text = Read(table, fields=FieldOptions(id_source=IdSource.TEXT))
    keys = [document.key for document in by_text.documents]
    assert keys[1] == f"{keys[0]}-2"
    assert [document.metadata for document in by_text.documents] == [{"id": 7, "n": 1}, {"id": 7, "n": 2}, {"n": 3}]
    by_row = Read(table, fields=FieldOptions(id_source=IdSource.ROW))
    assert [document.key for document in by_row.documents] == ["1", "2", "3"]
    assert (by_row.fields.id_field, by_row.fields.id_source, by_row.notes) == (None, IdSource.ROW, [])
    with pytest.raises(InvalidFile, match="no field seems to hold ids; the fields are 'text'"):
        Read(b"text\na text\n", fields=FieldOptions(id_source=IdSource.FIELD))


def test_ids_by_row_are_places_as_reports_count_them() -> None:
    lines = b'{"text": "one"}\n\n{"text": ""}\n{"text": "four"}\n'
    read = Read(lines, fields=FieldOptions(id_source=IdSource.ROW))
    assert [document.key for document in read.documents] == ["1", "4"]
    assert [rejection.item for rejection in read.rejections] == [3]


@pytest.mark.parametrize("form", ["table", "objects", "documents of the API"])
def test_metadata_may_be_none_although_there_are_columns(form: str) -> None:
    exported = {"name": "datasets/d/documents/a", "key": "a", "text": "a text", "metadata": {"n": 1, "m": 2}}
    plain = {"id": "a", "text": "a text", "n": 1, "m": 2}
    rows = {"table": csv_file([plain]), "objects": json.dumps([plain]).encode()}
    data = rows.get(form) or json.dumps([exported]).encode()
    for fields, metadata in ((None, {"n": 1, "m": 2}), ((), {}), (("n",), {"n": 1})):
        assert Read(data, fields=FieldOptions(metadata_fields=fields)).documents[0].metadata == metadata


def test_documents_of_the_api_may_get_other_ids() -> None:
    exported = {"name": "datasets/d/documents/a", "key": "a", "text": "a text", "metadata": {"n": 1}}
    (document,) = Read(json.dumps([exported]).encode(), fields=FieldOptions(id_source=IdSource.ROW)).documents
    assert (document.key, document.text) == ("1", "a text")
    assert document.metadata == {"name": "datasets/d/documents/a", "key": "a", "n": 1}


def test_a_broken_row_is_rejected_alone() -> None:
    table = b'id,text\n1,one text\n2,two,too many\n3\n4,"a "quote" inside"\n5,\xc3\xa9\xff\n6,"last, of all"\n'
    read = Read(table, FileOptions(format=Format.CSV))
    assert [document.key for document in read.documents] == ["1", "6"]
    reasons = [(rejection.item, rejection.reason) for rejection in read.rejections]
    assert reasons == [
        (2, Reason.INVALID_ROW),
        (3, Reason.INVALID_ROW),
        (4, Reason.INVALID_ROW),
        (5, Reason.INVALID_UTF8),
    ]


@pytest.mark.parametrize("end", [b"", b'9,"quoted"\n10,fine\n'])
def test_a_quote_that_is_not_closed_takes_no_other_row_with_it(end: bytes) -> None:
    rows = b"".join(b"%d,text number %d\n" % (row, row) for row in range(2, 9))
    read = Read(b'id,text\n1,"5 inch\n' + rows + end)
    assert [(rejection.item, rejection.reason) for rejection in read.rejections] == [(1, Reason.INVALID_ROW)]
    assert [document.key for document in read.documents] == [str(row) for row in range(2, 11 if end else 9)]


@pytest.mark.parametrize(
    "cells",
    [
        ["18446744073709551616", "1"],
        ["+4915112345678", "1"],
        ["3.14159265358979323846", "1"],
        ["1e400", "1"],
        ["01234", "1"],
        ["1_000", "1"],
    ],
)
def test_a_number_that_would_be_changed_stays_text(cells: list[str]) -> None:
    table = "".join(f"{row},some text,{cell}\n" for row, cell in enumerate(cells))
    documents = Read(f"id,text,value\n{table}".encode()).documents
    assert [document.metadata["value"] for document in documents] == cells


def test_a_header_may_have_a_name_twice_if_another_is_usual() -> None:
    read = Read(b"id,text,note,note\n1,A text.,b,c\n")
    assert [document.metadata for document in read.documents] == [{"note": "b", "note_4": "c"}]
    assert "Some columns have the same name" in " ".join(read.notes)


def test_columns_are_told_apart() -> None:
    read = Read(
        b"id,text,column_4,,a_6,a,a\n1,some text,first,second,third,fourth,fifth\n", FileOptions(has_header=True)
    )
    assert sorted(map(str, read.documents[0].metadata.values())) == ["fifth", "first", "fourth", "second", "third"]
    many = b"id,text," + b"a," * 5000 + b"\n1,some text," + b"x," * 5000 + b"\n"
    assert len(Read(many, FileOptions(has_header=True)).notes) < 5


def test_a_first_row_that_is_taken_as_names_is_shown(tmp_path: Path) -> None:
    frame = pd.DataFrame([["negative", "I hate this so"]], columns=["positive", "I love this"])
    workbook = written(lambda path: frame.to_excel(path, index=False, engine="xlsxwriter"), "a.xlsx", tmp_path)
    for data in (b"positive,I love this\nnegative,I hate this so\n", workbook):
        notes = Read(data).notes
        assert any("taken as the names of the columns: 'positive', 'I love this'" in note for note in notes)


def test_the_separator_that_excel_writes_is_no_row() -> None:
    read = Read(b"sep=;\nid;text\n1;one, two\n")
    assert [(document.key, document.text) for document in read.documents] == [("1", "one, two")]


TITLES: dict[str, bytes] = {
    "title": b"Report of 2026\n\nid,text,n\n1,one text,2\n2,two text,3\n",
    "remarks": b"# exported by a tool\n# yesterday, at noon\nid,text,n\n1,one text,2\n2,two text,3\n",
    "empty cells": b",,\n,,\nid,text,n\n1,one text,2\n,,\n2,two text,3\n,,\n",
    "blank lines": b"\r\n\r\nid,text,n\r\n1,one text,2\r\n2,two text,3\r\n",
    "two byte order marks": b"\xef\xbb\xbf\xef\xbb\xbfid,text,n\n1,one text,2\n2,two text,3\n",
    "returns alone": b"id,text,n\r1,one text,2\r2,two text,3\r",
    "semicolons of Excel": b'\xef\xbb\xbfsep=;\r\nid;text;n\r\n1;"one text";2\r\n2;"two text";3\r\n',
}


@pytest.mark.parametrize("kind", TITLES)
def test_what_stands_around_a_table_is_no_row_of_it(kind: str) -> None:
    read = Read(TITLES[kind])
    assert read.rejections == []
    assert [(document.key, document.text, document.metadata) for document in read.documents] == [
        ("1", "one text", {"n": 2}),
        ("2", "two text", {"n": 3}),
    ]
    assert ("left out" in " ".join(read.notes)) == (kind in ("title", "remarks"))


@pytest.mark.parametrize(
    ("values", "is_of_export"),
    [
        (["late delivery (0.82); a (b); c (0.31)", "", "x (1e+03)"], True),
        (["", "", ""], False),
        (["a (0.3); b (0.8)", "", ""], False),
        (["leather seats", "x (1)", ""], False),
    ],
)
def test_the_column_of_the_strongest_features_is_left_out(values: list[str], is_of_export: bool) -> None:
    rows = [{"id": f"d{place}", "text": "a text", "n": 1, "features": value} for place, value in enumerate(values)]
    own = [{"n": 1}] * 3 if is_of_export else [{"n": 1, "features": value} for value in values]
    lines = "\n".join(map(json.dumps, rows)).encode()
    read = Read(lines)
    assert [dict(document.metadata) for document in read.documents] == own
    assert any("columns of features" in note or "of features" in note for note in read.notes) == is_of_export
    swapped = [{"text": row["text"], **row} for row in rows]
    assert all(
        "features" in document.metadata for document in Read("\n".join(map(json.dumps, swapped)).encode()).documents
    )


def test_a_title_above_the_header_of_a_sheet_is_no_row_of_the_table(tmp_path: Path) -> None:
    def write(path: Path) -> None:
        with xlsxwriter.Workbook(path) as workbook:
            workbook.add_worksheet("Empty")
            sheet = workbook.add_worksheet("Data")
            sheet.merge_range("B2:D2", "Feedback")
            for row, cells in enumerate([("id", "text", "n"), (1, "one", 2), (2, "two", 3)], start=4):
                sheet.write_row(row, 1, cells)
            sheet.write_formula("D6", "=1+1", value=2)
            sheet.set_row(6, None, None, {"hidden": True})

    read = Read(written(write, "a.xlsx", tmp_path))
    assert [(document.key, document.text, document.metadata) for document in read.documents] == [
        ("1", "one", {"n": 2}),
        ("2", "two", {"n": 3}),
    ]
    assert read.notes[0] == "Above the names of the columns, 1 row is left out."


@pytest.mark.parametrize(
    ("data", "has_header", "columns", "count"),
    [
        (b",category,kind\nr1,title,x thing\nr2,body,y thing\n", None, ["column_1", "category", "kind"], 2),
        (b",category,kind\nr1,title,x thing\nr2,body,y thing\n", True, ["column_1", "category", "kind"], 2),
        (b"name,kind,\nAnna,comment,good film\nBen,review,bad film\n", None, ["name", "kind", "column_3"], 2),
        (b"great film,,\nfine,positive,review\nbad film,,\n", None, ["great film", "column_2", "column_3"], 2),
        (b"great film,,\nfine,positive,review\nbad film,,\n", False, ["column_1", "column_2", "column_3"], 3),
        (b"notes,,\nid,text,n\n1,one text,2\n", True, ["notes", "column_2", "column_3"], 2),
        (b"Report of 2026,,\n,,\nid,text,n\n1,one text,2\n", None, ["id", "text", "n"], 1),
    ],
)
def test_a_row_of_the_table_is_never_taken_for_a_title(
    data: bytes, has_header: bool | None, columns: list[str], count: int
) -> None:
    read = Read(data, FileOptions(format=Format.CSV, delimiter=",", has_header=has_header))
    assert read.layout.columns == columns
    assert len(read.documents) + len(read.rejections) == count


def test_a_table_that_begins_with_a_narrow_row_of_data_loses_nothing() -> None:
    read = Read(b"a,\nb,text\nc,another\n", FileOptions(format=Format.CSV, has_header=False))
    assert len(read.documents) + len(read.rejections) == 3


def test_numbers_that_json_lacks_are_absent_and_take_no_document_with_them() -> None:
    lines = b'{"id": 1, "text": "one", "x": NaN, "l": [1.5, -Infinity]}\n{"id": 2, "text": "two", "x": 1.5}\n'
    for data in (lines, b"[" + lines.strip().replace(b"\n", b",") + b"]"):
        documents = Read(data).documents
        assert [document.metadata for document in documents] == [{"x": None, "l": [1.5, None]}, {"x": 1.5}]


@pytest.mark.parametrize("orient", ["columns", "index", "split"])
def test_a_frame_that_pandas_wrote_by_columns_is_refused_with_what_to_do(orient: Any) -> None:
    frame = pd.DataFrame([{"id": 1, "text": "one"}, {"id": 2, "text": "two"}])
    with pytest.raises(InvalidFile, match="orient='records'"):
        Read(frame.to_json(orient=orient).encode())


def test_views_and_runs_of_arrow_are_texts() -> None:
    table = pa.table(
        {
            "id": [1, 2],
            "text": pa.array(["one", "two"], pa.string_view()),
            "bytes": pa.array([b"a", "é".encode()], pa.binary_view()),
            "run": pa.RunEndEncodedArray.from_arrays([2], ["x"]),
            "uuid": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"\1" * 16, None], pa.binary(16))),
        }
    )
    sink = io.BytesIO()
    with ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    read = Read(sink.getvalue())
    assert [document.text for document in read.documents] == ["one", "two"]
    uuid = "01010101-0101-0101-0101-010101010101"
    assert [document.metadata for document in read.documents] == [
        {"bytes": "a", "run": "x", "uuid": uuid},
        {"bytes": "é", "run": "x"},
    ]


@pytest.mark.parametrize("encoding", ["hex", "rot13", "zlib", "bz2", "unicode_escape", "idna", "no such", "undefined"])
def test_a_codec_that_is_no_encoding_is_refused(encoding: str) -> None:
    with pytest.raises(InvalidFile, match="encoding: expected one such as"):
        Read(b"id,text\n1,one\n", FileOptions(encoding=encoding))


def test_exact_numbers_and_bytes_of_parquet_come_in_as_they_are(tmp_path: Path) -> None:
    large = [5, 12345678901234567890, 12345678901234567891]
    table = pa.table(
        {
            "id": pa.array(large, pa.decimal128(38, 0)),
            "text": pa.array([b"hello world", "h\u00e9".encode(), b"bytes"], pa.binary()),
            "price": pa.array(["1.50", "0.10", None]).cast(pa.decimal128(10, 2)),
            "raw": pa.array([b"\xff\x00", None, b"\x01"], pa.binary()),
            "late": pa.array([2**40, 0, None], pa.timestamp("s")),
            "list": pa.array([[2**60], [1], None], pa.list_(pa.int64())),
        }
    )
    read = Read(written(lambda path: pq.write_table(table, path), "a.parquet", tmp_path))
    assert [rejection.item for rejection in read.rejections] == [1], "its time is beyond the year 9999"
    assert [(document.key, document.text) for document in read.documents] == [
        (str(large[1]), "hé"),
        (str(large[2]), "bytes"),
    ]
    assert read.documents[0].metadata == {"price": 0.1, "late": "1970-01-01T00:00:00", "list": [1]}
    assert read.documents[1].metadata == {"raw": "AQ=="}
    assert any("bytes of 'raw'" in note for note in read.notes)


def test_columns_of_one_name_in_a_parquet_file_are_said_once() -> None:
    table = pa.table([pa.array(["a text"]), pa.array(["b text"])], names=["text", "text"])
    sink = io.BytesIO()
    with ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    read = Read(sink.getvalue())
    assert [document.text for document in read.documents] == ["a text"]
    assert any("Another column called 'text' is left out" in note for note in read.notes)


@pytest.mark.parametrize("kind", [pa.string(), pa.binary()])
def test_a_long_text_that_stands_in_many_rows_is_held_once(tmp_path: Path, kind: pa.DataType) -> None:
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 20_000), pa.array(["x" * 200_000]).cast(kind))
    table = pa.table({"id": list(range(20_000)), "text": texts})
    data = written(lambda path: pq.write_table(table, path, store_schema=False), "a.parquet", tmp_path)
    reader = open_file(io.BytesIO(data), FileOptions(), LIMITS)
    tracemalloc.start()
    assert sum(1 for _item in reader.items()) == 20_000
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "shift_jis"])
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "json"])
def test_the_beginning_of_a_file_gives_its_first_items_wherever_it_ends(encoding: str, suffix: str) -> None:
    rows = [{"id": str(row), "text": f"日本語の文章、番号{row}"} for row in range(40)]
    text = {
        "csv": csv_file(rows, quoting=1).decode(),
        "jsonl": "\n".join(json.dumps(row, ensure_ascii=False) for row in rows),
        "json": json.dumps(rows, ensure_ascii=False),
    }[suffix]
    data = text.encode(encoding)
    limits = replace(LIMITS, is_partial=True)
    options = FileOptions(encoding=encoding if encoding == "shift_jis" else None)
    for end in range(len(data) // 2, len(data) // 2 + 60):
        reader = open_file(io.BytesIO(data[:end]), options, limits)
        values = [value for _place, value in reader.items(texts=("id", "text"))]
        assert values == rows[: len(values)]
        assert len(values) > 10


def test_a_field_that_only_later_objects_have_may_be_named() -> None:
    lines = [{"id": row, "text": "a text"} for row in range(300)] + [{"id": 300, "text": "a text", "doi": "10/1"}]
    read = Read("\n".join(map(json.dumps, lines)).encode(), fields=FieldOptions(metadata_fields=("doi",)))
    assert read.documents[-1].metadata == {"doi": "10/1"}


def test_a_table_without_a_header_is_read_from_its_first_row() -> None:
    read = Read(b"1,the first text of all,5\n2,the second text of all,6\n")
    assert [document.text for document in read.documents] == ["the first text of all", "the second text of all"]
    assert read.layout.has_header is False
    assert (
        Read(b"a,b\nc text,d text\n", FileOptions(has_header=False), FieldOptions(text_fields=("column_1",)))
        .documents[0]
        .text
        == "a"
    )


@settings(max_examples=60, deadline=None)
@given(
    cells=st.lists(
        st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00\ufeff"), max_size=30),
        min_size=1,
        max_size=8,
    ),
    delimiter=st.sampled_from(",;\t|"),
    line_end=st.sampled_from(["\n", "\r\n"]),
)
def test_every_text_survives_a_csv_file(cells: list[str], delimiter: str, line_end: str) -> None:
    rows = [{"id": str(row), "text": f"word{cell}", "other": "x"} for row, cell in enumerate(cells)]
    data = csv_file(rows, sep=delimiter, lineterminator=line_end, quoting=1)
    assert [document.text for document in Read(data).documents] == [row["text"] for row in rows]


def test_memory_does_not_grow_with_a_table() -> None:
    row = "word " * 40
    small, large = (
        b"id,text,n\n" + b"".join(f"{n},{row},{n}\n".encode() for n in range(rows)) for rows in (2000, 40_000)
    )
    peaks: list[int] = []
    for data in (small, large):
        reader = open_file(io.BytesIO(data), FileOptions(), LIMITS)
        tracemalloc.start()
        assert sum(1 for _item in reader.items()) in (2000, 40_000)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0] + (1 << 18)


def test_no_mutation_of_a_file_does_more_than_reject_rows(tmp_path: Path) -> None:
    """Seeded mutations of valid files: each gives documents and rejections, or one InvalidFile."""
    random_numbers = random.Random(20261127)
    valid = [FILES[kind](tmp_path) for kind in FILES if kind not in {"xz"}]
    for number in range(600):
        data = bytearray(valid[number % len(valid)])
        for _ in range(random_numbers.randint(1, 4)):
            start = random_numbers.randrange(len(data))
            piece = bytes(random_numbers.choice(string.printable.encode() + bytes(range(256))) for _ in range(3))
            data[start : start + random_numbers.choice([0, 1, 3, 200])] = piece
        try:
            read = Read(bytes(data))
        except (InvalidFile, FileTooLarge) as error:
            assert len(error.message) < 600
            continue
        json.dumps([[document.key, document.text, dict(document.metadata)] for document in read.documents])
