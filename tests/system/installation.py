"""All six processes of PRISMA, each one reachable by the test: to be killed, frozen, stopped and given other data.

When a test has ended, their logs must not hold what was imported.
"""

from __future__ import annotations

import shutil
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from prisma_common.listening import listening_socket
from tests import planted
from tests.nats_server import NatsServer
from tests.ports import free_port
from tests.process import ServiceProcess, start_all

SERVICES = ("embedder", "trainer", "interpreter", "search", "gateway")


class Installation:
    """NATS, the four services and the gateway on free ports, with short leases."""

    def __init__(self, folder: Path, data: Path | None = None, *, keeps_socket: bool = False, **settings: str) -> None:
        """`data` is where all processes keep their data; by default it is below `folder`.

        keeps_socket: the gateway's socket for HTTP stays open while the gateway restarts.
        """
        self.folder = folder
        self.data = data or folder / "data"
        self.data.mkdir(parents=True, exist_ok=True)
        self.nats = NatsServer(folder / "nats")
        self.url = f"http://127.0.0.1:{free_port()}"
        common = {
            "PRISMA_DATA_DIR": str(self.data),
            "PRISMA_NATS_URL": self.nats.url,
            "PRISMA_ACK_WAIT_SECONDS": "3",
            "PRISMA_CATCH_UP_SECONDS": "1",
            "PRISMA_OLLAMA_URL": "http://127.0.0.1:9",
            "PRISMA_HTTP_LISTEN": self.url.removeprefix("http://"),
            **settings,
        }
        self.processes = {name: ServiceProcess(name, folder, common) for name in SERVICES}
        self._listener: socket.socket | None = None
        if keeps_socket:
            self._listener = listening_socket(common["PRISMA_HTTP_LISTEN"])
            descriptor = self._listener.fileno()
            own = {**common, "PRISMA_HTTP_LISTEN_FD": str(descriptor)}
            self.processes["gateway"] = ServiceProcess("gateway", folder, own, descriptors=[descriptor])
        addresses = {f"PRISMA_{name.upper()}_ADDRESS": process.address for name, process in self.processes.items()}
        for process in self.processes.values():
            process.environment.update(addresses)

    def __enter__(self) -> Self:
        self.nats.start()
        start_all(*self.processes.values())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for process in self.processes.values():
            process.kill()
        self.nats.kill()
        if self._listener is not None:
            self._listener.close()
        if error is None:
            planted.assert_absent([self.folder])

    def kill(self, name: str) -> None:
        """kill -9 of one process, which is started again as a supervisor would."""
        process = self.nats if name == "nats" else self.processes[name]
        process.kill()
        process.start()

    def freeze(self, name: str, seconds: float) -> None:
        """SIGSTOP for some seconds."""
        process = self.processes[name]
        process.pause()
        time.sleep(seconds)
        process.resume()

    def copy_of(self, service: str, name: str) -> Path:
        """A copy of a service's data folder, made while the service is stopped."""
        self.processes[service].stop()
        copy = self.folder / name
        shutil.copytree(self.data / service, copy)
        self.processes[service].start()
        return copy

    def restore(self, service: str, copy: Path) -> None:
        """Puts an older copy of a service's data folder in place of the present one."""
        self.processes[service].stop()
        shutil.rmtree(self.data / service)
        shutil.copytree(copy, self.data / service)
        self.processes[service].start()
