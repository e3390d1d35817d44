"""The gateway's socket for HTTP: bound, or inherited from what supervises it."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.listener import address_of, bound_socket, http_listener
from gateway.settings import GatewaySettings
from prisma_common.listening import listening_socket
from services.chassis.startup import StartRefused
from tests.children import tied


def inherited(descriptor: int) -> socket.socket:
    """What the gateway makes of a descriptor that it was started with."""
    return http_listener(GatewaySettings(http_listen_fd=descriptor), {})


@pytest.mark.parametrize("is_inherited", [False, True])
async def test_responses_are_not_delayed_by_nagles_algorithm(is_inherited: bool) -> None:
    accepted: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def on_connection(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set_result(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    listener = bound_socket("127.0.0.1:0")
    if is_inherited:
        listener = inherited(listener.detach())
    server = await asyncio.start_server(on_connection, sock=listener)
    _, writer = await asyncio.open_connection(*listener.getsockname())
    assert await asyncio.wait_for(accepted, 20) == 1
    writer.close()
    server.close()


def test_an_address_in_use_refuses_the_start_in_words() -> None:
    listener = bound_socket("127.0.0.1:0")
    with listener, pytest.raises(StartRefused, match="PRISMA_HTTP_LISTEN"):
        bound_socket(f"127.0.0.1:{listener.getsockname()[1]}")


def test_a_connection_waits_for_the_process_that_inherits_the_socket() -> None:
    with listening_socket("127.0.0.1:0") as supervised:
        first = inherited(os.dup(supervised.fileno()))
        first.close()
        with socket.create_connection(supervised.getsockname()) as client:
            client.sendall(b"request")
            with inherited(os.dup(supervised.fileno())) as second, second.accept()[0] as connection:
                assert connection.recv(7) == b"request"
                assert not second.get_inheritable()


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
def test_a_descriptor_of_another_kind_refuses_the_start(family: socket.AddressFamily) -> None:
    with socket.socket(family) as silent, pytest.raises(StartRefused, match="TCP socket that listens"):
        inherited(os.dup(silent.fileno()))
    with pytest.raises(StartRefused, match="descriptor"):
        inherited(os.open(os.devnull, os.O_RDONLY))


SYSTEMD = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS=sys.argv[2], LISTEN_PID=str(os.getpid() + int(sys.argv[3])))
from gateway.listener import address_of, http_listener
from gateway.settings import GatewaySettings
print(address_of(http_listener(GatewaySettings(http_listen="[::1]:0"), os.environ)))
"""


@pytest.mark.parametrize(
    ("count", "pid_offset", "expected"),
    [(1, 0, "127.0.0.1:"), (1, 1, "[::1]:"), (0, 0, "[::1]:"), (2, 0, "expected one socket")],
    ids=["for this process", "for another process", "none", "too many"],
)
def test_the_socket_of_systemd_is_taken(count: int, pid_offset: int, expected: str) -> None:
    with listening_socket("127.0.0.1:0") as handed_over:
        words = [str(handed_over.fileno()), str(count), str(pid_offset)]
        done = subprocess.run(
            tied(sys.executable, "-c", SYSTEMD, *words),
            pass_fds=[handed_over.fileno()],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert expected in done.stdout + done.stderr
        assert (address_of(handed_over) in done.stdout) == (expected == "127.0.0.1:")


def test_an_inherited_socket_beyond_loopback_needs_keys(tmp_path: Path) -> None:
    """Whatever PRISMA_HTTP_LISTEN says: it is not where the socket listens."""
    with listening_socket("0.0.0.0:0") as supervised:
        ended = subprocess.run(
            tied(sys.executable, "-P", "-m", "gateway"),
            env={
                **os.environ,
                "PRISMA_DATA_DIR": str(tmp_path),
                "PRISMA_HTTP_LISTEN": "127.0.0.1:8080",
                "PRISMA_HTTP_LISTEN_FD": str(supervised.fileno()),
            },
            pass_fds=[supervised.fileno()],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert ended.returncode == 1
    assert "without keys" in ended.stderr
