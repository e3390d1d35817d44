"""The API over HTTP, in front of real services."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np

from tests.gateway.conftest import Suite


def reason(response: httpx.Response) -> str:
    """The reason of an error; all that every error must have is looked at too."""
    error = response.json()["error"]
    assert error["code"] == response.status_code
    assert error["message"]
    details = {detail["@type"].rpartition(".")[2]: detail for detail in error["details"]}
    assert details["RequestInfo"]["requestId"] == response.headers["x-request-id"]
    assert details["ErrorInfo"]["domain"] == "prisma"
    return details["ErrorInfo"]["reason"]


async def ended(suite: Suite, job: dict[str, Any]) -> dict[str, Any]:
    lines = [json.loads(line) async for line in _lines(suite, f"/v1/{job['name']}:watch")]
    assert lines[-1]["state"] == "STATE_SUCCEEDED", lines[-1]
    return lines[-1]


async def _lines(suite: Suite, path: str, **options: Any) -> AsyncIterator[str]:
    async with suite.http.stream("GET", path, **options) as response:
        assert response.status_code == 200, await response.aread()
        async for line in response.aiter_lines():
            yield line


async def filled(suite: Suite, count: int = 30) -> None:
    """A dataset `d` of some embedded documents."""
    created = await suite.http.post("/v1/datasets", params={"datasetId": "d"}, json={"displayName": "D"})
    assert created.json()["name"] == "datasets/d"
    rows = [{"id": f"k{row}", "text": f"text number {row} about topic {row % 5}", "row": row} for row in range(count)]
    report = await suite.http.post("/v1/datasets/d/documents:import", content=json.dumps(rows))
    assert report.json()["importedCount"] == str(count), report.text
    await ended(suite, (await suite.http.post("/v1/datasets/d:embed", json={})).json())


async def test_a_dataset_is_made_filled_read_changed_and_deleted(suite: Suite) -> None:
    await filled(suite)
    dataset = (await suite.http.get("/v1/datasets/d")).json()
    assert (dataset["embeddedCount"], dataset["pendingCount"], dataset["failedCount"]) == ("30", "0", "0")

    page = (await suite.http.get("/v1/datasets/d/documents", params={"pageSize": 20})).json()
    rest = (
        await suite.http.get("/v1/datasets/d/documents", params={"page_size": 20, "page_token": page["nextPageToken"]})
    ).json()
    assert [document["key"] for document in page["documents"] + rest["documents"]] == [f"k{row}" for row in range(30)]

    full = (await suite.http.get("/v1/datasets/d/documents/k7", params={"view": "DOCUMENT_VIEW_FULL"})).json()
    assert full["metadata"] == {"row": 7}
    vector = np.frombuffer(base64.b64decode(full["vector"]["data"]), "<f4")
    assert len(vector) == full["vector"]["dimension"] == dataset["dimension"]

    some = await suite.http.get("/v1/datasets/d/documents:batchGet", params=[("rows", 3), ("rows", 5), ("rows", 99)])
    assert [document["key"] for document in some.json()["documents"]] == ["k3", "k5"]
    assert some.json()["missing"] == ["99"]

    changed = await suite.http.patch("/v1/datasets/d", params={"updateMask": "description"}, json={"description": "x"})
    assert changed.json()["description"] == "x"
    assert changed.json()["displayName"] == "D"

    assert (await suite.http.delete("/v1/datasets/d")).status_code == 200
    missing = await suite.http.get("/v1/datasets/d")
    assert (missing.status_code, reason(missing)) == (404, "DATASET_NOT_FOUND")


async def test_a_file_is_imported_as_a_body_or_as_a_form_and_rejected_items_are_told(suite: Suite) -> None:
    await suite.http.post("/v1/datasets", params={"datasetId": "d"}, json={})
    lines = b'{"key": "a", "body": "one text"}\n{"key": "b"}\nno json\n{"key": "c", "body": "another"}\n'
    form = await suite.http.post(
        "/v1/datasets/d/documents:import",
        data={"idField": "key", "config.text_fields": "body"},
        files={"file": ("x.jsonl", lines, "application/octet-stream")},
    )
    report = form.json()
    assert (report["importedCount"], report["rejectedCount"]) == ("2", "2"), report
    assert [rejection["item"] for rejection in report["rejections"]] == ["2", "3"]

    again = await suite.http.post(
        "/v1/datasets/d/documents:import",
        params={"id_field": "key", "text_fields": "body", "validateOnly": "true"},
        content=lines,
    )
    assert again.json()["importedCount"] == "0"
    assert again.json()["rejectedCount"] == "4"

    preview = (
        await suite.http.post("/v1/documents:preview", params={"idField": "key", "keepFile": True}, content=lines)
    ).json()
    params = {"textFields": "key", "fileToken": preview["fileToken"]}
    other = (await suite.http.post("/v1/documents:preview", params=params)).json()
    assert [document["text"] for document in other["documents"]] == ["a", "b", "c"]
    refused = await suite.http.post("/v1/documents:preview", params={"fileToken": "gone"})
    assert refused.status_code == 400
    assert "config.file_token" in refused.text

    # Larger than a chunk, and sent in pieces of an odd size.
    rows = "".join(json.dumps({"id": f"r{row}", "text": "word " * 50}) + "\n" for row in range(12_000)).encode()

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(rows), 77_777):
            yield rows[start : start + 77_777]

    big = await suite.http.post("/v1/datasets/d/documents:import", content=pieces())
    assert big.json()["importedCount"] == "12000", big.text


async def test_streams_are_lines_or_events_and_downloads_are_files(suite: Suite) -> None:
    await filled(suite)
    lines = [json.loads(line) async for line in _lines(suite, "/v1/datasets/d/documents:read?readMask=key")]
    assert [document["key"] for block in lines for document in block["documents"]] == [f"k{row}" for row in range(30)]

    events = [
        line async for line in _lines(suite, "/v1/datasets/d/documents:read", headers={"accept": "text/event-stream"})
    ]
    assert events[0] == "event: message"
    assert json.loads(events[1].removeprefix("data: "))["documents"]
    assert events[-3:-1] == ["event: end", "data: {}"]

    run = await suite.http.post(
        "/v1/runs",
        params={"runId": "r"},
        json={"dataset": "datasets/d", "config": {"expansion": 1, "k": 4, "epochs": 2}},
    )
    assert run.status_code == 200, run.text
    not_yet = await suite.http.get("/v1/runs/r/weights:export")
    assert (not_yet.status_code, reason(not_yet)) == (400, "RUN_NOT_TRAINED")
    await ended(suite, (await suite.http.post("/v1/runs/r:train")).json())
    metrics = [json.loads(line) async for line in _lines(suite, "/v1/runs/r/metrics:watch")]
    assert [int(metric["step"]) for metric in metrics] == sorted(int(metric["step"]) for metric in metrics)
    weights = await suite.http.get("/v1/runs/r/weights:export")
    assert weights.headers["content-disposition"] == 'attachment; filename="r-weights.safetensors"'
    assert b"W_dec" in weights.content[:2000]


async def test_a_deadline_of_the_caller_is_kept(suite: Suite) -> None:
    suite.embedder_process.pause()
    try:
        late = await suite.http.get("/v1/datasets", headers={"X-Prisma-Timeout": "0.3"})
    finally:
        suite.embedder_process.resume()
    assert late.status_code == 503
    assert reason(late) == "SERVICE_UNAVAILABLE"


async def test_what_is_away_is_told_and_the_rest_goes_on(suite: Suite) -> None:
    away = await suite.http.get("/v1/runs/r/features")
    assert (away.status_code, reason(away)) == (503, "SERVICE_UNAVAILABLE")
    assert "interpreter" in away.json()["error"]["message"]
    assert away.headers["retry-after"]
    assert (await suite.http.get("/v1/datasets")).status_code == 200
    status = (await suite.http.get("/v1/status")).json()
    assert status["health"] == "HEALTH_DOWN"
    health = {service["service"]: service["health"] for service in status["services"]}
    assert health == {
        "embedder": "HEALTH_OK",  # with or without an Ollama on this machine: nobody has set one up
        "trainer": "HEALTH_OK",
        "interpreter": "HEALTH_DOWN",
        "search": "HEALTH_DOWN",
        "gateway": "HEALTH_OK",
    }
    down = next(service for service in status["services"] if service["service"] == "search")
    assert "127.0.0.1:9" in down["message"]
    assert (await suite.http.get("/v1/services/trainer/status")).json()["service"] == "trainer"
    assert (await suite.http.get("/readyz")).text == "ready\n"


BAD: list[tuple[str, str, dict[str, Any], int, str]] = [
    ("GET", "/v1/nothing", {}, 404, "UNIMPLEMENTED"),
    ("GET", "/v1/datasets/none", {}, 404, "DATASET_NOT_FOUND"),
    ("PUT", "/v1/datasets", {}, 405, "UNIMPLEMENTED"),
    ("GET", "/v1/datasets?pagesize=1", {}, 400, "INVALID_ARGUMENT"),
    ("GET", "/v1/datasets?pageSize=many", {}, 400, "INVALID_ARGUMENT"),
    ("GET", "/v1/datasets?pageSize=1&pageSize=2", {}, 400, "INVALID_ARGUMENT"),
    ("GET", "/v1/datasets?pageSize=-1", {}, 400, "INVALID_ARGUMENT"),
    ("GET", "/v1/datasets?pageSize=99999999999999999999", {}, 400, "INVALID_ARGUMENT"),
    ("GET", "/v1/datasets?pageToken=%00", {}, 400, "INVALID_PAGE_TOKEN"),
    ("GET", "/v1/datasets?showDeleted=yes", {}, 400, "INVALID_ARGUMENT"),
    ("GET", "/v1/datasets/a%2Fb", {}, 400, "INVALID_ARGUMENT"),
    ("POST", "/v1/datasets", {"content": b"{"}, 400, "INVALID_ARGUMENT"),
    ("POST", "/v1/datasets", {"content": b"\xff\xfe"}, 400, "INVALID_ARGUMENT"),
    ("POST", "/v1/datasets", {"content": b'{"displayName": NaN}'}, 400, "INVALID_ARGUMENT"),
    ("POST", "/v1/datasets", {"content": b"[" * 100_000}, 400, "INVALID_ARGUMENT"),
    ("POST", "/v1/datasets", {"json": ["a list"]}, 400, "INVALID_ARGUMENT"),
    ("POST", "/v1/datasets", {"json": {"colour": "red"}}, 400, "INVALID_ARGUMENT"),
    ("POST", "/v1/datasets", {"json": {"displayName": 3}}, 400, "INVALID_ARGUMENT"),
    ("POST", "/v1/datasets", {"json": {"displayName": "x" * 300}}, 400, "INVALID_ARGUMENT"),
    ("POST", "/v1/datasets?datasetId=a/b", {"json": {}}, 400, "INVALID_ARGUMENT"),
    ("POST", "/v1/datasets", {"json": {"description": "x" * 200_000}}, 413, "TOO_LARGE"),
    ("POST", "/v1/datasets", {"content": b"<a/>", "headers": {"content-type": "text/xml"}}, 415, "INVALID_ARGUMENT"),
    ("POST", "/v1/datasets/none:embed", {"json": {}}, 404, "DATASET_NOT_FOUND"),
    ("POST", "/v1/datasets/none/documents:import", {"content": b"[]"}, 404, "DATASET_NOT_FOUND"),
    ("POST", "/v1/datasets/d/documents:import", {"content": b""}, 400, "INVALID_FILE"),
    ("POST", "/v1/datasets/d/documents:import", {"content": b"PK\x03\x04zip"}, 400, "INVALID_FILE"),
    ("POST", "/v1/datasets/d/documents:import?colour=red", {"content": b"[]"}, 400, "INVALID_ARGUMENT"),
    (
        "POST",
        "/v1/datasets/d/documents:import",
        {"files": {"a": ("", b"")}, "data": {"x": "y"}},
        400,
        "INVALID_ARGUMENT",
    ),
    (
        "POST",
        "/v1/datasets/d/documents:import",
        {"content": b"--x", "headers": {"content-type": "multipart/form-data; boundary=y"}},
        400,
        "INVALID_ARGUMENT",
    ),
    ("POST", "/v1/runs", {"json": {"dataset": "datasets/d"}}, 400, "DATASET_NOT_EMBEDDED"),
    ("POST", "/v1/runs", {"json": {"dataset": "datasets/d", "config": {"k": -1}}}, 400, "INVALID_ARGUMENT"),
    ("POST", "/v1/texts:embed", {"json": {"embeddingModel": "builtin", "texts": ["  "]}}, 400, "INVALID_ARGUMENT"),
    (
        "POST",
        "/v1/texts:embed",
        {"json": {"embeddingModel": "none/x", "texts": ["a"]}},
        404,
        "EMBEDDING_MODEL_NOT_FOUND",
    ),
    ("GET", "/v1/jobs/none", {}, 404, "JOB_NOT_FOUND"),
    ("GET", "/v1/jobs", {"headers": {"X-Prisma-Timeout": "soon"}}, 400, "INVALID_ARGUMENT"),
    ("GET", "/v1/jobs", {"headers": {"Host": "prisma.example"}}, 403, "PERMISSION_DENIED"),
    ("POST", "/v1/datasets", {"json": {}, "headers": {"Origin": "http://a.example"}}, 403, "PERMISSION_DENIED"),
    # Where there are no keys, a header that would carry one opens nothing.
    ("GET", "/v1/jobs", {"headers": {"Host": "a.example", "Authorization": "Bearer x"}}, 403, "PERMISSION_DENIED"),
    (
        "POST",
        "/v1/datasets",
        {"json": {}, "headers": {"Origin": "http://a.example", "Authorization": "x"}},
        403,
        "PERMISSION_DENIED",
    ),
    ("POST", "/session", {"content": b'{"key": "' + b"x" * 5000 + b'"}'}, 413, "TOO_LARGE"),
    ("GET", "/v1", {}, 404, "UNIMPLEMENTED"),
    ("DELETE", "/v1/status", {}, 405, "UNIMPLEMENTED"),
    ("PUT", "/session", {}, 405, "UNIMPLEMENTED"),
    ("POST", "/healthz", {}, 405, "UNIMPLEMENTED"),
    ("POST", "/docs", {}, 405, "UNIMPLEMENTED"),
]


async def test_bad_requests_are_told_what_is_wrong(suite: Suite) -> None:
    await suite.http.post("/v1/datasets", params={"datasetId": "d"}, json={})
    for verb, path, options, code, expected in BAD:
        answer = await suite.http.request(verb, path, **options)
        assert (answer.status_code, reason(answer)) == (code, expected), (verb, path, options, answer.text)
    listed = (await suite.http.get("/v1/datasets")).json()["datasets"]
    assert [dataset["name"] for dataset in listed] == ["datasets/d"], "a bad request has made something"
    assert listed[0]["documentCount"] == "0"


async def test_the_page_its_documents_and_headers(suite: Suite) -> None:
    for path in ("/", "/runs/r/features?q=x", "/docs", "/docs/docs.js", "/docs/docs.css", "/healthz"):
        answer = await suite.http.get(path)
        assert "script-src 'self'" in answer.headers["content-security-policy"], path
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "json" not in answer.headers["content-type"], path
    for path in ("/docs/..%2f..%2fpyproject.toml", "/docs/%00", "/..%2f..%2fpyproject.toml"):
        assert b"prisma-suite" not in (await suite.http.get(path)).content
    assert (await suite.http.get("/v1/openapi.json")).json()["openapi"] == "3.1.0"
    assert "prisma_http_total" in (await suite.http.get("/metrics")).text
    answer = await suite.http.get("/v1/datasets", headers={"X-Request-Id": "my-own-id"})
    assert answer.headers["x-request-id"] == "my-own-id"


async def test_the_gateway_ends_in_order_while_a_stream_is_open(suite: Suite) -> None:
    await filled(suite)
    suite.trainer_process.kill()
    job = (await suite.http.get("/v1/jobs")).json()["jobs"][0]["name"]
    async with suite.http.stream("GET", f"/v1/{job}:watch") as stream:
        assert stream.status_code == 200
        status = await asyncio.to_thread(suite.gateway_process.stop)
    assert status == 0
