"""The local stack's processes: relayed, restarted, and never left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from unittest.mock import MagicMock

import psutil
import pytest

from prisma_client.cli.processes import CHUNK_BYTES, FAILED_STARTS, Part, Reaper, StackError, Supervisor, relay
from prisma_client.cli.stack import listens


class Output:
    """What the supervisor wrote, to be waited for."""

    def __init__(self) -> None:
        self.data = b""
        self._changed = asyncio.Event()

    def write(self, data: bytes) -> None:
        self.data += data
        self._changed.set()

    async def wait_for(self, text: bytes, count: int = 1) -> None:
        while self.data.count(text) < count:
            self._changed.clear()
            await self._changed.wait()


@pytest.fixture
async def supervisor(tmp_path: Path) -> AsyncIterator[tuple[Supervisor, Output]]:
    output = Output()
    with (tmp_path / "lock").open("w") as lock:
        reaper = Reaper(lock)
        supervisor = Supervisor(reaper, output.write)
        yield supervisor, output
        await supervisor.stop()
        reaper.close()


def part(code: str) -> Part:
    return Part("part", [sys.executable, "-c", textwrap.dedent(code)], dict(os.environ), healthy=True)


@pytest.mark.parametrize("sizes", [[10], [CHUNK_BYTES - 1], [CHUNK_BYTES], [5 * CHUNK_BYTES + 3, 0, 7], [0, 0]])
@pytest.mark.parametrize("ends_with_newline", [True, False])
async def test_lines_of_any_length_are_relayed_whole(sizes: Sequence[int], ends_with_newline: bool) -> None:
    lines = [b"x" * size for size in sizes]
    stream = asyncio.StreamReader()
    stream.feed_data(b"\n".join(lines) + (b"\n" if ends_with_newline else b""))
    stream.feed_eof()
    output = Output()
    await relay(stream, "name", lambda _line: True, output.write)
    expected = lines if ends_with_newline or lines[-1] else lines[:-1]
    assert output.data == b"".join(b"name         " + line + b"\n" for line in expected)


async def test_a_process_that_writes_a_long_line_and_is_killed_is_restarted(
    supervisor: tuple[Supervisor, Output],
) -> None:
    running, output = supervisor
    chatty = part("import time; print('x' * 1_000_000, flush=True); print('ready', flush=True); time.sleep(600)")
    running.start(chatty)
    await output.wait_for(b"ready")
    assert output.data.count(b"x" * 1000) == 1000
    assert chatty.process is not None
    chatty.process.kill()
    await output.wait_for(b"ended with status -9; restarting")
    await output.wait_for(b"ready", 2)


async def test_a_relay_that_fails_stops_the_stack_with_its_reason(tmp_path: Path) -> None:
    def broken(_data: bytes) -> None:
        raise BrokenPipeError("nobody reads")

    with (tmp_path / "lock").open("w") as lock:
        reaper = Reaper(lock)
        supervisor = Supervisor(reaper, broken)
        supervisor.start(part("import time; print('x', flush=True); time.sleep(600)"))
        failure = await supervisor.failure()
        assert "the part is no longer supervised (BrokenPipeError: nobody reads)" in str(failure)
        await supervisor.stop()
        reaper.close()


async def test_a_process_that_cannot_start_is_an_error(supervisor: tuple[Supervisor, Output]) -> None:
    running, output = supervisor
    broken = part("print('no database', flush=True); raise SystemExit(3)")
    broken.healthy = False
    running.start(broken)
    failure = await running.failure()
    assert isinstance(failure, StackError)
    assert str(failure) == f"the part ended with status 3 at each of {FAILED_STARTS} starts"
    assert output.data.count(b"no database") == FAILED_STARTS


async def test_a_child_that_keeps_the_output_open_does_not_delay_the_restart(
    supervisor: tuple[Supervisor, Output],
) -> None:
    running, output = supervisor
    running.start(
        part(
            """
            import subprocess, sys, time
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
            print("child", child.pid, flush=True)
            """
        )
    )
    await output.wait_for(b"child", 2)
    for line in output.data.splitlines():
        if b"child" in line:
            os.kill(int(line.split()[-1]), signal.SIGKILL)


KILLED = """
import asyncio, os, sys
from prisma_client.cli.processes import Part, Reaper, Supervisor

async def main(lock):
    supervisor = Supervisor(Reaper(lock), lambda data: None)
    deaf = "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    codes = ["import time; time.sleep(600)", deaf]
    parts = [Part(code[:9], [sys.executable, "-c", code], dict(os.environ)) for code in codes]
    for part in parts:
        supervisor.start(part)
    while any(part.process is None for part in parts):
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.5)
    print("up", flush=True)
    await supervisor.failure()

with open(sys.argv[1], "w") as lock:
    asyncio.run(main(lock))
"""


def test_a_connection_to_itself_is_no_listener(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = socket.socket()
    connection.bind(("127.0.0.1", 0))
    port = connection.getsockname()[1]
    connection.connect(("127.0.0.1", port))
    monkeypatch.setattr(socket, "create_connection", MagicMock(return_value=connection))
    assert not listens(f"127.0.0.1:{port}")
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))


def test_a_killed_stack_leaves_no_process(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, tmp_path / "lock"], stdout=subprocess.PIPE, text=True
    ) as stack:
        assert stack.stdout is not None
        assert stack.stdout.readline() == "up\n"
        processes = psutil.Process(stack.pid).children(recursive=True)
        assert len(processes) == 3, "two parts and the reaper"
        stack.kill()
    _, alive = psutil.wait_procs(processes, timeout=60)
    assert alive == []
