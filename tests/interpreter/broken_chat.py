"""A server that speaks Ollama's chat protocol and misbehaves by the name of its model."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODELS = ("good", "control", "long", "chatty", "nonsense", "sometimes", "dead", "html", "denied")
Response = tuple[int, Any]

_ERRORS: dict[str, Response] = {
    "dead": (500, {"error": "llama runner process has terminated: signal: killed"}),
    "html": (200, b"<html>Bad gateway</html>"),
    "denied": (401, {"error": "unauthorized"}),
}
_ANSWERS = {
    "good": '{"label": "Ferries", "description": "Ships that carry people."}',
    "control": json.dumps({"label": "Fer\x00ries\u202e \ud800\tand\nships\x1b[31m", "description": "a\x07b"}),
    "long": json.dumps({"label": "word " * 500, "description": "x" * 5000}),
    "chatty": 'Sure! ```json\n{"label": "Ferries", "description": 7}\n``` {"label": "Ferries"}',
    "nonsense": "[" * 100_000,
}


class BrokenChat(ThreadingHTTPServer):
    """Counts its chats; `repaired` models behave well."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.chats = 0
        self.repaired: set[str] = set()

    def chat(self, model: str, content: str) -> Response:
        """What `/api/chat` answers; `sometimes` fails where the documents speak of an ODD thing."""
        self.chats += 1
        if model in self.repaired:
            model = "good"
        if model in _ERRORS:
            return _ERRORS[model]
        if model == "sometimes":
            model = "nonsense" if "ODD" in content else "good"
        return 200, {"message": {"content": _ANSWERS[model]}}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: BrokenChat  # pyright: ignore[reportIncompatibleVariableOverride]

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self._respond((200, {"models": [{"name": f"{name}:latest", "digest": name} for name in MODELS]}))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/api/show":
            self._respond((200, {"capabilities": ["completion"]}))
        else:
            self._respond(self.server.chat(body["model"], body["messages"][-1]["content"]))

    def _respond(self, response: Response) -> None:
        status, value = response
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def broken_chat() -> Iterator[BrokenChat]:
    """A running stand-in."""
    with BrokenChat() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
