"""Hits of a search as tables, which join the imported file by id."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable, Mapping
from typing import Any

import grpc.aio
import pandas as pd
import pytest
from google.rpc.error_details_pb2 import LocalizedMessage

from prisma.common.v1.table_pb2 import (
    TABLE_FORMAT_ARROW,
    TABLE_FORMAT_CSV,
    TABLE_FORMAT_JSON_LINES,
    TABLE_FORMAT_PARQUET,
)
from prisma.search.v1 import search_service_pb2 as pb2
from tests.calls import reason
from tests.process import ServiceProcess
from tests.search.conftest import Hint
from tests.search.owners import Data, Owners
from tests.search.test_service import Request, fill, until_current

READERS: Mapping[int, Callable[[Any], pd.DataFrame]] = {
    TABLE_FORMAT_CSV: pd.read_csv,
    TABLE_FORMAT_JSON_LINES: lambda file: pd.DataFrame(map(json.loads, file)),
    TABLE_FORMAT_PARQUET: pd.read_parquet,
    TABLE_FORMAT_ARROW: pd.read_feather,
}
SEARCH = {"parent": "datasets/a", "query": "open a socket", "run": "runs/a"}


@pytest.fixture
async def data(owners: Owners, service: ServiceProcess, stub: Any) -> Data:
    data = fill(owners)
    data.add("=cmd", '=SUM(A1) opens a socket\nand 東京, "too"', module="@x", list=["a", "b"], nested={"deep": 1.5})
    data.embed_all()
    await asyncio.to_thread(service.start)
    await until_current(stub)
    return data


async def exported(stub: Any, **request: Any) -> tuple[bytes, list[str]]:
    """The file, and its notices."""
    parts = [part async for part in stub.ExportHits(pb2.ExportHitsRequest(**request))]
    notices: list[str] = []
    for extension in parts[0].extensions:
        notice = LocalizedMessage()
        assert extension.Unpack(notice)
        notices.append(notice.message)
    return b"".join(part.data for part in parts), notices


async def test_hits_are_those_of_the_search_in_each_format(stub: Any, data: Data) -> None:
    searches = [
        SEARCH,
        {**SEARCH, "mode": Request.MODE_FULL_TEXT},
        {**SEARCH, "mode": Request.MODE_SEMANTIC, "filter": 'metadata.module = "net"'},
        {**SEARCH, "steering": [{"index": 1, "weight": 2.0}]},
    ]
    for search in searches:
        hits = (await stub.SearchDocuments(Request(**search, page_size=200))).hits
        assert len(hits) > 1
        for format, read in READERS.items():
            content, notices = await exported(
                stub, search=search, format=format, keep_formulas=format == TABLE_FORMAT_CSV
            )
            frame = read(io.BytesIO(content))
            assert not [notice for notice in notices if "first" in notice]
            assert frame["id"].tolist() == [hit.key for hit in hits]
            assert frame["rank"].tolist() == [hit.rank for hit in hits]
            assert frame["score"].tolist() == pytest.approx([hit.score for hit in hits])
            assert frame["snippet"].tolist() == [hit.snippet for hit in hits]
            assert frame["document"].tolist() == [hit.document for hit in hits]
            parts = {f"score.{part.part}" for hit in hits for part in hit.parts}
            assert {name for name in frame.columns if name.startswith("score.")} == parts
            total = frame[sorted(parts)].sum(axis=1)
            assert total.tolist() == pytest.approx([sum(part.contribution for part in hit.parts) for hit in hits])
            labels = [[shared.label for shared in hit.shared_features] for hit in hits]
            features = frame["features"].map(json.loads) if format == TABLE_FORMAT_CSV else frame["features"].map(list)
            assert features.tolist() == labels
            assert "module" in frame
            assert "passage" not in frame


async def test_a_spreadsheet_takes_nothing_for_a_formula(stub: Any, data: Data) -> None:
    content, _ = await exported(stub, search=SEARCH, byte_order_mark=True)
    assert content.startswith(b"\xef\xbb\xbfrank,id,")
    row = pd.read_csv(io.BytesIO(content)).set_index("id").loc["'=cmd"]
    assert row["module"] == "'@x"
    assert row["snippet"].startswith("'=SUM(A1)")
    assert (json.loads(row["list"]), row["nested.deep"]) == (["a", "b"], 1.5)


async def test_a_table_without_hits_has_its_columns(stub: Any, data: Data) -> None:
    search = {**SEARCH, "mode": Request.MODE_FULL_TEXT, "query": "nowhere"}
    for format, read in READERS.items():
        content, _ = await exported(stub, search=search, format=format)
        frame = read(io.BytesIO(content))
        assert len(frame) == 0
        assert format == TABLE_FORMAT_JSON_LINES or list(frame)[:3] == ["rank", "id", "score"]


async def test_metadata_of_many_keys_are_exported_as_json_lines(stub: Any, data: Data, hint: Hint) -> None:
    keys = {f"key {place}": place for place in range(1001)}
    data.add("wide", "open a socket of many keys", **keys, RANK="first")
    data.embed_all()
    await hint()
    await until_current(stub)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await exported(stub, search=SEARCH)
    assert reason(caught.value) == "INVALID_ARGUMENT"
    message = str(caught.value.details())
    assert "more than 1,000 keys" in message and "JSON lines" in message and "metadata_keys" not in message
    content, _ = await exported(stub, search=SEARCH, format=TABLE_FORMAT_JSON_LINES)
    hit = next(hit for hit in map(json.loads, content.splitlines()) if hit["id"] == "wide")
    assert keys.items() <= hit.items()
    assert hit["metadata.RANK"] == "first" and isinstance(hit["rank"], int)


async def test_what_is_left_out_is_said(stub: Any, data: Data) -> None:
    content, notices = await exported(stub, search=SEARCH, limit=2)
    assert len(pd.read_csv(io.BytesIO(content))) == 2
    assert notices[0] == "these are the first 2 hits of a search with 7 matches"
    paged = {**SEARCH, "page_size": 1, "page_token": "x"}
    assert (await exported(stub, search=paged, limit=2))[0] == content, "pages are not those of the request"


@pytest.mark.parametrize(
    ("request_fields", "error"),
    [
        ({"search": {}}, "INVALID_ARGUMENT"),
        ({"search": {**SEARCH, "parent": "datasets/none"}}, "DATASET_NOT_FOUND"),
        ({"search": {**SEARCH, "run": "runs/none"}}, "RUN_NOT_FOUND"),
        ({"search": {**SEARCH, "query": " "}}, "INVALID_ARGUMENT"),
        ({"search": {**SEARCH, "filter": "metadata.module ="}}, "INVALID_FILTER"),
        ({"search": SEARCH, "limit": 1001}, "INVALID_ARGUMENT"),
        ({"search": SEARCH, "format": TABLE_FORMAT_PARQUET, "byte_order_mark": True}, "INVALID_ARGUMENT"),
        ({"search": SEARCH, "format": 9}, "INVALID_ARGUMENT"),
    ],
)
async def test_a_wrong_request_has_no_file(stub: Any, data: Data, request_fields: dict[str, Any], error: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await exported(stub, **request_fields)
    assert reason(caught.value) == error
