"""Messy reviews come in alike by every route and in every format: each usable row, its text and its types unchanged."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import polars as pl
import pytest
from backports import zstd

from prisma_client import FileOptions, Prisma, SomeDocumentsRejected
from prisma_client.sync.datasets import Dataset
from tests import messy
from tests.archives import zipped
from tests.messy import Reviews
from tests.stack import Stack

ID, TEXT = "review", "body"


@pytest.fixture(scope="module")
def reviews() -> Reviews:
    reviews = messy.reviews()
    assert len(reviews.valid) == messy.VALID_ROWS == 4900
    return reviews


@pytest.fixture(scope="module")
def prisma(stack: Stack) -> Iterator[Prisma]:
    with Prisma(stack.url) as prisma:
        yield prisma


def csv_file(reviews: Reviews, **options: Any) -> bytes:
    buffer = io.BytesIO()
    pd.DataFrame(reviews.rows).to_csv(buffer, index=False, **options)
    return buffer.getvalue()


def saved(write: Callable[[Path], object], path: Path) -> bytes:
    write(path)
    return path.read_bytes()


def workbook(reviews: Reviews, path: Path) -> bytes:
    """Without the huge text, which no cell can hold."""
    frame = pd.DataFrame([row for row in reviews.rows if len(str(row[TEXT])) < 32_767])
    frame.to_excel(path, index=False, engine="xlsxwriter", engine_kwargs={"options": {"strings_to_formulas": False}})
    return path.read_bytes()


FILES: dict[str, Callable[[Reviews, Path], bytes]] = {
    "csv": lambda reviews, _folder: csv_file(reviews),
    "tsv": lambda reviews, _folder: csv_file(reviews, sep="\t"),
    "csv.gz": lambda reviews, _folder: gzip.compress(csv_file(reviews, sep=";", encoding="utf-8-sig")),
    "utf-16.csv": lambda reviews, _folder: csv_file(reviews, encoding="utf-16", lineterminator="\r\n"),
    "jsonl": lambda reviews, _folder: reviews.json_lines(),
    "jsonl.zst": lambda reviews, _folder: zstd.compress(reviews.json_lines()),
    "json": lambda reviews, folder: saved(
        lambda path: pd.DataFrame(reviews.rows).to_json(path, orient="records"), folder / "a"
    ),
    "parquet": lambda reviews, folder: saved(pd.DataFrame(reviews.rows).to_parquet, folder / "a"),
    "polars.parquet": lambda reviews, folder: saved(
        pl.DataFrame(list(reviews.with_nulls()), infer_schema_length=None).write_parquet, folder / "a"
    ),
    "feather": lambda reviews, folder: saved(pd.DataFrame(reviews.rows).to_feather, folder / "a"),
    "xlsx": lambda reviews, folder: workbook(reviews, folder / "a.xlsx"),
    "zip": lambda reviews, _folder: zipped({"reviews.csv": csv_file(reviews)}),
}


def stored(stack: Stack, data: Dataset) -> dict[str, dict[str, Any]]:
    """Key, text and metadata of all documents, by key."""
    documents: dict[str, dict[str, Any]] = {}
    for start in range(0, messy.ROWS, 1000):
        answer = httpx.post(
            f"{stack.url}/v1/{data.name}/documents:batchGet",
            json={"rows": list(range(start, start + 1000))},
            timeout=60,
        )
        assert answer.status_code == 200, answer.text
        documents |= {document["key"]: document for document in answer.json().get("documents", [])}
    return documents


def check(stack: Stack, data: Dataset, reviews: Reviews) -> None:
    """The dataset has each usable row, with text and metadata as they were, and is deleted."""
    documents = stored(stack, data)
    rows = reviews.valid
    assert documents.keys() == rows.keys()
    for key, row in rows.items():
        assert documents[key]["text"].encode() == row[TEXT].encode()
        stored_metadata = {name: value for name, value in documents[key]["metadata"].items() if value is not None}
        assert stored_metadata == messy.metadata(row), key  # JSON's null stays one
    data.delete()


@pytest.mark.parametrize("kind", FILES)
def test_every_format_by_the_client(kind: str, stack: Stack, prisma: Prisma, reviews: Reviews, tmp_path: Path) -> None:
    path = tmp_path / f"reviews.{kind}"
    path.write_bytes(FILES[kind](reviews, tmp_path))
    with pytest.warns(SomeDocumentsRejected):
        data = prisma.datasets.create("reviews", path, id_field=ID, text_field=TEXT)
    assert data.report is not None
    assert data.report.imported_count == messy.VALID_ROWS
    check(stack, data, reviews)


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl", "xlsx"])
def test_files_that_nobody_says_anything_of(
    kind: str, stack: Stack, prisma: Prisma, reviews: Reviews, tmp_path: Path
) -> None:
    """The text is found by its name; ids, of which six are repeated, are digests of the texts."""
    path = tmp_path / "reviews"
    path.write_bytes(FILES[kind](reviews, tmp_path))
    with pytest.warns(SomeDocumentsRejected):
        data = prisma.datasets.create("reviews", path)
    assert data.report is not None
    assert list(data.report.layout.text_fields) == [TEXT]
    texts = {
        row[TEXT]
        for row in reviews.rows
        if isinstance(row[TEXT], str) and 0 < len(row[TEXT].strip("\u200b ")) < 1 << 20
    }
    assert {document["text"] for document in stored(stack, data).values()} == texts
    data.delete()


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
def test_by_http_as_a_body_and_as_a_form(
    kind: str, stack: Stack, prisma: Prisma, reviews: Reviews, tmp_path: Path
) -> None:
    file = FILES[kind](reviews, tmp_path)
    for upload in ({"content": file}, {"files": {"file": ("reviews", file)}}):
        data = prisma.datasets.create("reviews")
        answer = httpx.post(
            f"{stack.url}/v1/{data.name}/documents:import",
            params={"config.idField": ID, "config.textFields": TEXT},
            timeout=60,
            **upload,
        )
        assert answer.status_code == 200, answer.text
        assert answer.json()["importedCount"] == str(messy.VALID_ROWS)
        check(stack, data, reviews)


@pytest.mark.parametrize("kind", ["csv", "feather", "jsonl.zst"])
def test_by_the_command(kind: str, stack: Stack, prisma: Prisma, reviews: Reviews, tmp_path: Path) -> None:
    path = tmp_path / f"reviews.{kind}"
    path.write_bytes(FILES[kind](reviews, tmp_path))
    result = stack.command("ingest", "reviews", str(path), "--id-field", ID, "--text-field", TEXT)
    assert result.returncode == 0, result.stderr
    check(stack, prisma.datasets.get("reviews"), reviews)


@pytest.mark.parametrize("kind", ["pandas", "pandas of pyarrow", "polars", "dictionaries"])
def test_frames_and_lists(kind: str, stack: Stack, prisma: Prisma, reviews: Reviews) -> None:
    frame = pd.DataFrame(reviews.rows)
    rows_of_polars = [{**row, TEXT: None if row[TEXT] != row[TEXT] else row[TEXT]} for row in reviews.rows]
    documents: Any = {
        "pandas": lambda: frame,
        "pandas of pyarrow": lambda: frame.convert_dtypes(dtype_backend="pyarrow", convert_floating=False),
        "polars": lambda: pl.DataFrame(rows_of_polars),
        "dictionaries": lambda: reviews.rows,
    }[kind]()
    with pytest.warns(SomeDocumentsRejected):
        data = prisma.datasets.create("reviews", documents, id_field=ID, text_field=TEXT)
    check(stack, data, reviews)


def test_several_text_fields_and_options_are_the_same_by_file_and_by_frame(
    stack: Stack, prisma: Prisma, reviews: Reviews, tmp_path: Path
) -> None:
    path = tmp_path / "reviews.csv"
    path.write_bytes(FILES["csv"](reviews, tmp_path))
    with pytest.warns(SomeDocumentsRejected):
        data = prisma.datasets.create(
            "reviews",
            path,
            id_field=ID,
            text_field=["title", TEXT],
            options=FileOptions(metadata_fields=["rating"]),
        )
    documents = stored(stack, data)
    key, row = next((key, row) for key, row in reviews.valid.items() if "rating" in messy.metadata(row))
    assert documents[key]["text"] == f"{row['title']}\n\n{row[TEXT]}"
    assert documents[key]["metadata"] == {"rating": row["rating"]}
    data.delete()
