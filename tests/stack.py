"""A whole local stack, started as users start it, with a small labelled run of the sample. One for all tests.

When they have ended, its log must not hold what was imported.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pty
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from prisma_client import Prisma, sample
from tests import planted
from tests.children import tied
from tests.ports import free_port
from tests.template import template

PRISMA = Path(sys.executable).parent / "prisma"
DATASET, RUN = "stdlib", "small"
COUNT = 500


@dataclass(frozen=True)
class Stack:
    """Where it is, and the environment that commands find it by."""

    url: str
    environment: dict[str, str]
    folder: Path

    def command(self, *words: str, input: str = "") -> subprocess.CompletedProcess[str]:
        """Runs `prisma …` with its output piped."""
        return command(*words, environment=self.environment, input=input)

    def on_terminal(self, *words: str) -> str:
        """What `prisma …` writes to a terminal that is wide enough for its tables."""
        with Terminal(*words, environment=self.environment, width=300) as terminal:
            return terminal.read()


class Terminal:
    """`prisma …` on a terminal of its own. It must succeed, unless the body of its `with` raises."""

    def __init__(self, *words: str, environment: Mapping[str, str], width: int) -> None:
        self._leader, follower = pty.openpty()
        settings = {**environment, "COLUMNS": str(width), "TERM": "xterm"}
        self.process = subprocess.Popen(
            tied(PRISMA, *words), env=settings, stdout=follower, stderr=subprocess.PIPE, text=True
        )
        os.close(follower)
        self._output = b""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        if kind is not None:
            self.process.kill()
        assert self.process.stderr is not None
        errors = self.process.stderr.read()
        status = self.process.wait()
        os.close(self._leader)
        assert kind is not None or status == 0, errors

    def read(self, until: str | None = None) -> str:
        """What it has written to standard output: at its end, or once that has the text `until`."""
        with contextlib.suppress(OSError):  # EIO: the command has closed the terminal
            while until is None or until.encode() not in self._output:
                if not (chunk := os.read(self._leader, 1 << 16)):
                    break
                self._output += chunk
        return self._output.decode()


def command(*words: str, environment: Mapping[str, str], input: str = "") -> subprocess.CompletedProcess[str]:
    """Runs `prisma …` with its output piped, forked from a template where processes can be forked."""
    origin = template("prisma_client.cli.commands")
    if origin is None:
        return subprocess.run(
            [PRISMA, *words], env=environment, capture_output=True, text=True, timeout=120, input=input, check=False
        )
    with tempfile.TemporaryDirectory() as folder:
        output, errors, input_file = (Path(folder, name) for name in ("output", "errors", "input"))
        input_file.write_text(input)
        status = origin.fork(environment, output, arguments=words, errors=errors, input=input_file).wait(120)
        return subprocess.CompletedProcess(words, status, output.read_text(), errors.read_text())


NAMES = ("nats-server", "services.embedder", "services.trainer", "services.interpreter", "services.search", "gateway")
"""A word of the command line of each process of the stack."""


def processes(pid: int) -> dict[str, psutil.Process]:
    """The running processes of the stack, by their names; one that has just ended is left out."""
    running: dict[str, psutil.Process] = {}
    for child in psutil.Process(pid).children():
        with contextlib.suppress(psutil.NoSuchProcess):  # of which a zombie is one
            words = child.cmdline()
            running |= {name: child for name in NAMES if any(name in word for word in words)}
    return running


def environment(folder: Path) -> dict[str, str]:
    """The environment of a stack on free ports and a data folder of its own."""
    http = f"127.0.0.1:{free_port()}"
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith("PRISMA_")},
        **{
            f"PRISMA_{name}_LISTEN": f"127.0.0.1:{free_port()}"
            for name in ("NATS", "EMBEDDER", "TRAINER", "INTERPRETER", "SEARCH", "GATEWAY")
        },
        "PRISMA_HTTP_LISTEN": http,
        "PRISMA_URL": f"http://{http}",
        "PRISMA_DATA_DIR": str(folder / "data"),
        "PRISMA_OLLAMA_URL": "http://127.0.0.1:9",
        "PRISMA_CATCH_UP_SECONDS": "1",
    }


def fill(prisma: Prisma) -> None:
    """A dataset, a trained and labelled run, families, and a current index."""
    documents = [*itertools.islice(sample.documents(), COUNT - 1), planted.DOCUMENT]
    data = prisma.datasets.create("Standard library", documents, dataset_id=DATASET)
    data.embed()
    run = data.train(run_id=RUN, expansion=1, k=8, epochs=5, siblings=0)
    run.compute_statistics()
    run.label()
    run.build_families()
    status = None
    for _ in range(300):
        status = data.index_status()
        if status.current and len(status.streams) == 4:
            assert data.search(planted.QUERY).hits
            return
        time.sleep(0.1)
    raise AssertionError(status)


@contextlib.contextmanager
def empty_stack(folder: Path) -> Iterator[Stack]:
    """A stack without data."""
    settings = environment(folder)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            tied(PRISMA, "up"), env=settings, stdout=subprocess.PIPE, stderr=log, text=True, cwd=folder
        )
        assert process.stdout is not None
        assert "PRISMA is up" in process.stdout.readline(), (folder / "log").read_text()
        try:
            yield Stack(settings["PRISMA_URL"], settings, folder)
        finally:
            process.terminate()
            process.wait(30)
    planted.assert_absent([folder / "log"])


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with empty_stack(tmp_path_factory.mktemp("stack")) as stack:
        with Prisma(stack.url) as prisma:
            fill(prisma)
        yield stack
