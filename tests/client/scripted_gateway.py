"""An HTTP server that fails on purpose: each request takes the next answer of a script."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Gateway:
    """The server's address, and the requests that it received."""

    url: str
    requests: list[str] = field(default_factory=list)
    bodies: list[str] = field(default_factory=list)


def error(
    status: int, code: str, reason: str, message: str = "a message", *, metadata: Mapping[str, str] | None = None
) -> Answer:
    """An error as the gateway reports it."""
    return reply(status, {"error": status_json(code, reason, message, metadata)})


def status_json(
    code: str, reason: str, message: str = "a message", metadata: Mapping[str, str] | None = None
) -> dict[str, Any]:
    info = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": reason,
        "domain": "prisma",
        "metadata": dict(metadata or {"run": "r"}),
    }
    return {"code": 503, "status": code, "message": message, "details": [info]}


def reply(status: int, body: Any) -> Answer:
    """A JSON response."""

    def send(handler: BaseHTTPRequestHandler) -> None:
        data = json.dumps(body).encode()
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    return send


def stream(*messages: Any, cut: bool = False, headers: Mapping[str, str] | None = None) -> Answer:
    """A stream of JSON lines; `cut` breaks the connection within a chunk."""

    def send(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        handler.end_headers()
        for message in messages:
            line = json.dumps(message).encode() + b"\n"
            handler.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
        handler.wfile.write(b"ff\r\nonly a part" if cut else b"0\r\n\r\n")
        handler.wfile.flush()
        if cut:
            handler.connection.shutdown(socket.SHUT_RDWR)  # to close it is not enough: the handler's files keep it

    return send


@contextmanager
def scripted(answers: Sequence[Answer]) -> Generator[Gateway]:
    """Serves the answers in their order, the last one for ever."""
    remaining = list(answers)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            gateway.requests.append(f"{self.command} {self.path}")
            gateway.bodies.append(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())
            (remaining.pop(0) if len(remaining) > 1 else remaining[0])(self)

        do_POST = do_DELETE = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    gateway = Gateway(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield gateway
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
