"""Prometheus metrics of the calls."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram, start_http_server

CALLS = Counter("prisma_rpc_total", "Calls answered", ["service", "method", "code"])
SECONDS = Histogram(
    "prisma_rpc_seconds",
    "How long calls took, in seconds",
    ["service", "method"],
    buckets=(0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300),
)
IN_FLIGHT = Gauge("prisma_rpc_in_flight", "Calls that are being answered", ["service"])


def listen(address: str) -> None:
    """Serves the metrics over HTTP on `host:port`."""
    host, _, port = address.rpartition(":")
    start_http_server(int(port), host)
