"""Where the processes listen and are reached by default, and what `host:port` means."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

EMBEDDER = "127.0.0.1:50051"
TRAINER = "127.0.0.1:50052"
INTERPRETER = "127.0.0.1:50053"
SEARCH = "127.0.0.1:50054"
GATEWAY = "127.0.0.1:50050"
"""Where the gateway listens for gRPC."""
HTTP = "127.0.0.1:8080"
"""Where the gateway listens for HTTP: the API and the page."""
HTTP_URL = f"http://{HTTP}"
NATS = "127.0.0.1:4222"
NATS_URL = f"nats://{NATS}"
OLLAMA_URL = "http://127.0.0.1:11434"

PROCESSES: Mapping[str, str] = {
    "embedder": EMBEDDER,
    "trainer": TRAINER,
    "interpreter": INTERPRETER,
    "search": SEARCH,
    "gateway": GATEWAY,
}
"""The gRPC address of each PRISMA process."""


def listen_variable(name: str) -> str:
    """The environment variable that says where `embedder`, `gateway`, `http`, `nats` … listens."""
    return f"PRISMA_{name.upper()}_LISTEN"


def host_and_port(address: str) -> tuple[str, int]:
    """The parts of `host:port` or `[host]:port`. Raises ValueError."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"expected host:port, got {address!r}")
    return host.strip("[]"), int(port)


def is_loopback(address: str) -> bool:
    """Whether `host:port` or `unix:path` can be reached from this machine only."""
    if address.startswith("unix:"):
        return True
    host = address.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
