"""What requests leave in access log, metrics and traces, over HTTP and gRPC-Web, and that strangers leave no traces."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry import context, trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import REGISTRY

from gateway import app
from gateway.doors import Doors
from gateway.grpc_web import GrpcWeb
from gateway.local import LocalServices
from gateway.overview import Overview
from gateway.settings import GatewaySettings
from gateway.transcoder import Transcoder
from prisma.common.v1.job_pb2 import Job, WatchJobRequest
from prisma_client.cli import keys
from prisma_common.keys import Scope
from services.chassis import access_log, tracing
from services.chassis.errors import PrismaError, Unavailable
from services.chassis.limits import CallLimit
from services.chassis.status import StatusServicer

WATCH = "/prisma.common.v1.JobService/WatchJob"
GRPC_WEB = {"content-type": "application/grpc-web+proto"}
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SECRET = "what a document says"


class Jobs:
    """A job that nothing happens to."""

    async def WatchJob(self, _request: WatchJobRequest, _context: object) -> AsyncIterator[Job]:
        yield Job()
        await asyncio.Event().wait()


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway with keys; the client shows one."""
    key = keys.create("reader", tmp_path / "keys", scope=Scope.READ)
    settings = GatewaySettings.model_validate(
        {"data_dir": tmp_path, "api_keys_file": tmp_path / "keys", "service_key": "0123456789abcdef"}
    )
    local = LocalServices({"prisma.common.v1.JobService": Jobs()})
    application = app.build(
        transcoder=Transcoder({}, local, 1000),
        web_calls=GrpcWeb({}, local, 1000),
        doors=Doors(settings, settings.data_of("gateway")),
        overview=Overview({}, {}, StatusServicer("gateway", tmp_path, [], lambda: 0)),
        limit=CallLimit(total=10, per_caller=10),
        ready=lambda: True,
    )
    transport, headers = httpx.ASGITransport(application), {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client:
        yield client


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "_tracer", provider.get_tracer("test"))
    return exporter


def answers(code: int) -> float:
    labels = {"method": "POST", "route": WATCH, "code": str(code)}
    return REGISTRY.get_sample_value("prisma_http_total", labels) or 0.0


async def test_a_call_over_grpc_web_is_recorded_with_its_own_code(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries: list[dict[str, Any]] = []
    monkeypatch.setattr(access_log, "record", lambda _event, **values: entries.append(values))
    before = answers(504), answers(200)
    ended = await client.post(WATCH, content=b"\0\0\0\0\0", headers={**GRPC_WEB, "grpc-timeout": "50m"})
    assert ended.status_code == 200
    assert b"grpc-status: 4\r\n" in ended.content, "a deadline is one of the whole stream"
    assert (entries[-1]["code"], entries[-1]["grpc_code"]) == (200, "DEADLINE_EXCEEDED")
    assert (answers(504), answers(200)) == (before[0] + 1, before[1])


async def test_only_routes_of_grpc_web_answer_in_its_form(client: httpx.AsyncClient) -> None:
    for method, path, code in (("POST", "/session", 400), ("GET", "/v1/nothing", 404), ("POST", "/nothing", 405)):
        response = await client.request(method, path, content=b"{}", headers=GRPC_WEB)
        assert (response.status_code, response.headers["content-type"]) == (code, "application/json"), path


async def test_admitted_callers_alone_have_spans_and_continue_traces(
    client: httpx.AsyncClient, spans: InMemorySpanExporter
) -> None:
    strange = {"authorization": "Bearer unknown"}
    for path, headers in (("/v1/jobs", strange), ("/healthz", {}), ("/session", {}), ("/metrics", {}), ("/", {})):
        await client.get(path, headers={**headers, "traceparent": PARENT})
    assert not spans.get_finished_spans()
    await client.get("/v1/nothing", headers={"traceparent": PARENT})
    assert _parent(spans) == int(PARENT.split("-")[2], 16)
    # A server may run a request in the context of an earlier one.
    earlier = trace.NonRecordingSpan(trace.SpanContext(1, 2, is_remote=False, trace_flags=trace.TraceFlags(1)))
    token = context.attach(trace.set_span_in_context(earlier))
    await client.get("/v1/nothing")
    context.detach(token)
    assert _parent(spans) is None


def _parent(spans: InMemorySpanExporter) -> int | None:
    last: ReadableSpan = spans.get_finished_spans()[-1]
    return None if last.parent is None else last.parent.span_id


@pytest.mark.parametrize(
    ("error", "reason"), [(Unavailable(SECRET), "UNAVAILABLE"), (ValueError(SECRET), "ValueError")]
)
def test_spans_hold_no_messages_of_errors(spans: InMemorySpanExporter, error: Exception, reason: str) -> None:
    with pytest.raises((PrismaError, ValueError)), tracing.span("call", "client"):
        raise error
    span = spans.get_finished_spans()[-1]
    assert (span.status.is_ok, span.status.description) == (False, reason)
    assert SECRET not in span.to_json()
