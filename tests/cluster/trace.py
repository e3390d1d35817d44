"""One trace of import → embed → train → label → search through all processes, collected by a receiver of this process.

`python -m tests.cluster.trace` prints it as a tree.
"""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent import futures
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from tests.broken_ollama import broken_ollama
from tests.ports import free_port
from tests.system.installation import Installation

TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"
DOCUMENTS = 150


@dataclass(frozen=True)
class Span:
    """A span that was received."""

    service: str
    name: str
    id: str
    parent: str
    start: int
    """Nanoseconds since 1970."""
    milliseconds: float


class Receiver(trace_service_pb2_grpc.TraceServiceServicer):
    """Collects the spans that processes send by OTLP over gRPC."""

    def __init__(self) -> None:
        self._spans: dict[str, Span] = {}
        self._lock = threading.Lock()
        self._server = grpc.server(futures.ThreadPoolExecutor(2))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, self._server)
        self.endpoint = f"http://127.0.0.1:{free_port()}"
        self._server.add_insecure_port(self.endpoint.removeprefix("http://"))

    def __enter__(self) -> Receiver:
        self._server.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.stop(1).wait()

    def Export(self, request: Any, context: Any) -> Any:
        with self._lock:
            for resource in request.resource_spans:
                attributes = {item.key: item.value.string_value for item in resource.resource.attributes}
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        if span.trace_id.hex() == TRACE:
                            self._add(attributes["service.name"], span)
        return trace_service_pb2.ExportTraceServiceResponse()

    def _add(self, service: str, span: Any) -> None:
        self._spans[span.span_id.hex()] = Span(
            service=service,
            name=span.name,
            id=span.span_id.hex(),
            parent=span.parent_span_id.hex(),
            start=span.start_time_unix_nano,
            milliseconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e6,
        )

    def spans(self) -> list[Span]:
        """The spans of the trace so far, in the order of their beginning."""
        with self._lock:
            return sorted(self._spans.values(), key=lambda span: span.start)


def paths(spans: list[Span]) -> list[tuple[tuple[str, ...], Span]]:
    """Each span behind the names of those that it is within, as `service: name`, depth first."""
    children: dict[str, list[Span]] = defaultdict(list)
    ids = {span.id for span in spans}
    for span in spans:
        children[span.parent if span.parent in ids else ""].append(span)

    def below(parent: str, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Span]]:
        for span in children[parent]:
            own = (*path, f"{span.service}: {span.name}")
            yield own, span
            yield from below(span.id, own)

    return list(below("", ()))


def tree(spans: list[Span]) -> str:
    """A trace as an indented list; equal neighbours without spans within are one line."""
    lines: list[tuple[str, int, float]] = []
    for path, span in paths(spans):
        line = "  " * (len(path) - 1) + path[-1]
        if lines and lines[-1][0] == line:
            lines[-1] = (line, lines[-1][1] + 1, lines[-1][2] + span.milliseconds)
        else:
            lines.append((line, 1, span.milliseconds))
    return "\n".join(
        f"{line}  {milliseconds:,.0f} ms{f' ({count} times)' if count > 1 else ''}"
        for line, count, milliseconds in lines
    )


def work(folder: Path) -> list[Span]:
    """Import, embedding, training, labels and a search under one trace; the spans of all processes."""
    with broken_ollama() as ollama, Receiver() as receiver:
        settings = {"PRISMA_OLLAMA_URL": ollama.url, "PRISMA_OTLP_ENDPOINT": receiver.endpoint}
        with Installation(folder, **settings) as installation:
            with httpx.Client(base_url=installation.url, trust_env=False, timeout=120) as client:
                _call_all(client)
            for process in installation.processes.values():
                process.stop()  # sends what is left
        return receiver.spans()


def _call_all(client: httpx.Client) -> None:
    def post(path: str, body: Any) -> Any:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        response = client.post(f"/v1/{path}", content=content, headers={"traceparent": TRACEPARENT})
        assert response.status_code == 200, response.text
        return response.json()

    def wait(job: Any) -> None:
        for _ in range(1200):
            state = client.get(f"/v1/{job['name']}").json()["state"]  # without traceparent: another trace
            assert state not in ("STATE_FAILED", "STATE_CANCELLED")
            if state == "STATE_SUCCEEDED":
                return
            time.sleep(0.1)
        raise AssertionError(job)

    texts = [{"id": str(number), "text": f"ferry {number} carries {number % 7} people"} for number in range(DOCUMENTS)]
    post("datasets?datasetId=d", {"embeddingModel": "ollama/good:latest"})
    post("datasets/d/documents:import", json.dumps(texts).encode())
    wait(post("datasets/d:embed", {}))
    post("runs?runId=r", {"dataset": "datasets/d", "config": {"expansion": 2, "k": 4, "epochs": 2, "siblings": 0}})
    wait(post("runs/r:train", {}))
    wait(post("runs/r:computeStatistics", {}))
    wait(post("runs/r/features:label", {"options": {"model": "ollama/good:latest"}, "limit": 5}))
    for _ in range(600):
        if len(client.get("/v1/datasets/d/index").json().get("streams", ())) >= 3:
            break
        time.sleep(0.1)
    post("datasets/d/documents:search", {"query": "ferries for people"})


def main() -> None:
    """Prints the trace."""
    with tempfile.TemporaryDirectory() as folder:
        print(tree(work(Path(folder))))


if __name__ == "__main__":
    main()
