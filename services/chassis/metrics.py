"""Prometheus metrics of the calls, and the listener that serves them."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from functools import cache
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import Counter, Gauge, Histogram, make_wsgi_app

from prisma_common.addresses import host_and_port, is_loopback
from services.chassis.auth import Keys
from services.chassis.errors import PrismaError
from services.chassis.startup import StartRefused

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

_CALLS = Counter("prisma_rpc_total", "Calls that have ended", ["service", "method", "code"])
_SECONDS = Histogram(
    "prisma_rpc_seconds",
    "Duration of calls, in seconds",
    ["service", "method"],
    buckets=(0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300),
)
_IN_FLIGHT = Gauge("prisma_rpc_in_flight", "Calls in progress", ["service"])
calls, seconds, in_flight = cache(_CALLS.labels), cache(_SECONDS.labels), cache(_IN_FLIGHT.labels)
"""The metric of these labels, in their order: looked up once, since every call needs three of them."""
REQUEST_SECONDS = 10


def listen(address: str, keys: Keys) -> None:
    """Serves the metrics over HTTP on `host:port`; beyond loopback to callers with an API key only.

    Raises StartRefused where the address cannot be used.
    """
    metrics = make_wsgi_app()
    is_open = is_loopback(address)

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            if not is_open:
                keys.caller(environ.get("HTTP_AUTHORIZATION", ""))
        except PrismaError as error:
            start_response("401 Unauthorized", [("Content-Type", "text/plain"), ("WWW-Authenticate", "Bearer")])
            return [f"{error.message}\n".encode()]
        return metrics(environ, start_response)

    try:
        host, port = host_and_port(address)
        server = make_server(host, port, answer, _Server, handler_class=_Quiet)
    except (OSError, ValueError) as error:
        raise StartRefused(f"metrics cannot be served on {address} (PRISMA_METRICS_LISTEN): {error}") from error
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    timeout = REQUEST_SECONDS

    def log_message(self, format: str, *arguments: object) -> None:
        """Writes nothing: scrapes are no events."""
