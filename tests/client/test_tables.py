"""What the client returns as tables: columns, values, HTML, and what it says without the libraries."""

from __future__ import annotations

import copy
import datetime
import io
import json
import subprocess
import sys
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import feather

from prisma.embedder.v1.resources_pb2 import Document
from prisma.interpreter.v1.analyses_pb2 import AnalyzedFeature, DatasetComparison
from prisma.interpreter.v1.resources_pb2 import TRUST_TRUSTED, Feature
from prisma.search.v1.search_service_pb2 import DocumentHit, SearchDocumentsResponse
from prisma.trainer.v1.resources_pb2 import Run as RunMessage
from prisma_client.document_table import DocumentTable
from prisma_client.sync.runs import Run
from prisma_client.tables import Answer, Rows

ATTACK = '<script>alert("x")</script><img src=x onerror=alert(1)>'


def document(key: str, text: str = "t", **metadata: Any) -> Document:
    message = Document(name=f"datasets/d/documents/{key}", key=key, text=text, state=Document.STATE_EMBEDDED)
    message.metadata.update(metadata)
    message.create_time.FromDatetime(datetime.datetime(2026, 1, 2, 3, tzinfo=datetime.UTC))
    return message


DOCUMENTS = Rows(
    [document("a", rating=4.5, tags=["x"], kind="book"), document("b", rating=3, mixed=1), document("c", mixed="one")],
    Document,
)


def hit(key: str, rank: int, snippet: str = "s") -> DocumentHit:
    message = DocumentHit(key=key, rank=rank, score=1 / rank, snippet=snippet)
    message.parts.add(part="text", score=7.5, rank=1, contribution=0.7)
    message.shared_features.add(index=3, label="sea")
    message.shared_features.add(index=4)
    message.metadata["rating"] = 4
    return message


def feature(index: int, label: str | None = None) -> Feature:
    message = Feature(index=index, density=0.25, active_count=7, trust=TRUST_TRUSTED)
    if label is not None:
        message.label.text = label
        message.label.score = 0.9
    message.families.add(display_name="waters")
    return message


def test_documents_have_a_column_for_each_key_of_their_metadata() -> None:
    frame = DOCUMENTS.to_pandas()
    assert list(frame["key"]) == ["a", "b", "c"]
    assert list(frame["state"]) == ["embedded"] * 3
    assert frame["metadata.rating"].tolist()[:2] == [4.5, 3]
    assert pd.isna(frame["metadata.rating"][2])
    assert frame["metadata.tags"][0] == ["x"]
    assert frame["metadata.mixed"].tolist()[1:] == [1, "one"]
    assert frame["create_time"][0] == pd.Timestamp("2026-01-02T03:00:00Z")
    assert not {"vector", "metadata"} & set(frame)
    of_polars = DOCUMENTS.to_polars()
    assert of_polars.columns == list(frame)
    assert of_polars["metadata.mixed"].to_list() == [None, "1", "one"]
    assert of_polars["metadata.rating"].to_list() == [4.5, 3.0, None]


def test_features_have_their_label_score_and_families() -> None:
    frame = Rows([feature(1, "sea"), feature(2)], Feature).to_polars()
    assert frame["label"].to_list() == ["sea", None]
    assert frame["score"].to_list() == [0.9, None]
    assert frame["trust"].to_list() == ["trusted", "trusted"]
    assert frame["families"].to_list() == [["waters"], ["waters"]]
    assert frame["stability"].to_list() == [None, None]


def test_hits_are_a_sequence_and_a_table_and_the_message_stays_reachable() -> None:
    message = SearchDocumentsResponse(hits=[hit("a", 1), hit("b", 2)], total_size=9, notices=["the index is behind"])
    hits = Answer(message, "hits")
    assert [item.key for item in hits] == ["a", "b"]
    assert (len(hits), hits[1].key, hits.total_size, hits.hits[0].key) == (2, "b", 9, "a")
    assert hits.message is message
    assert hits == copy.deepcopy(hits) == message
    frame = hits.to_pandas()
    assert frame["features"][0] == ["sea"]
    assert frame["score.text"].tolist() == [0.7, 0.7]
    assert frame["metadata.rating"].tolist() == [4, 4]
    assert "the index is behind" in hits._repr_html_()
    with pytest.raises(AttributeError, match="hit_count"):
        hits.hit_count  # noqa: B018


def test_hits_of_passages_have_their_document_and_span() -> None:
    whole, passage = hit("a", 1), hit("b", 2)
    span = {"document": "datasets/d/documents/b", "index": 2, "count": 5, "start": 100, "end": 180}
    for field, value in span.items():
        setattr(passage.passage, field, value)
    frame = Answer(SearchDocumentsResponse(hits=[whole, passage]), "hits").to_polars()
    columns = [f"passage.{field}" for field in span]
    assert frame[columns].rows() == [(None,) * 5, tuple(span.values())]


