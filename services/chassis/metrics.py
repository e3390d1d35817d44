"""Prometheus metrics of calls, database, files and message server, and the listener that serves them.

docs/reference/metrics.md lists the metrics of all modules. Labels have few values: names of services, methods, kinds
and states, and never what callers choose.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from google.protobuf.descriptor import ServiceDescriptor
from prometheus_client import Counter, Gauge, Histogram, make_wsgi_app

from prisma_common import contract
from prisma_common.addresses import host_and_port, is_loopback
from services.chassis.auth import Keys, KeysUnreadable
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
_TRANSACTIONS = Histogram(
    "prisma_database_transaction_seconds",
    "Duration of database transactions, in seconds: reads, and writes with their wait for other writers",
    ["service", "access"],
    buckets=(0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60),
)
_LOCK_WAITS = Histogram(
    "prisma_database_lock_wait_seconds",
    "Time that write transactions have waited for other writers, in seconds",
    ["service"],
    buckets=(0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 30),
)
_BLOB_BYTES = Counter(
    "prisma_blob_bytes_total", "Bytes of stored files written, and fetched from the object store", ["direction"]
)
_BLOB_USES = Counter(
    "prisma_blob_uses_total", "Uses of stored files, by whether a local copy existed (local) or was fetched", ["source"]
)
calls, seconds, in_flight = cache(_CALLS.labels), cache(_SECONDS.labels), cache(_IN_FLIGHT.labels)
"""The metric of these labels, in their order: looked up once, since every call needs three of them."""
transactions, lock_waits = cache(_TRANSACTIONS.labels), cache(_LOCK_WAITS.labels)
blob_bytes, blob_uses = cache(_BLOB_BYTES.labels), cache(_BLOB_USES.labels)
connections = Gauge(
    "prisma_database_connections", "Connections to the database: in_use by a transaction, or idle", ["service", "state"]
)
nats_connected = Gauge("prisma_nats_connected", "1 while the message server can be used, else 0")
nats_reconnects = Counter("prisma_nats_reconnects_total", "Connections to the message server after the first one")
nats_seconds = Histogram(
    "prisma_nats_round_trip_seconds",
    "Duration of requests to the message server, in seconds",
    buckets=(0.001, 0.005, 0.02, 0.1, 0.5, 2, 5),
)
_DEFECTS = ("INTERNAL", "UNKNOWN", "DATA_LOSS")
REQUEST_SECONDS = 10
"""How long a connection may take in all."""
MAX_CONNECTIONS = 16


def start_at_zero(service: str, served: ServiceDescriptor) -> None:
    """Shows the defects of a gRPC service's methods before the first: a counter that appears at 1 has not increased."""
    for method in served.methods:
        for code in _DEFECTS:
            calls(service, contract.full_name(method), code)


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
        except KeysUnreadable as error:
            start_response("503 Service Unavailable", [("Content-Type", "text/plain")])
            return [f"{error.message}\n".encode()]
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
    """MAX_CONNECTIONS at a time: one more ends the oldest, so that idle ones keep no scraper out."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, *arguments: Any) -> None:
        self._lock = threading.Lock()
        self._start_times: dict[socket.socket, float] = {}
        self._slots = threading.BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serves a connection in a thread of its own."""
        if not self._slots.acquire(blocking=False):
            self._end_oldest()
            while not self._slots.acquire(timeout=0.1):
                self._end_oldest()
        with self._lock:
            self._start_times[request] = time.monotonic()
        super().process_request(request, client_address)

    def _end_oldest(self) -> None:
        with self._lock:
            for oldest in [*self._start_times][:1]:
                _end(oldest)
                self._start_times[oldest] = self._start_times.pop(oldest)  # then another one's turn, should it not end

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serves a connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def service_actions(self) -> None:
        """Ends connections whose time is over; twice a second."""
        now = time.monotonic()
        with self._lock:
            for connection, start in self._start_times.items():
                if now - start > REQUEST_SECONDS:
                    _end(connection)

    def shutdown_request(self, request: Any) -> None:
        """Closes a connection."""
        with self._lock:
            self._start_times.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Writes nothing of connections that break."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def _end(connection: socket.socket) -> None:
    """Ends what a thread of its own still reads or writes; the thread closes it."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class _Quiet(WSGIRequestHandler):
    timeout = REQUEST_SECONDS

    def log_message(self, format: str, *arguments: object) -> None:
        """Writes nothing: scrapes are no events."""
