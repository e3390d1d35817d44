"""A real OpenSearch for tests: the one at OPENSEARCH_URL, or one started beside the repository, to be killed too."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.children import stopped_with_this_process
from tests.ports import free_port

SCRIPT = Path(__file__).parents[2] / "shared" / "servers" / "opensearch.sh"
HOW = (
    "no OpenSearch: start one with `docker compose --profile opensearch up -d opensearch` "
    "and set OPENSEARCH_URL=http://127.0.0.1:9200"
)


class OpenSearchServer:
    """A server of the tests' own, started by the script; its data outlives `kill`."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        # reachable for the unprivileged user that it runs as, unlike pytest's own folders
        self.folder = Path(tempfile.mkdtemp(prefix="prisma-opensearch-", dir="/var/tmp"))
        self.folder.chmod(0o755)

    def start(self) -> None:
        environment = {**os.environ, "OPENSEARCH_TEST_PORT": str(self.port), "OPENSEARCH_TEST_HEAP": "512m"}
        subprocess.run([SCRIPT, "start", self.folder], env=environment, check=True, stdout=subprocess.DEVNULL)

    def kill(self) -> None:
        """kill -9."""
        os.kill(int((self.folder / "pid").read_text()), signal.SIGKILL)


@pytest.fixture(scope="session")
def opensearch_server() -> Iterator[OpenSearchServer]:
    """A server of the tests' own, or a skip that says how to get one."""
    if not SCRIPT.exists():
        pytest.skip(HOW)
    server = OpenSearchServer()
    with stopped_with_this_process(SCRIPT, server.folder):
        server.start()
        yield server


@pytest.fixture(scope="session")
def opensearch_url(request: pytest.FixtureRequest) -> str:
    """Where a real OpenSearch is."""
    return os.environ.get("OPENSEARCH_URL") or request.getfixturevalue("opensearch_server").url