def test_analyses_have_a_column_for_each_field_of_a_feature_and_its_measures() -> None:
    message = DatasetComparison(feature_count=5)
    message.differences.add(feature=AnalyzedFeature(index=3, label="sea", trust=TRUST_TRUSTED), difference=0.5)
    frame = Answer(message, "differences").to_pandas()
    assert frame[["feature.index", "feature.label", "feature.trust", "difference"]].values.tolist() == [
        [3, "sea", "trusted", 0.5]
    ]
    assert frame["feature.score"].isna().all()


def test_an_empty_table_has_its_columns() -> None:
    for kind in (Document, Feature, DocumentHit):
        empty = Rows([], kind)
        assert len(empty.to_pandas().columns) == len(empty.to_polars().columns) > 5
        assert empty.to_pandas().empty


def test_runs_have_their_settings_and_metrics_as_columns() -> None:
    message = RunMessage(name="runs/r", display_name="r", state=RunMessage.STATE_TRAINED)
    message.config.k = 8
    message.metrics.held_out_fvu = 0.25
    frame = Rows([run_of(message)], RunMessage).to_pandas()
    assert frame[["name", "state", "config.k", "metrics.held_out_fvu"]].values.tolist() == [
        ["runs/r", "trained", 8, 0.25]
    ]


def run_of(message: RunMessage) -> Run:
    transport: Any = None
    return Run(transport, transport, message)


def test_numbers_beyond_exact_integers_stay_numbers_in_polars() -> None:
    rows = [document("a", n=1, mixed=1e30), document("b", n=1e20, mixed=0.5), document("c")]
    frame = Rows(rows, Document).to_polars()
    assert frame["metadata.n"].to_list() == [1.0, 1e20, None]
    assert frame["metadata.mixed"].to_list() == [1e30, 0.5, None]


def test_html_is_escaped_and_has_no_colours() -> None:
    hits = SearchDocumentsResponse(hits=[hit("a", 1, snippet=ATTACK)], notices=[ATTACK])
    items = [
        Rows([document("a", text=ATTACK, **{ATTACK: ATTACK})], Document),
        Rows([feature(1, ATTACK)], Feature),
        Answer(hits, "hits"),
        run_of(RunMessage(name="runs/r", display_name=ATTACK, dataset=ATTACK)),
    ]
    for item in items:
        text = item._repr_html_()
        assert "<script" not in text
        assert "<img" not in text
        assert "&lt;script&gt;" in text
        assert "background" not in text
        assert ";color:" not in text


def test_html_shows_the_first_rows_and_says_how_many_there_are() -> None:
    many = Rows([document(str(number), text="long " * 1000) for number in range(500)], Document)
    text = many._repr_html_()
    assert text.count("<tr>") == 21
    assert "500 rows, of which 20 are shown" in text
    assert len(text) < 60_000


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_without_a_library_it_says_how_to_install_it_and_loads_none_before(library: str) -> None:
    code = f"""
import sys
from prisma_client import Prisma
from prisma.embedder.v1.resources_pb2 import Document
from prisma_client.tables import Rows
assert not {{"pandas", "polars", "numpy"}} & set(sys.modules) - {{"numpy"}}
sys.modules[{library!r}] = None
Rows([], Document).to_{library}()
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert f"to_{library}() needs {library}, which is not installed: pip install {library}" in ended.stderr


def test_a_table_of_documents_is_a_frame_of_pandas_and_of_polars() -> None:
    large = [2**53 + 1, None]
    columns = {"id": ["a", "b"], "large": large, "flag": [True, None], "day": [datetime.date(2026, 1, 2), None]}
    about = {"features": [{"column": "feature: x", "index": 3, "label": "x", "trust": "TRUSTED"}], "notices": ["n"]}
    arrow = pa.table({**columns, "feature: x": pa.array([0, 0.1], pa.float32())})
    buffer = io.BytesIO()
    feather.write_feather(arrow.replace_schema_metadata({"prisma": json.dumps(about)}), buffer)
    table = DocumentTable(buffer.getvalue())
    frame = table.to_pandas()
    assert dict(frame.dtypes.astype(str)) == {
        "id": str(pd.Series(["a"]).dtype) if pd.__version__ >= "3" else "object",
        "large": "Int64",
        "flag": "boolean",
        "day": "datetime64[ms]",
        "feature: x": "float32",
    }
    assert frame["large"][0] == large[0] and pd.isna(frame["large"][1])
    assert table.to_polars().schema["large"] == pl.Int64 and table.to_polars()["large"].to_list() == large
    assert table.to_arrow().equals(arrow) and "2 rows, 5 columns" in table._repr_html_()
    assert (table.features, table.notices) == (about["features"], ["n"])
