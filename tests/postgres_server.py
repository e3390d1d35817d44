"""A real PostgreSQL server for tests: Debian's `postgresql`, started on loopback by a user that is not root."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.children import tied
from tests.nats_server import wait_for_port
from tests.ports import free_port

HOW = "no PostgreSQL: apt-get install postgresql"
_USER = "postgres"


def binaries() -> Path | None:
    """The folder of the server's programs: Debian's newest version, or wherever `postgres` is on the PATH."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: float(folder.parent.name))
    if versions:
        return versions[-1]
    program = shutil.which("postgres")
    return Path(program).resolve().parent if program else None


class PostgresServer:
    """One server in a temporary folder; its data outlives `kill`."""

    def __init__(self, programs: Path) -> None:
        self.port = free_port()
        self._programs = programs
        # Not in pytest's folder, which only its owner can enter.
        self._folder = Path(tempfile.mkdtemp(prefix="prisma-postgres-", dir="/var/tmp"))
        self._data = self._folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._user = _USER if os.geteuid() == 0 else None
        if self._user is not None:
            shutil.chown(self._folder, self._user)
        self._run("initdb", "-D", self._data, "-U", "prisma", "-A", "trust", "--no-sync", "-E", "UTF8")

    @property
    def admin_url(self) -> str:
        """For psycopg."""
        return f"postgresql://prisma@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        options = ("-h", "127.0.0.1", "-p", str(self.port), "-k", self._folder, "-c", "fsync=off")
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                tied(self._programs / "postgres", "-D", self._data, *options),
                stdout=log,
                stderr=log,
                user=self._user,
                cwd=self._folder,
            )
        wait_for_port(self.port, self._process, log=self._folder / "log")
        self._wait_until_ready()

    def kill(self) -> None:
        """kill -9 of the server and of its sessions."""
        self._end(signal.SIGQUIT)  # immediate shutdown: as a crash, and no session survives it

    def stop(self) -> None:
        """Stops the server and deletes its data."""
        self._end(signal.SIGINT)
        shutil.rmtree(self._folder)

    def create_database(self) -> str:
        """A new, empty database; returns its URL."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(self.admin_url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")  # pyright: ignore - the name is our own
        return f"postgresql://prisma@127.0.0.1:{self.port}/{name}"

    def _wait_until_ready(self) -> None:
        """Returns once it accepts sessions: while it starts or recovers, it listens and refuses them."""
        deadline = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self.admin_url).close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def _run(self, program: str, *arguments: str | Path) -> None:
        command = [self._programs / program, *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, user=self._user, cwd=self._folder)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(30)
            self._process = None


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server for all tests, or a skip that says how to get one."""
    programs = binaries()
    if programs is None:
        pytest.skip(HOW)
    server = PostgresServer(programs)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> str:
    """A new, empty PostgreSQL database of the test's own."""
    return postgres_server.create_database()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new, empty database of each kind: the test runs twice."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'test.db'}"
    return str(request.getfixturevalue("postgres_url"))
