"""A TCP socket that listens, before the process that accepts its connections starts, and while it restarts."""

from __future__ import annotations

import socket

from prisma_common.addresses import host_and_port

BACKLOG = 1024


def listening_socket(address: str) -> socket.socket:
    """Returns a socket that listens on `host:port`. Raises OSError, ValueError.

    Its protocol is TCP by number, not 0: asyncio sets TCP_NODELAY only on accepted sockets that say so, and without it
    each response waits 40 ms for the client's delayed acknowledgement.
    """
    host, port = host_and_port(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
