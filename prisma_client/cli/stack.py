"""The local stack: nats-server from its wheel, the services and the gateway, on one data folder."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import typer

from prisma_client.cli.processes import Part, Reaper, StackError, Supervisor
from prisma_common import addresses
from prisma_common.listening import listening_socket

LOCK = "stack.lock"
"""Locked by the stack that runs on a data folder; holds its process id."""
START_SECONDS_VARIABLE = "PRISMA_START_SECONDS"
"""Limits how long `prisma up` waits for its processes, in seconds. Unset: as long as they run."""
HTTP_DESCRIPTOR_VARIABLE = "PRISMA_HTTP_LISTEN_FD"
"""Tells the gateway which of its descriptors is the socket for HTTP."""
BUILD_PAGE = "`make web` in the checkout of PRISMA builds it. The API works without it; /docs describes it"
REPORT_SECONDS = 10.0
DOWN_SECONDS = 60.0
MISSING_SERVER = (
    "the services are not installed, only the client is. Install them with `make install` in a checkout of PRISMA, or "
    "from its wheels: pip install --find-links FOLDER 'prisma-suite[all]'"
)


def configured_addresses() -> dict[str, str]:
    """Returns where each process listens: `nats`, `embedder` … `gateway` (gRPC), `http`."""
    defaults = {"nats": addresses.NATS, **addresses.PROCESSES, "http": addresses.HTTP}
    return {name: os.environ.get(addresses.listen_variable(name), address) for name, address in defaults.items()}


def http_url(address: str) -> str:
    """The URL of a gateway that is configured by this environment and listens for HTTP on `host:port`."""
    has_certificate = os.environ.get("PRISMA_HTTP_TLS_CERTIFICATE") or os.environ.get("PRISMA_TLS_CERTIFICATE")
    return f"http{'s' if has_certificate and os.environ.get('PRISMA_HTTP_TLS') != 'off' else ''}://{address}"


class Stack:
    """All processes on one data folder."""

    def __init__(self, data_dir: Path, *, quiet: bool = False) -> None:
        """quiet: only the processes' warnings are shown."""
        self._data_dir = data_dir
        self._quiet = quiet
        self._parts: list[Part] = []
        self._lock: IO[str] | None = None
        self._reaper: Reaper | None = None
        self._supervisor: Supervisor | None = None
        self._listener: socket.socket | None = None
        self.addresses = configured_addresses()
        self.http = self.addresses["http"]

    async def start(self) -> None:
        """Starts all processes and returns once each is healthy. Raises StackError.

        Waits as long as the processes run, or for PRISMA_START_SECONDS, and says what it waits for.
        """
        _check_installed()
        limit = _start_limit()
        self._data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = self._take_lock()
        for name, address in self.addresses.items():
            await _check_free(name, address)
        self._listener = _listener(self.http)
        self._reaper = Reaper(self._lock)
        self._supervisor = Supervisor(self._reaper, _write)
        self._parts = list(self._configure())
        for part in self._parts:
            self._supervisor.start(part)
        ready = asyncio.create_task(self._wait_until_healthy(limit))
        failure = asyncio.create_task(self._supervisor.failure())
        try:
            await asyncio.wait([ready, failure], return_when=asyncio.FIRST_COMPLETED)
            if failure.done():
                raise StackError(f"{failure.result()}; see its output")
            await ready
        finally:
            ready.cancel()
            failure.cancel()
            await asyncio.gather(ready, failure, return_exceptions=True)

    async def run(self) -> None:
        """Runs until it can no longer run. Raises StackError."""
        assert self._supervisor is not None
        raise await self._supervisor.failure()

    async def stop(self) -> None:
        """Stops all processes in order, and releases the data folder."""
        if self._listener is not None:
            self._listener.close()
        if self._supervisor is not None:
            await self._supervisor.stop()
        if self._reaper is not None:
            await asyncio.to_thread(self._reaper.close)
        if self._lock is not None:
            self._lock.close()

    def _take_lock(self) -> IO[str]:
        lock = (self._data_dir / LOCK).open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise StackError(
                f"a stack already runs on {self._data_dir}; `prisma down` stops it. "
                "To run another, set PRISMA_DATA_DIR and the PRISMA_…_LISTEN addresses"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        return lock

    def _configure(self) -> Iterator[Part]:
        """Yields the processes to run, the message server first."""
        environment = {"PRISMA_LOG_FORMAT": "text", **os.environ, "PRISMA_DATA_DIR": str(self._data_dir)}
        if self._quiet:
            environment.setdefault("PRISMA_LOG_LEVEL", "warning")
            environment.setdefault("PRISMA_AUDIT_LOG", "false")
        password = secrets.token_hex(16)
        yield self._message_server(password)
        if "PRISMA_API_KEYS_FILE" in environment:
            environment.setdefault("PRISMA_SERVICE_KEY", secrets.token_hex(32))
        environment["PRISMA_NATS_URL"] = f"nats://prisma:{password}@{self.addresses['nats']}"
        for name in addresses.PROCESSES:
            environment[f"PRISMA_{name.upper()}_ADDRESS"] = self.addresses[name]
            environment[addresses.listen_variable(name)] = self.addresses[name]
        environment[addresses.listen_variable("http")] = self.http
        for name in addresses.PROCESSES:
            if name != "gateway":
                yield Part(name, [sys.executable, "-P", "-m", f"services.{name}"], environment)
        yield self._gateway(environment)

    def _gateway(self, environment: Mapping[str, str]) -> Part:
        """The gateway, with the stack's socket for HTTP: connections wait in its backlog while the gateway restarts."""
        assert self._listener is not None
        descriptor = self._listener.fileno()
        environment = {**environment, HTTP_DESCRIPTOR_VARIABLE: str(descriptor)}
        command = [sys.executable, "-P", "-m", "gateway"]
        return Part("gateway", command, environment, descriptors=[descriptor])

    def _message_server(self, password: str) -> Part:
        """NATS, with a password for this start that only the stack's own processes know."""
        binary = find_nats_server()
        if binary is None:
            raise StackError(f"nats-server was not found. {MISSING_SERVER}")
        folder = self._data_dir / "nats"
        folder.mkdir(exist_ok=True, mode=0o700)
        config = folder / "nats.conf"
        config.touch(mode=0o600)
        config.write_text(
            f'listen: "{self.addresses["nats"]}"\n'
            f'jetstream {{ store_dir: "{folder}", sync_interval: always }}\n'
            f'authorization {{ user: prisma, password: "{password}" }}\n'
        )

        def is_shown(line: bytes) -> bool:
            return not (self._quiet and (b"[INF]" in line or b"[WRN]" in line))

        return Part("nats", [binary, "-c", config], dict(os.environ), is_shown)

    async def _wait_until_healthy(self, limit: float | None) -> None:
        """Raises StackError after `limit` seconds."""
        checks = {
            asyncio.create_task(_check_health(self.addresses[part.name])): part
            for part in self._parts
            if part.name in addresses.PROCESSES
        }
        start = time.monotonic()
        waiting: set[asyncio.Task[None]] = set(checks)
        try:
            while waiting:
                done, waiting = await asyncio.wait(waiting, timeout=REPORT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
                    checks[task].healthy = True
                seconds = time.monotonic() - start
                names = ", ".join(sorted(checks[task].name for task in waiting))
                if waiting and limit is not None and seconds > limit:
                    raise StackError(f"not ready after {seconds:.0f} s ({START_SECONDS_VARIABLE}): {names}")
                if waiting and not done:
                    _write(f"prisma       still starting after {seconds:.0f} s: {names}\n".encode())
        finally:
            for task in checks:
                task.cancel()
            await asyncio.gather(*checks, return_exceptions=True)
        for part in self._parts:
            part.healthy = True


async def run_until_interrupted(data_dir: Path) -> int:
    """Runs the stack until SIGINT, SIGTERM or SIGHUP, or until it can no longer run; returns the exit status."""
    stack = Stack(data_dir)
    interrupt = asyncio.create_task(interrupted().wait())
    message, was_up = None, False
    try:
        if await unless(interrupt, stack.start()):
            was_up = True
            for line in welcome(stack, data_dir):
                typer.echo(line)
            await unless(interrupt, stack.run())
    except StackError as error:
        message = f"prisma: {error}{'. The stack has stopped' if was_up else ''}"
    finally:
        interrupt.cancel()
        await stack.stop()
    if message is not None:
        typer.echo(message, err=True)
    return int(message is not None)


def welcome(stack: Stack, data_dir: Path) -> list[str]:
    """What `prisma up` says of a stack that is up: its addresses, and whether they show a page."""
    lines = [f"PRISMA is up: {http_url(stack.http)}"]
    if not page_is_built():
        lines.append(f"The page is not built: {BUILD_PAGE}")
    lines.append(f"gRPC: {', '.join(f'{name} {stack.addresses[name]}' for name in addresses.PROCESSES)}")
    return [*lines, f"data in {data_dir}; Ctrl-C stops the stack"]


def page_is_built() -> bool:
    """Whether the installed gateway has its page, which an installation in a checkout does not build."""
    gateway = importlib.util.find_spec("gateway")
    folders = gateway.submodule_search_locations if gateway is not None else None
    return any((Path(folder) / "web/dist/index.html").is_file() for folder in folders or ())


def stop_running(data_dir: Path) -> int:
    """Stops the stack that runs on a data folder and waits for its end; returns the exit status."""
    with contextlib.suppress(FileNotFoundError), (data_dir / LOCK).open("r+") as lock:
        deadline = time.monotonic() + DOWN_SECONDS
        signalled = False
        while not _try_lock(lock):
            if not signalled:
                signalled = _terminate(lock)
            if time.monotonic() > deadline:
                typer.echo(f"prisma: the stack on {data_dir} has not ended after {DOWN_SECONDS:.0f} s", err=True)
                return 1
            time.sleep(0.05)
        if signalled:
            typer.echo("PRISMA is down")
            return 0
    typer.echo(f"no stack runs on {data_dir}")
    return 0


def interrupted() -> asyncio.Event:
    """Returns an event that SIGINT, SIGTERM and SIGHUP set."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def find_nats_server() -> str | None:
    """Returns the path of nats-server: that of the wheel, or one on the PATH."""
    return shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which("nats-server")


def listens(address: str) -> bool:
    """Whether something accepts connections on `host:port`.

    The system may give a connection to a port of this machine that same port, by which it is connected to itself
    (RFC 9293, section 3.5). Nothing listens then, and the connection is reset, since its end would keep the port.
    """
    try:
        with socket.create_connection(addresses.host_and_port(address), timeout=1.0) as connection:
            if connection.getsockname() != connection.getpeername():
                return True
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        pass
    return False


async def unless(interrupt: asyncio.Task[Any], work: Any) -> bool:
    """Runs `work`; returns False, and cancels it, where the interrupt comes first. Raises what `work` raises."""
    task = asyncio.create_task(work)
    await asyncio.wait([interrupt, task], return_when=asyncio.FIRST_COMPLETED)
    if not task.done():
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return False
    task.result()
    return True


def _try_lock(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _terminate(lock: IO[str]) -> bool:
    """Sends SIGTERM to the stack; returns whether that is done, or is no longer needed."""
    lock.seek(0)
    if not (text := lock.read().strip()):
        return False  # it has taken the lock, and writes its id next
    with contextlib.suppress(ProcessLookupError):  # it was killed: its processes are being stopped
        os.kill(int(text), signal.SIGTERM)
    return True


def _check_installed() -> None:
    if importlib.util.find_spec("services") is None or importlib.util.find_spec("gateway") is None:
        raise StackError(MISSING_SERVER)


def _start_limit() -> float | None:
    text = os.environ.get(START_SECONDS_VARIABLE)
    try:
        return float(text) if text else None
    except ValueError:
        raise StackError(f"expected a number of seconds in {START_SECONDS_VARIABLE}, got {text!r}") from None


async def _check_free(name: str, address: str) -> None:
    if await asyncio.to_thread(listens, address):
        variable = addresses.listen_variable(name)
        raise StackError(f"something already listens on {address}; set {variable} to another address")


def _listener(address: str) -> socket.socket:
    try:
        return listening_socket(address)
    except (OSError, ValueError) as error:
        variable = addresses.listen_variable("http")
        raise StackError(f"cannot listen on {address}: {error}; set {variable} to another address") from error


async def _check_health(address: str) -> None:
    """Returns once the service at an address says that it serves."""
    import grpc.aio  # takes half of the time that a command needs to start
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    files = _tls_files()
    if files is not None:
        channel = grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(*files))
    else:
        channel = grpc.aio.insecure_channel(address)
    async with channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)  # its types have no methods
        while True:
            with contextlib.suppress(grpc.aio.AioRpcError):
                response = await stub.Check(health_pb2.HealthCheckRequest(), timeout=5.0)
                if response.status == health_pb2.HealthCheckResponse.SERVING:
                    return
            await asyncio.sleep(0.1)


def _tls_files() -> list[bytes | None] | None:
    """The authority, key and certificate that this environment names; None where it names none. Raises StackError."""
    paths = [os.environ.get(f"PRISMA_TLS_{name}") for name in ("AUTHORITY", "KEY", "CERTIFICATE")]
    try:
        return [Path(path).read_bytes() if path else None for path in paths] if any(paths) else None
    except OSError as error:
        raise StackError(f"cannot read {error.filename} (PRISMA_TLS_…): {error.strerror}") from error


def _write(data: bytes) -> None:
    sys.stderr.buffer.write(data)
    sys.stderr.buffer.flush()
