"""Features, labels and hits leave as tables and come back, by SDK, command line and HTTP; `id` is the id everywhere."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import polars as pl
import pytest

from prisma_client import ExportNotice, FailedPrecondition, InvalidArgument, Prisma
from prisma_client.errors import SomeLabelsRejected
from prisma_client.sync.datasets import Dataset
from prisma_client.sync.runs import Run
from tests.stack import Stack

WORDS = ["harbour", "ferry", "market", "garden", "castle", "tunnel"]
ROWS = [
    {
        "id": f"=d{number}" if number % 50 == 0 else f"d{number}",
        "text": f"the {WORDS[number % 6]} of {WORDS[number % 5]}, seen from the {WORDS[number % 4]} nr {number}",
        "year": 1990 + number % 30,
        "place": {"name": "København", "tags": ["a", "ü"]},
    }
    for number in range(1200)
]


@pytest.fixture(scope="module")
def prisma(stack: Stack) -> Iterator[Prisma]:
    with Prisma(stack.url) as prisma:
        yield prisma


@pytest.fixture(scope="module")
def data(prisma: Prisma) -> Iterator[Dataset]:
    data = prisma.datasets.create("export-places", documents=ROWS)
    data.embed()
    yield data
    data.delete()


@pytest.fixture(scope="module")
def run(prisma: Prisma, data: Dataset) -> Run:
    config = {"latent_count": 64, "k": 4, "epochs": 3, "siblings": 0}
    run = prisma.runs.create(data.id, run_id="export-places", config=config)
    run.train()
    run.compute_statistics()
    run.features.set_label(3, '=SUM(A1), "smørrebrød"; 東京', "two\nlines")
    run.features.set_label(5, "a ferry")
    run.features.set_label(7, "a market; a garden", model="llama")
    return run


def plain(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows, in which each missing value is None and each list a list."""

    def plain_value(value: Any) -> Any:
        if isinstance(value, list) or hasattr(value, "shape"):
            return list(value)
        return value if pd.notna(value) else None

    return [{name: plain_value(value) for name, value in row.items()} for row in frame.to_dict("records")]


def test_a_table_of_features_is_that_of_the_client(run: Run, stack: Stack, tmp_path: Path) -> None:
    frame = run.features.to_pandas()
    features = plain(frame)
    assert [feature["index"] for feature in features] == list(range(64))
    assert run.features.to_polars()["label"].to_list() == [feature["label"] for feature in features]
    for name in ("features.parquet", "features.feather", "features.jsonl", "features.csv"):
        ended = stack.command("export", run.id, "features", str(tmp_path / name))
        assert ended.returncode == 0, ended.stderr
    assert list(pd.read_parquet(tmp_path / "features.parquet")) == list(frame)
    assert plain(pd.read_parquet(tmp_path / "features.parquet")) == features
    assert plain(pd.read_feather(tmp_path / "features.feather")) == features
    lines = [json.loads(line) for line in (tmp_path / "features.jsonl").read_text(encoding="utf-8").splitlines()]
    assert lines == [{name: cell for name, cell in row.items() if cell is not None} for row in features]
    assert pd.read_csv(tmp_path / "features.csv")["label"][3] == f"'{features[3]['label']}"

    some = str(tmp_path / "some.csv")
    ended = stack.command("export", run.id, "features", some, "--feature-filter", "index = 3", "--keep-formulas")
    assert ended.returncode == 0, ended.stderr
    assert pd.read_csv(some)["label"].tolist() == [features[3]["label"]]
    assert run.export_features(tmp_path / "none.csv", query="nothing says this", byte_order_mark=True) > 100
    assert len(pd.read_csv(tmp_path / "none.csv")) == 0
    with pytest.raises(ValueError, match=r"does not say how to write the table"):
        run.export_features(tmp_path / "features.xlsx")
    wrong = stack.command("export", run.id, "features", str(tmp_path / "features.xlsx"))
    assert (wrong.returncode, "must end with one of" in wrong.stderr) == (2, True)


def test_labels_are_corrected_in_a_spreadsheet(run: Run, stack: Stack, tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    assert stack.command("labels", "export", run.id, str(file), "--byte-order-mark").returncode == 0
    assert file.read_bytes().startswith(b"\xef\xbb\xbfindex,label,")
    unchanged = json.loads(stack.command("labels", "import", run.id, str(file)).stdout)
    assert (unchanged["addedCount"], unchanged["rejectedCount"]) == (0, 0)

    text = file.read_text(encoding="utf-8-sig").replace("a ferry", "Fähren im Hafen")
    rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row[0] in ("index", "5", "7")]
    corrected = io.StringIO(newline="")
    csv.writer(corrected, delimiter=";").writerows(rows)
    saved = tmp_path / "saved.csv"
    saved.write_bytes(corrected.getvalue().encode("windows-1252"))
    preview = stack.command("labels", "import", run.id, str(saved), "--dry-run")
    assert preview.returncode == 0, preview.stderr
    [change] = json.loads(preview.stdout)["changes"]
    assert (change["index"], change["text"], change["previousText"]) == (5, "Fähren im Hafen", "a ferry")
    assert run.features.get(5).label.text == "a ferry", "a preview writes nothing"
    assert "score-labels" in stack.command("labels", "import", run.id, str(saved)).stderr
    label = run.features.get(5).label
    assert (label.text, label.source, label.HasField("score")) == ("Fähren im Hafen", label.SOURCE_HUMAN, False)
    assert run.features.get(7).label.model == "llama"

    assert run.import_labels({5: "ferries"}).added_count == 1
    indexed = pd.DataFrame({"label": ["ferries"]}, index=pd.Index([5], name="index"))
    assert run.import_labels(indexed).unchanged_count == 1
    assert run.import_labels(pl.DataFrame({"index": [5], "label": ["ferries"]})).unchanged_count == 1
    skipped = run.import_labels([{"index": 5, "label": "boats"}], on_duplicate="skip")
    assert (skipped.skipped_count, skipped.added_count) == (1, 0)
    with pytest.warns(SomeLabelsRejected, match=r"2 rows rejected: row 1: index: expected 0 to 63.*; row 2: the feat"):
        run.import_labels([{"index": 64, "label": "x"}, {"index": 5, "label": "y"}], on_duplicate="reject")
    other = tmp_path / "other.csv"
    other.write_text("id,text\n1,a document\n")
    with pytest.raises(InvalidArgument, match="columns index and label"):
        run.import_labels(other)
    wrong = stack.command("labels", "import", run.id, str(other))
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)


