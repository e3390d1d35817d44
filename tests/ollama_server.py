"""A real Ollama for tests: the one at OLLAMA_URL, or one started beside the repository, with two small models."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.children import stopped_with_this_process
from tests.ports import free_port

SCRIPT = Path(__file__).parents[2] / "shared" / "servers" / "ollama.sh"
EMBEDS, CHATS = "all-minilm:latest", "smollm2:135m"
HOW = (
    "no Ollama: start one with `docker compose --profile ollama up -d ollama`, pull all-minilm and smollm2:135m, "
    "and set OLLAMA_URL=http://127.0.0.1:11434"
)


@pytest.fixture(scope="session")
def ollama_url() -> Iterator[str]:
    """Where a real Ollama is. Its small models test the protocol, not the quality."""
    if url := os.environ.get("OLLAMA_URL"):
        yield url
        return
    if not SCRIPT.exists():
        pytest.skip(HOW)
    port = free_port()
    # Reachable for the unprivileged user that it may run as, unlike pytest's own folders.
    folder = Path(tempfile.mkdtemp(prefix="prisma-ollama-", dir="/var/tmp"))
    folder.chmod(0o755)
    environment = {**os.environ, "OLLAMA_TEST_PORT": str(port)}
    with stopped_with_this_process(SCRIPT, folder):
        subprocess.run([SCRIPT, "start", folder], env=environment, check=True, stdout=subprocess.DEVNULL)
        yield f"http://127.0.0.1:{port}"
