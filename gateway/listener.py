"""The socket that the gateway accepts HTTP on: bound by the gateway, or inherited from what supervises it.

An inherited socket stays open while the gateway restarts: connections wait in its backlog for the next process.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from gateway.settings import GatewaySettings
from prisma_common import listening
from services.chassis.startup import StartRefused

_FIRST_DESCRIPTOR = 3
"""Where systemd puts the sockets that it hands over (sd_listen_fds)."""


def http_listener(settings: GatewaySettings, environment: Mapping[str, str]) -> socket.socket:
    """The socket of PRISMA_HTTP_LISTEN_FD, or of systemd, or a new one on PRISMA_HTTP_LISTEN. Raises StartRefused."""
    descriptor = settings.http_listen_fd
    if descriptor is None and environment.get("LISTEN_PID") == str(os.getpid()):
        descriptor = _handed_over(environment.get("LISTEN_FDS", "0"))
    return bound_socket(settings.http_listen) if descriptor is None else inherited_socket(descriptor)


def address_of(listener: socket.socket) -> str:
    """`host:port` of a listener."""
    host, port, *_ = listener.getsockname()
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def bound_socket(listen: str) -> socket.socket:
    """A socket that listens on `host:port`. Raises StartRefused."""
    try:
        return listening.listening_socket(listen)
    except (OSError, ValueError) as error:
        raise StartRefused(
            f"the gateway cannot listen on {listen}: {error}. Is another one running? "
            "PRISMA_HTTP_LISTEN sets another address."
        ) from error


def inherited_socket(descriptor: int) -> socket.socket:
    """A socket that this process was started with. Raises StartRefused."""
    try:
        listener = socket.socket(fileno=descriptor)
    except OSError as error:
        raise StartRefused(f"the gateway was handed no socket as descriptor {descriptor}: {error}") from error
    is_tcp = listener.family in (socket.AF_INET, socket.AF_INET6) and listener.type == socket.SOCK_STREAM
    if not is_tcp or not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        listener.close()
        raise StartRefused(f"expected a TCP socket that listens as descriptor {descriptor}")
    listener.set_inheritable(False)
    return listener


def _handed_over(count: str) -> int | None:
    if count == "0":
        return None
    if count != "1":
        raise StartRefused(f"expected one socket from systemd, the one for HTTP; got LISTEN_FDS={count}")
    return _FIRST_DESCRIPTOR
