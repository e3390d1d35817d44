"""Processes of the local stack: started, restarted when they end by themselves, and their output relayed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

CHUNK_BYTES = 64 << 10
STOP_SECONDS = 10.0
STABLE_SECONDS = 30.0
"""A process that ran for longer is restarted without a growing pause."""
FAILED_STARTS = 3
"""A process that ends so often before it was healthy cannot start."""
_PAUSES = (0.5, 1.0, 2.0, 5.0, 10.0)

Write = Callable[[bytes], None]


class StackError(Exception):
    """The stack cannot start or run; the message says why and what to do."""


@dataclass(eq=False)
class Part:
    """One process of the stack. is_shown: whether a line of its output is printed. descriptors: open files that each of
    its processes inherits."""

    name: str
    command: Sequence[str | Path]
    environment: Mapping[str, str]
    is_shown: Callable[[bytes], bool] = lambda _line: True
    descriptors: Sequence[int] = ()
    process: asyncio.subprocess.Process | None = None
    healthy: bool = False
    failed_starts: int = field(default=0)


async def relay(stream: asyncio.StreamReader, name: str, is_shown: Callable[[bytes], bool], write: Write) -> None:
    """Copies a process's output, line by line, each with the process's name in front.

    Lines may have any length: one of more than 64 KiB is passed on in pieces.
    """
    prefix = f"{name:<12} ".encode()
    rest, within_line = b"", False
    while chunk := await stream.read(CHUNK_BYTES):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if within_line or is_shown(line):
                write((b"" if within_line else prefix) + line + b"\n")
            within_line = False
        if len(rest) >= CHUNK_BYTES:
            write((b"" if within_line else prefix) + rest)
            rest, within_line = b"", True
    if rest or within_line:
        write((b"" if within_line else prefix) + rest + b"\n")


class Reaper:
    """A process that ends the parts if the stack is killed. lock: a file that it keeps open, and so locked."""

    def __init__(self, lock: IO[str]) -> None:
        path = Path(__file__).with_name("reaper.py")
        self._process = subprocess.Popen(  # noqa: S603 - this package's own file
            [sys.executable, "-I", path], stdin=subprocess.PIPE, pass_fds=[lock.fileno()], start_new_session=True
        )

    def watch(self, group: int) -> None:
        """Adds a process group."""
        self._send(f"+{group}\n")

    def forget(self, group: int) -> None:
        """Removes a process group that has ended."""
        self._send(f"-{group}\n")

    def close(self) -> None:
        """Ends it: it stops the groups that are left, of which there are none after an ordered stop."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()

    def _send(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()
        except BrokenPipeError:
            raise StackError("the process that cleans up after the stack has ended; start the stack again") from None


class Supervisor:
    """Runs parts and restarts them. Its tasks run until `stop`; `failure` completes when one fails."""

    def __init__(self, reaper: Reaper, write: Write) -> None:
        self._reaper = reaper
        self._write = write
        self._parts: list[Part] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False

    def start(self, part: Part) -> None:
        """Starts a part, and restarts it whenever it ends."""
        self._parts.append(part)
        self._tasks.append(asyncio.create_task(self._run(part), name=part.name))

    async def failure(self) -> StackError:
        """Waits until a part can no longer be supervised, and returns why."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        task = next(iter(done))
        error = task.exception()
        if isinstance(error, StackError):
            return error
        return StackError(f"the {task.get_name()} is no longer supervised ({type(error).__name__}: {error})")

    async def stop(self) -> None:
        """Stops all parts: SIGTERM, and SIGKILL after ten seconds. The first part, the message server, goes last."""
        self._stopping = True
        for parts in (self._parts[1:], self._parts[:1]):
            processes = [part.process for part in parts if part.process is not None and part.process.returncode is None]
            for process in processes:
                process.terminate()
            exits = [asyncio.create_task(process.wait()) for process in processes]
            if exits:
                _, late = await asyncio.wait(exits, timeout=STOP_SECONDS)
                for process in processes:
                    if process.returncode is None:
                        process.kill()
                if late:
                    await asyncio.wait(late)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1.0)  # what the processes still had to say
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, part: Part) -> None:
        failures = 0
        while not self._stopping:
            start = time.monotonic()
            async with self._process(part) as (process, output):
                status = await _run_to_end(process, relay(output, part.name, part.is_shown, self._write))
            if self._stopping:
                return
            if not part.healthy:
                part.failed_starts += 1
                if part.failed_starts >= FAILED_STARTS:
                    raise StackError(f"the {part.name} ended with status {status} at each of {FAILED_STARTS} starts")
            failures = failures + 1 if time.monotonic() - start < STABLE_SECONDS else 1
            pause = _PAUSES[min(failures, len(_PAUSES)) - 1]
            self._write(f"{part.name:<12} ended with status {status}; restarting in {pause} s\n".encode())
            await asyncio.sleep(pause)

    @contextlib.asynccontextmanager
    async def _process(self, part: Part) -> AsyncGenerator[tuple[asyncio.subprocess.Process, asyncio.StreamReader]]:
        """Starts a part's process, and yields it with its output."""
        read_end, write_end = os.pipe()
        output = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(output), os.fdopen(read_end, "rb", buffering=0)
        )
        try:
            try:
                process = part.process = await asyncio.create_subprocess_exec(
                    *part.command,
                    env=dict(part.environment),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=write_end,
                    stderr=write_end,
                    pass_fds=part.descriptors,
                    start_new_session=True,  # Ctrl-C reaches only the stack, which stops its parts in order
                )
            finally:
                os.close(write_end)
            self._reaper.watch(process.pid)
            yield process, output
            self._reaper.forget(process.pid)
        finally:
            transport.close()


async def _run_to_end(process: asyncio.subprocess.Process, relaying: Coroutine[Any, Any, None]) -> int:
    """Relays a process's output until it ends; returns its status. Raises what the relay raises.

    Children that outlive the process keep its output open: they have a second to end.
    """
    relay_task = asyncio.create_task(relaying)
    exit_task = asyncio.create_task(process.wait())
    try:
        await asyncio.wait([relay_task, exit_task], return_when=asyncio.FIRST_COMPLETED)
        if relay_task.done():
            relay_task.result()
        status = await exit_task
        await asyncio.wait([relay_task], timeout=1.0)
        if relay_task.done():
            relay_task.result()
        return status
    finally:
        relay_task.cancel()
        exit_task.cancel()
        await asyncio.gather(relay_task, exit_task, return_exceptions=True)
