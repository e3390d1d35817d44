"""Embedding by model servers: requests and texts a second, by Ollama's protocol and by OpenAI's, against a stand-in.

The stand-in sleeps for each request and each text as a server with free capacity does: requests side by side take no
longer. It answers both protocols with the same vectors. Texts come in the batches of an embedding job.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import multiprocessing
import time
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from services.embedder.providers.ollama import OllamaProvider
from services.embedder.providers.openai import OpenAIProvider
from services.embedder.providers.recipes import ModelServer
from services.providers.endpoints import Endpoint

JOB_BATCH = 512
DIMENSION = 768
REQUEST_SECONDS = 0.02
TEXT_SECONDS = 0.002
_VECTOR = np.random.default_rng(0).standard_normal(DIMENSION).astype(np.float32)
_NUMBERS, _BASE64 = json.dumps(_VECTOR.tolist()), json.dumps(base64.b64encode(_VECTOR.tobytes()).decode())


def arguments(parser: argparse.ArgumentParser) -> None:
    """The benchmark's options."""
    parser.add_argument("--texts", type=int, default=10_000)


def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The records."""
    texts = [f"text number {number} of a dataset" for number in range(options.texts)]
    with _server() as url:
        cases = {
            "ollama, one request at a time": OllamaProvider(url),
            "openai, one request at a time": OpenAIProvider(_endpoint(url, concurrency=1)),
            "openai, 4 requests at a time": OpenAIProvider(_endpoint(url, concurrency=4)),
        }
        return [record for case, server in cases.items() for record in asyncio.run(_measured(case, server, texts, url))]


def _endpoint(url: str, *, concurrency: int) -> Endpoint:
    return Endpoint(
        name="stand-in",
        url=f"{url}/v1",
        key=None,
        embeddings=None,
        chat=None,
        matryoshka=(),
        normalize=False,
        max_batch=256,
        concurrency=concurrency,
        seconds=120.0,
    )


async def _measured(case: str, server: Any, texts: list[str], url: str) -> list[dict[str, Any]]:
    start, cpu = time.perf_counter(), time.process_time()
    await _embed(server, texts)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    counts = await server.server.get(f"{url}/counts")
    await server.close()
    values = {
        ("texts", "1/s"): len(texts) / seconds,
        ("requests", ""): counts["requests"],
        ("CPU of the client", "ms/1,000 texts"): 1e6 * cpu_seconds / len(texts),
    }
    return [
        {"benchmark": "providers", "subject": "prisma", "case": case, "metric": metric, "value": value, "unit": unit}
        for (metric, unit), value in values.items()
    ]


async def _embed(server: ModelServer, texts: list[str]) -> None:
    for start in range(0, len(texts), JOB_BATCH):
        answers = await server.embed("m", texts[start : start + JOB_BATCH], dimension=None)
        if len(answers) != len(texts[start : start + JOB_BATCH]):
            raise RuntimeError("expected a vector for each text")


@contextmanager
def _server() -> Generator[str]:
    """A stand-in in a process of its own."""
    parent, child = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(child,), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{parent.recv()}"
    finally:
        process.terminate()
        process.join()


def _serve(connection: Connection) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    connection.send(server.server_address[1])
    server.serve_forever()


class _Handler(BaseHTTPRequestHandler):
    """Answers `/v1/embeddings` and `/api/embed`; `/counts` says how many there were since it was last asked."""

    protocol_version = "HTTP/1.1"
    requests = 0

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        count, _Handler.requests = _Handler.requests, 0
        self._respond(json.dumps({"requests": count}))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        _Handler.requests += 1
        count = len(body["input"])
        time.sleep(REQUEST_SECONDS + TEXT_SECONDS * count)
        if self.path == "/api/embed":
            self._respond(f'{{"embeddings": [{", ".join([_NUMBERS] * count)}]}}')
            return
        entries = (f'{{"index": {index}, "embedding": {_BASE64}}}' for index in range(count))
        self._respond(f'{{"data": [{", ".join(entries)}]}}')

    def _respond(self, text: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())
