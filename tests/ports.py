"""Ports for servers of tests: none is handed out twice while it may be in use, in all test runs of a machine.

A server that a test kills and starts again must find its port free. So ports come from below the range that the kernel
gives to outgoing connections, in turn, from a counter that all test processes share.
"""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
from pathlib import Path

_FIRST, _LAST = 12_000, 31_999
_COUNTER = Path(tempfile.gettempdir()) / f"prisma-test-ports-{os.getuid()}"


def free_port() -> int:
    """A port that nothing listens on."""
    return free_ports(1)


def free_ports(count: int) -> int:
    """The first of `count` consecutive ports that nothing listens on."""
    with _COUNTER.open("a+") as counter:
        fcntl.flock(counter, fcntl.LOCK_EX)
        counter.seek(0)
        first = int(counter.read() or _FIRST)
        while True:
            if first + count > _LAST:
                first = _FIRST
            if all(_is_free(port) for port in range(first, first + count)):
                break
            first += 1
        counter.truncate(0)
        counter.write(str(first + count))
        return first


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
