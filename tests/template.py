"""A template of a program: has its modules imported, and forks a process of the program for each request.

Most of the start of a service or of a `prisma` command is the import of its modules, up to seconds of CPU time. A
forked process runs the same `main` with the same modules as `python -P -m services.…` or `prisma …`, which the tests of
the stack, of the README and of the demo run.

`Template` is the tests' side; `python -P -m tests.template services.embedder.__main__` is the template, which reads
requests from the socket that is its standard input and ends when the socket is closed.
"""

from __future__ import annotations

import functools
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.children import end_with_parent

_ROOT = Path(__file__).parents[1]
_ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("PRISMA_")},
    "PYTHONPATH": f"{_ROOT}{os.pathsep}{_ROOT / 'protos/python'}",
}
"""Of the test run, without what single tests change in theirs: libraries read it when they are imported."""


class Template:
    """The template of one program, of this process."""

    def __init__(self, module: str) -> None:
        self._lock = threading.Lock()
        ours, theirs = socket.socketpair()
        self._socket = ours.makefile("rw")
        with theirs:
            command = [sys.executable, "-P", "-m", __name__, module]
            self._process = subprocess.Popen(command, stdin=theirs.fileno(), env=_ENVIRONMENT)
        ours.close()

    def fork(
        self,
        environment: Mapping[str, str],
        log: Path,
        *,
        arguments: Sequence[str] = (),
        errors: Path | None = None,
        input: Path | None = None,
    ) -> ForkedProcess:
        """A process of the program with this environment, in the log's folder; its output is appended to the log.

        errors: where its standard error is appended, by default to the log too. input: what it reads.
        """
        pid = self._request(
            environment=dict(environment),
            arguments=[*arguments],
            files=[str(input or os.devnull), str(log), str(errors or log)],
        )
        return ForkedProcess(self, pid)

    def exit_status(self, pid: int) -> int:
        """Of a process that has ended, as Popen gives it."""
        return self._request(pid=pid)

    def _request(self, **request: Any) -> int:
        with self._lock:
            self._socket.write(json.dumps(request) + "\n")
            self._socket.flush()
            return int(self._socket.readline())


class ForkedProcess:
    """A process that a template has forked, with the methods of subprocess.Popen."""

    def __init__(self, template: Template, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._template = template
        self._descriptor = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """The exit status; None while it runs."""
        return self._wait(0)

    def wait(self, timeout: float) -> int:
        """The exit status. Raises subprocess.TimeoutExpired where it still runs after `timeout` seconds."""
        status = self._wait(timeout)
        if status is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
        return status

    def send_signal(self, number: signal.Signals) -> None:
        """Does nothing to a process that has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def _wait(self, seconds: float) -> int | None:
        if self.returncode is None and select.select([self._descriptor], [], [], seconds)[0]:
            self.returncode = self._template.exit_status(self.pid)
            os.close(self._descriptor)
        return self.returncode


@functools.cache
def template(module: str) -> Template | None:
    """The template of a module's `main`, for this process; None outside Linux, where a fork is not safe."""
    return Template(module) if sys.platform == "linux" else None


def _serve(requests: socket.socket) -> dict[str, Any] | None:
    """Answers requests. Returns the request in each process that it has forked, and None at the end."""
    stream = requests.makefile("rw")
    for line in stream:
        request = json.loads(line)
        if "pid" in request:
            _, status = os.waitpid(request["pid"], 0)
            answer = os.waitstatus_to_exitcode(status)
        else:
            answer = os.fork()
            if answer == 0:
                end_with_parent()
                return request
        stream.write(f"{answer}\n")
        stream.flush()
    return None


def _enter(environment: Mapping[str, str], arguments: Sequence[str], files: Sequence[str]) -> None:
    """Gives this process its environment, its arguments, its folder, and the files that it reads from and writes to."""
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[1:] = arguments
    os.chdir(Path(files[1]).parent)
    for target, file in enumerate(files):
        opened = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT if target else os.O_RDONLY, 0o644)
        os.dup2(opened, target)
        os.close(opened)


def _main() -> Callable[[], None] | None:
    module = importlib.import_module(sys.argv[1])
    gc.freeze()  # a fork shares what it doesn't change
    with socket.socket(fileno=os.dup(0)) as requests:
        request = _serve(requests)
    if request is None:
        return None
    _enter(**request)
    return module.main


if __name__ == "__main__" and (program := _main()) is not None:
    program()
