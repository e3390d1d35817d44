"""A proxy before OpenSearch that fails as a test says: it rejects, delays and drops; it can speak TLS."""

from __future__ import annotations

import http.client
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

Fault = Callable[["Exchange"], None]
"""Called with each request; may answer it."""


class Dropped(Exception):
    """The connection is closed without an answer."""


@dataclass
class Exchange:
    """One request, and the answer that a fault gives instead of the cluster."""

    method: str
    path: str
    headers: http.client.HTTPMessage
    body: bytes
    status: int | None = None
    answer: bytes = b""

    @property
    def is_bulk(self) -> bool:
        """Whether it writes documents."""
        return urlsplit(self.path).path.endswith("/_bulk")

    def reject(self, status: int, answer: bytes) -> None:
        """Answers instead of the cluster."""
        self.status, self.answer = status, answer

    def drop(self) -> None:
        """Closes the connection."""
        raise Dropped


@dataclass
class Proxy:
    """A running proxy."""

    url: str
    faults: list[Fault] = field(default_factory=list)
    drops_answers: Callable[[Exchange], bool] = lambda _: False
    """Whether the cluster does what is requested, and its answer is lost."""
    exchanges: list[Exchange] = field(default_factory=list)

    def count(self, part: str = "") -> int:
        """How many requests had this in their path."""
        return sum(part in exchange.path for exchange in self.exchanges)


@contextmanager
def proxy_of(url: str, certificates: Path | None = None, *, asks_for_certificate: bool = False) -> Iterator[Proxy]:
    """A proxy of the server at `url`. certificates: a folder that `Authority.issue` has filled, for TLS."""
    target = urlsplit(url)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_request(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            exchange = Exchange(self.command, self.path, self.headers, body)
            proxy.exchanges.append(exchange)
            try:
                for fault in list(proxy.faults):
                    fault(exchange)
                if exchange.status is None:
                    self.forward(exchange)
                    if proxy.drops_answers(exchange):
                        raise Dropped
            except Dropped:
                self.close_connection = True
                return
            self.send_response(exchange.status or 200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(exchange.answer)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(exchange.answer)

        do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = handle_request

        def forward(self, exchange: Exchange) -> None:
            connection = http.client.HTTPConnection(str(target.hostname), target.port, timeout=60)
            headers = {"content-type": self.headers.get("content-type") or "application/json"}
            connection.request(self.command, self.path, body=exchange.body or None, headers=headers)
            response = connection.getresponse()
            exchange.status, exchange.answer = response.status, response.read()
            connection.close()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if certificates is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates / "certificate.pem", certificates / "key.pem")
        if asks_for_certificate:
            context.load_verify_locations(certificates / "authority.pem")
            context.verify_mode = ssl.CERT_REQUIRED
        server.socket = context.wrap_socket(server.socket, server_side=True)
    proxy = Proxy(f"{'https' if certificates else 'http'}://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def first(count: int, fault: Fault, *, of: Callable[[Exchange], bool]) -> Fault:
    """The fault on the first `count` requests of a kind."""
    remaining = [None] * count

    def apply(exchange: Exchange) -> None:
        if of(exchange) and remaining:
            remaining.pop()
            fault(exchange)

    return apply


def slow(seconds: float) -> Fault:
    """Delays requests."""
    return lambda _: time.sleep(seconds)