def test_labels_of_other_latents_are_refused(prisma: Prisma, run: Run, stack: Stack, tmp_path: Path) -> None:
    config = {"latent_count": 64, "k": 4, "epochs": 1, "seed": 9, "siblings": 0}
    other = prisma.runs.create("export-places", run_id="export-other", config=config)
    other.train()
    other.compute_statistics()
    file = str(tmp_path / "labels.jsonl")
    run.export_labels(file, include_history=True)
    with pytest.raises(FailedPrecondition, match="made for other latents than runs/export-other has") as caught:
        other.import_labels(file)
    assert caught.value.reason == "LABELS_OF_OTHER_LATENTS"
    ended = stack.command("labels", "import", other.id, file)
    assert (ended.returncode, "prisma carry-labels" in ended.stderr.replace("\n", " ")) == (4, True)
    forced = stack.command("labels", "import", other.id, file, "--ignore-weights", "--dry-run")
    assert json.loads(forced.stdout)["addedCount"] > 0


def test_hits_join_the_imported_file(data: Dataset, run: Run, stack: Stack, tmp_path: Path) -> None:
    source = pd.DataFrame(ROWS)
    with pytest.warns(ExportNotice, match="first 1,000 hits of a search with 1,200 matches"):
        data.export_hits(tmp_path / "hits.parquet", "the harbour", run=run, mode="semantic")
    hits = pd.read_parquet(tmp_path / "hits.parquet")
    assert len(hits) == 1000
    joined = source.merge(hits, on="id", suffixes=("_source", ""))
    assert len(joined) == 1000
    assert joined["year"].tolist() == joined["year_source"].tolist()
    listed = data.search("the harbour", run=run, mode="semantic", limit=200).to_pandas()
    assert hits["id"].tolist()[:200] == listed["id"].tolist() == listed["key"].tolist()
    assert hits["score"].tolist()[:200] == listed["score"].tolist()
    assert [list(names) for names in hits["features"][:200]] == listed["features"].tolist()

    words = ["search", data.id, "castle", "--mode", "full_text", "--run", run.id, "--filter", "metadata.year >= 2010"]
    for name, read in (("hits.csv", pd.read_csv), ("hits.jsonl", partial(pd.read_json, lines=True))):
        ended = stack.command(*words, "--output", str(tmp_path / name))
        assert ended.returncode == 0, ended.stderr
        frame = pd.DataFrame(read(tmp_path / name))
        expected = data.search("castle", mode="full_text", filter="metadata.year >= 2010", limit=200)
        assert [str(value).lstrip("'") for value in frame["id"][:200]] == [hit.key for hit in expected]
        assert min(frame["year"].tolist()) >= 2010
    assert stack.command(*words, "--output", str(tmp_path / "hits.xlsx")).returncode == 2
    boosted = stack.command(
        "search",
        data.id,
        "castle",
        "--run",
        run.id,
        "--boost",
        "3=2",
        "--output",
        str(tmp_path / "b.csv"),
        "--limit",
        "5",
    )
    assert boosted.returncode == 0, boosted.stderr
    assert list(pd.read_csv(tmp_path / "b.csv")["rank"]) == [1, 2, 3, 4, 5]

    url = f"{stack.url}/v1/{data.name}/hits:export"
    got = httpx.get(url, params={"search.query": "castle", "search.mode": "MODE_FULL_TEXT", "limit": 3})
    posted = httpx.post(url, json={"search": {"query": "castle", "mode": "MODE_FULL_TEXT"}, "limit": 3})
    assert got.content == posted.content
    assert got.headers["content-disposition"] == 'attachment; filename="export-places-hits.csv"'
    assert "first 3 hits" in json.loads(got.headers["x-prisma-notices"])[0]
    assert len(pd.read_csv(io.BytesIO(got.content))) == 3


def test_the_id_of_a_document_has_one_name(data: Dataset, run: Run, tmp_path: Path) -> None:
    ids = {str(row["id"]) for row in ROWS}
    assert set(data.documents(limit=20).to_pandas()["id"]) <= ids
    index = next(feature.index for feature in run.features.list(filter="dead = false", limit=1))
    assert set(run.features.examples(index).to_pandas()["id"]) <= ids
    assert set(run.table(text=False, indices=[index]).to_pandas()["id"]) == ids
    run.export_activations(tmp_path / "activations.jsonl")
    lines = (tmp_path / "activations.jsonl").read_text(encoding="utf-8").splitlines()
    assert {json.loads(line)["id"] for line in lines} == ids
