"""A real NATS server for tests: on a free port, with JetStream on disk, to be killed, stopped and started again."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.children import tied
from tests.ports import free_port
from tests.template import ForkedProcess

_START_SECONDS = 170.0
"""A bound, below that of a test, for a machine on which several test runs start servers at once."""


def wait_for_port(port: int, process: subprocess.Popen[bytes] | ForkedProcess, log: Path) -> None:
    """Returns once something accepts connections on the port. Raises RuntimeError and TimeoutError."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None:
            raise RuntimeError(f"{log.name} ended with {process.returncode}: {log.read_text()[-2000:]}")
        time.sleep(0.01)
    raise TimeoutError(f"nothing listens on {port} after {_START_SECONDS:.0f} s: {log.read_text()[-2000:]}")


def nats_program() -> str:
    """The server of the wheel, or the one on the PATH."""
    return shutil.which("nats-server", path=str(Path(sys.executable).parent)) or "nats-server"


class NatsServer:
    """One server; its data outlives `kill`. settings: more lines of its configuration."""

    def __init__(self, folder: Path, settings: str = "") -> None:
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self._folder = folder
        self._config = folder / "nats.conf"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self._config.write_text(
            f'listen: "127.0.0.1:{self.port}"\n'
            f'jetstream {{ store_dir: "{folder / "data"}", sync_interval: always }}\n{settings}\n'
        )

    def start(self) -> None:
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(tied(nats_program(), "-c", self._config), stdout=log, stderr=log)
        wait_for_port(self.port, self._process, log=self._folder / "log")

    def kill(self) -> None:
        """kill -9."""
        self._signal(signal.SIGKILL)

    def stop(self) -> None:
        self._signal(signal.SIGTERM)

    def lose_data(self) -> None:
        """kill -9, and a start on an empty folder."""
        self.kill()
        shutil.rmtree(self._folder / "data")
        self.start()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(10)
            self._process = None
