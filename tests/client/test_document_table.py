"""The table of a run's documents joins the file that they came from, in every format, and can be imported again."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import polars as pl
import pytest

from prisma_client import ExportNotice, FailedPrecondition, InvalidArgument, Prisma, SomeDocumentsRejected
from prisma_client.sync.datasets import Dataset
from prisma_client.sync.runs import Run
from tests import messy
from tests.stack import DATASET, RUN, Stack

FILTER = 'metadata.rating >= 4 AND metadata.date < 2026-01-04 AND metadata.verified = true OR metadata.title : "zz"'


@pytest.fixture(scope="module")
def prisma(stack: Stack) -> Iterator[Prisma]:
    with Prisma(stack.url) as prisma:
        yield prisma


@pytest.fixture(scope="module")
def reviews() -> pd.DataFrame:
    return pd.DataFrame(messy.reviews().rows)


@pytest.fixture(scope="module")
def run(prisma: Prisma, reviews: pd.DataFrame) -> Iterator[Run]:
    """A small run of all usable reviews, labelled by keywords."""
    data = prisma.datasets.create("table-reviews")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SomeDocumentsRejected)
        data.add(reviews, id_field="review", text_field="body")
    data.embed()
    run = prisma.runs.create(
        data.id, run_id="table-reviews", config={"expansion": 1, "k": 8, "epochs": 3, "siblings": 0}
    )
    run.train()
    run.label()
    yield run
    data.delete()


def of(data: Dataset) -> dict[str, tuple[str, dict[str, Any]]]:
    """Text and metadata of all documents, by key."""
    frame = data.documents().to_pandas()
    metadata = [name for name in frame.columns if name.startswith("metadata.")]
    rows = frame[["key", "text", *metadata]].to_dict("records")
    return {row["key"]: (row["text"], {name: row[name] for name in metadata if not pd.isna(row[name])}) for row in rows}


def test_the_table_of_messy_reviews_joins_them(run: Run, reviews: pd.DataFrame, stack: Stack, tmp_path: Path) -> None:
    for name in ("table.csv", "table.parquet"):
        ended = stack.command("export", run.id, "table", str(tmp_path / name), "--no-text")
        assert ended.returncode == 0, ended.stderr
        assert json.loads(ended.stdout)["bytes"] == (tmp_path / name).stat().st_size
        assert f"No feature of {run.name} is trusted" in ended.stderr  # no sibling was trained
    source = reviews.drop_duplicates("review")
    frames = {
        "csv": pd.read_csv(tmp_path / "table.csv"),
        "parquet": pd.read_parquet(tmp_path / "table.parquet"),
        "sdk": run.table(text=False).to_pandas(),
    }
    for name, table in frames.items():
        joined = source.merge(table, left_on="review", right_on="id", suffixes=("", "_prisma"))
        assert len(table) == len(joined) == messy.VALID_ROWS == 4900, name
        assert joined["helpful"].equals(joined["helpful_prisma"].astype("int64")), name
        assert joined["verified"].equals(joined["verified_prisma"].astype(bool)), name
        assert joined["title"].equals(joined["title_prisma"].astype(joined["title"].dtype)), name
        rating = joined["rating_prisma"].astype("Float64").astype("float64")
        assert np.array_equal(joined["rating"], rating, equal_nan=True), name
        assert (pd.to_datetime(joined["date"]) == pd.to_datetime(joined["date_prisma"])).all(), name
        matrix = table.filter(like="feature: ")
        assert 10 < matrix.shape[1] <= 200 and (matrix.to_numpy() > 0).any(axis=0).mean() > 0.9, name
        strongest = matrix.idxmax(axis=1)[matrix.any(axis=1)].str.removeprefix("feature: ")
        listed = table["features"].fillna("")[matrix.any(axis=1)]
        assert np.mean([text.startswith(f"{label} (") for label, text in zip(strongest, listed, strict=True)]) > 0.99
    dtypes = frames["sdk"].dtypes.astype(str)
    assert dict(dtypes[["helpful", "rating", "verified"]]) == {
        "helpful": "Int64", "rating": "Int64", "verified": "boolean",
    }  # fmt: skip
    assert dtypes["date"].startswith("datetime64") and dtypes.iloc[-1] == "float32"
    matrices = [table.filter(like="feature: ").to_numpy(np.float32) for table in frames.values()]
    assert all(np.array_equal(matrix, matrices[0]) for matrix in matrices[1:])
    assert run.table(metadata=["helpful"], strongest_count=0).to_polars().schema["helpful"] == pl.Int64


def test_a_filter_means_what_it_means_in_a_search(run: Run, prisma: Prisma) -> None:
    data = prisma.datasets.get("table-reviews")
    feature = run.features.list(filter="labelled = true", order_by="density", limit=1).collect()[0]
    for text in (FILTER, f"latent.{feature.index} > 0", f"latent.{feature.index} > 0 AND NOT metadata.rating > 2"):
        hits = data.search("return value", mode="semantic", run=run, filter=text, limit=100).hits
        table = run.table(filter=text, feature_count=0, text=False).to_pandas()
        assert 0 < len(hits) < 100, text
        assert sorted(table["id"]) == sorted(hit.key for hit in hits), text
    with pytest.warns(ExportNotice, match="metadata key 'ratin'; did you mean 'rating'"):
        assert len(run.table(filter="metadata.ratin > 1", text=False).to_pandas()) == 0
    with pytest.raises(InvalidArgument, match="filter"):
        run.table(filter="metadata.rating >")


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet", "feather"])
def test_the_table_can_be_imported_again(run: Run, prisma: Prisma, stack: Stack, tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"table.{suffix}"
    words = ["--keep-formulas"] if suffix == "csv" else []
    assert stack.command("export", run.id, "table", str(file), *words).returncode == 0
    ended = stack.command("ingest", "table-again", str(file))
    report = json.loads(ended.stdout)
    assert (report["importedCount"], report["rejectedCount"]) == ("4900", "0"), ended.stderr
    assert any("columns of features" in note for note in report["notes"])
    again = prisma.datasets.get("table-again")
    try:
        assert of(again) == of(prisma.datasets.get("table-reviews"))
        types = [field.type for field in again.message.metadata_fields]
        assert types == [field.type for field in prisma.datasets.get("table-reviews").message.metadata_fields]
    finally:
        again.delete()


def test_a_table_comes_over_http_with_its_notices(run: Run, stack: Stack) -> None:
    url = f"{stack.url}/v1/{run.name}/table:export"
    answer = httpx.get(url, params={"featureCount": 2, "byteOrderMark": True, "filter": "metadata.nix = 1"})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="table-reviews-table.csv"'
    assert answer.content.startswith(b"\xef\xbb\xbfid,text,date,helpful,rating,title,verified,features,feature: ")
    notices = json.loads(answer.headers["x-prisma-notices"])
    assert "metadata key 'nix'" in notices[0] and "is trusted" in notices[1] and "most frequent" in notices[2]
    answer = httpx.get(url, params={"format": "TABLE_FORMAT_PARQUET", "featureCount": 0})
    assert answer.headers["content-disposition"].endswith('table.parquet"') and answer.content.endswith(b"PAR1")
    wrong = httpx.get(url, params={"filter": "metadata.rating >"})
    assert (wrong.status_code, wrong.json()["error"]["details"][0]["reason"]) == (400, "INVALID_FILTER")


def test_what_cannot_be_exported_leaves_no_file(stack: Stack, prisma: Prisma, tmp_path: Path) -> None:
    untrained = prisma.runs.create(DATASET, run_id="table-untrained")
    try:
        with pytest.raises(FailedPrecondition, match="no codes"):
            untrained.export_table(tmp_path / "a.csv")
    finally:
        untrained.delete()
    run = prisma.runs.get(RUN)
    with pytest.raises(ValueError, match=r"does not say how.*\.parquet"):
        run.export_table(tmp_path / "a.xlsx")
    with pytest.raises(ValueError, match="unknown option features: choose from filter"):
        run.table(features=3)  # pyright: ignore[reportCallIssue]
    for words, message in (
        (["table", "a.xlsx"], "must end with one of .csv"),
        (["features", "a.csv", "--filter", "metadata.a = 1"], "--filter: for a table only"),
        (["table", "a.parquet", "--byte-order-mark"], "byte_order_mark"),
        (["table", "a.csv", "--feature-count", "9999"], "at most 2,000"),
    ):
        ended = stack.command("export", RUN, words[0], str(tmp_path / words[1]), *words[2:])
        assert ended.returncode != 0 and message in " ".join(ended.stderr.replace("│", " ").split()), ended.stderr
    assert not list(tmp_path.iterdir())
    assert run.export_table(tmp_path / "a.table", format="json_lines", feature_count=1, metadata=False) > 1000
    row = json.loads((tmp_path / "a.table").read_text().splitlines()[0])
    assert list(row)[:3] == ["id", "text", "features"] and len(row) == 4
