"""Files that cannot be imported, by a running embedder: one sentence for each, no document, little memory."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.embedder.hostile_files import FILES, MAX_IMPORT_BYTES, answers, peak_bytes
from tests.nats_server import NatsServer
from tests.process import ServiceProcess

MEMORY_BYTES = 160 << 20
"""What all files together may add to the memory of an embedder."""


@pytest.fixture
def embedder(nats_server: NatsServer, tmp_path: Path) -> Iterator[ServiceProcess]:
    settings = {"PRISMA_NATS_URL": nats_server.url, "PRISMA_MAX_IMPORT_BYTES": str(MAX_IMPORT_BYTES)}
    process = ServiceProcess("embedder", tmp_path, settings)
    process.start()
    yield process
    process.kill()


async def test_no_hostile_file_leaves_a_document(embedder: ServiceProcess) -> None:
    memory = peak_bytes(embedder.pid)
    names: list[str] = []
    async for answer in answers(embedder):
        names.append(answer.name)
        assert answer.document_count == 0, answer
        refusals = ("INVALID_ARGUMENT", "FAILED_PRECONDITION", "RESOURCE_EXHAUSTED")
        assert answer.code in refusals or answer.rejected_count > 0, answer
        assert re.search(FILES[answer.name].words, answer.message), answer
        assert "\n" not in answer.message, answer
        assert len(answer.message) < 500, answer
        assert answer.peak_bytes < memory + MEMORY_BYTES, answer
    assert len(names) >= 60
