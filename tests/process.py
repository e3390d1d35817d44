"""A PRISMA process for tests: a real one, to be killed, stopped and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.children import tied
from tests.nats_server import wait_for_port
from tests.ports import free_port
from tests.template import ForkedProcess, template

ROOT = Path(__file__).parents[1]


class ServiceProcess:
    """One service on a free port; its data outlives `kill`. descriptors: open files that its process inherits."""

    def __init__(
        self, service: str, folder: Path, environment: Mapping[str, str], *, descriptors: Sequence[int] = ()
    ) -> None:
        self._descriptors = descriptors
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._module = "gateway" if service == "gateway" else f"services.{service}"
        self.log = folder / f"{service}.log"
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("PRISMA_")},
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'protos/python'}",
            "PRISMA_DATA_DIR": str(folder / "data"),
            f"PRISMA_{service.upper()}_LISTEN": self.address,
            "PRISMA_LOG_FORMAT": "text",
            **environment,
        }
        self._process: subprocess.Popen[bytes] | ForkedProcess | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        start_all(self)

    def prepare(self) -> None:
        """Begins what the first start of a service needs."""
        if not self._descriptors:
            template(f"{self._module}.__main__")

    def launch(self) -> None:
        if not self._descriptors and (origin := template(f"{self._module}.__main__")) is not None:
            self._process = origin.fork(self.environment, self.log)
            return
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                tied(sys.executable, "-P", "-m", self._module),
                env=self.environment,
                stdout=log,
                stderr=log,
                cwd=self.log.parent,
                pass_fds=self._descriptors,
            )

    def run(self, *arguments: str) -> int:
        """The exit status of its program with arguments, with which it does something else than serve."""
        if (origin := template(f"{self._module}.__main__")) is not None:
            return origin.fork(self.environment, self.log, arguments=arguments).wait(60)
        command = [sys.executable, "-P", "-m", self._module, *arguments]
        with self.log.open("ab") as log:
            return subprocess.run(
                command, env=self.environment, stdout=log, stderr=log, cwd=self.log.parent, check=False, timeout=60
            ).returncode

    def wait_until_listening(self) -> None:
        assert self._process is not None
        wait_for_port(self.port, self._process, log=self.log)

    def wait(self) -> int:
        """The exit status of a process that ends by itself."""
        assert self._process is not None
        return self._process.wait(60)

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        return self._end(signal.SIGTERM)

    def pause(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _end(self, number: signal.Signals) -> int:
        if self._process is None:
            return 0
        self._process.send_signal(number)
        status = self._process.wait(20)
        self._process = None
        return status


def start_all(*processes: ServiceProcess) -> None:
    """Starts them at the same time; returns once each of them listens."""
    for process in processes:
        process.prepare()
    for process in processes:
        process.launch()
    for process in processes:
        process.wait_until_listening()
