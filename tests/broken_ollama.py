"""A server that speaks Ollama's protocol and misbehaves by the name of its model: what a real one does only rarely."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

DIMENSION = 32
EMBEDDING_MODELS = (
    "good", "nan", "short", "dims", "null", "huge", "dead", "busy", "gone", "flaky", "html", "list", "denied",
)  # fmt: skip
CHAT_MODELS = (
    "good", "control", "long", "chatty", "nonsense", "sometimes", "filtered", "dead", "html", "denied",
    "refusing", "constant", "placed", "excessive",
)  # fmt: skip
PROBE = ["dimension"]
"""The texts of the embedder's own request for a model's dimension, which all models answer."""
IDEA = "The idea: "
"""What questions to judges start with."""
Response = tuple[int, Any]

_ERRORS: dict[str, Response] = {
    "dead": (500, {"error": "llama runner process has terminated: signal: killed"}),
    "busy": (503, {"error": "server busy, please try again.  maximum pending requests exceeded"}),
    "gone": (404, {"error": 'model "gone" not found, try pulling it first'}),
    "html": (200, b"<html>Bad gateway</html>"),
    "list": (200, []),
    "denied": (401, {"error": "unauthorized"}),
}
_LABELS = {
    "good": '{"label": "Ferries", "description": "Ships that carry people."}',
    "control": json.dumps({"label": "Fer\x00ries\u202e \ud800\tand\nships\x1b[31m", "description": "a\x07b"}),
    "long": json.dumps({"label": "word " * 500, "description": "x" * 5000}),
    "chatty": 'Sure! ```json\n{"label": "Ferries", "description": 7}\n``` {"label": "Ferries"}',
    "nonsense": "[" * 100_000,
    "refusing": "I am sorry, but I cannot rate these documents.",
}
_RATINGS: dict[str, Callable[[str, list[str]], list[Any]]] = {
    "good": lambda idea, documents: [overlap(idea, document) for document in documents],
    "constant": lambda _idea, documents: [7] * len(documents),
    "placed": lambda _idea, documents: list(range(len(documents))),
    "excessive": lambda _idea, documents: [True, "7", 11, -1, None][: len(documents)],
}
"""How models rate documents, of those that give ratings."""


class BrokenOllama(ThreadingHTTPServer):
    """Counts the requests to embed and the questions to judges; `repaired` models behave well.

    embed_seconds: how long each request to embed takes.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.embed_requests = 0
        self.judge_questions = 0
        self.embed_seconds = 0.0
        self.repaired: set[str] = set()

    def embed(self, model: str, texts: Sequence[str], truncate: bool) -> Response:
        """What `/api/embed` answers."""
        if texts != PROBE and model not in self.repaired:
            self.embed_requests += 1
            if model in _ERRORS:
                return _ERRORS[model]
            if model == "flaky" and self.embed_requests % 3 == 0:
                return 500, {"error": "llama runner process no longer running: -1"}
            if model == "nan" and any("ODD" in text for text in texts):
                return 500, {"error": "failed to encode response: json: unsupported value: NaN"}
            if model == "short" and len(texts) > 1:
                return 200, {"embeddings": [vector(text) for text in texts[:-1]]}
        if not truncate and any(len(text) > 2000 for text in texts):
            return 400, {"error": "the input length exceeds the context length"}
        return 200, {"embeddings": [_odd(model, text) for text in texts]}

    def chat(self, model: str, content: str) -> Response:
        """What `/api/chat` answers; where documents are ODD, `sometimes` fails and `filtered` declines."""
        if model in self.repaired:
            model = "good"
        if model in _ERRORS:
            return _ERRORS[model]
        if model == "sometimes":
            model = "nonsense" if "ODD" in content else "good"
        if model == "filtered":
            if "ODD" in content:
                return 400, {"error": "the request exceeds the available context size"}
            model = "good"
        if content.startswith(IDEA):
            self.judge_questions += 1
            if model in _RATINGS:
                idea, *documents = re.split(r"\n\n\[document \d+\]\n", content.removeprefix(IDEA))
                return 200, {"message": {"content": json.dumps({"ratings": _RATINGS[model](idea, documents)})}}
        return 200, {"message": {"content": _LABELS.get(model, "{}")}}


def vector(text: str, dimension: int = DIMENSION) -> list[float]:
    """The stand-in's vector of a text: random numbers that depend on the text alone."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
    return np.random.default_rng(seed).standard_normal(dimension).tolist()


def overlap(idea: str, document: str) -> int:
    """The share of an idea's words that a document has, of 10; where a part is marked, that the part has."""
    words = set(idea.replace(",", " ").split())
    part = re.search("«««(.*)»»»", document, re.DOTALL)
    return round(10 * len(words & set((part[1] if part else document).split())) / max(1, len(words)))


def _odd(model: str, text: str) -> list[float] | list[None]:
    if "ZERO" in text:
        return [0.0] * DIMENSION
    if "ODD" in text and model == "dims":
        return vector(text, DIMENSION - 1)
    if "ODD" in text and model == "null":
        return [None] * DIMENSION
    if "ODD" in text and model == "huge":
        return [1e39] * DIMENSION
    return vector(text)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: BrokenOllama  # pyright: ignore[reportIncompatibleVariableOverride]

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/api/version":
            self._respond((200, {"version": "0.0.broken"}))
        else:
            names = dict.fromkeys((*EMBEDDING_MODELS, *CHAT_MODELS))
            self._respond((200, {"models": [{"name": f"{name}:latest", "digest": name} for name in names]}))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        model = body["model"].removesuffix(":latest")
        if self.path == "/api/show":
            embeds = ["embedding"] * (model in EMBEDDING_MODELS)
            chats = ["completion"] * (model in CHAT_MODELS)
            self._respond((200, {"capabilities": embeds + chats, "model_info": {"x.context_length": 64}}))
        elif self.path == "/api/embed":
            time.sleep(self.server.embed_seconds)
            self._respond(self.server.embed(model, body["input"], body["truncate"]))
        else:
            self._respond(self.server.chat(model, body["messages"][-1]["content"]))

    def _respond(self, response: Response) -> None:
        status, value = response
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def broken_ollama() -> Generator[BrokenOllama]:
    """A running stand-in."""
    with BrokenOllama() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
