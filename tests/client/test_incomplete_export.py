"""An export that lacks documents says how many, in Python and on the command line."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from prisma_client import IncompleteExport, Prisma
from tests.client.scripted_gateway import Answer, reply, scripted, stream
from tests.stack import PRISMA

LINE = {"document": "datasets/d/documents/a"}


def answers(uncoded: int) -> list[Answer]:
    """The run, the download, and the run after it."""
    return [reply(200, {"name": "runs/r"}), stream(LINE), reply(200, {"name": "runs/r", "uncodedCount": str(uncoded)})]


@pytest.mark.parametrize("kind", ["features", "activations", "table"])
def test_the_command_says_how_many_documents_are_missing(tmp_path: Path, kind: str) -> None:
    for uncoded, message in (
        (0, ""),
        (1, "1 document has no codes yet and is left out"),
        (1200, "1,200 documents have"),
    ):
        with scripted(answers(uncoded)) as gateway:
            environment = {**os.environ, "PRISMA_URL": gateway.url}
            command = [PRISMA, "export", "r", kind, str(tmp_path / "file.csv")]
            ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert ended.returncode == 0, ended.stderr
        assert message in ended.stderr
        assert bool(ended.stderr) == bool(message)
        assert (tmp_path / "file.csv").read_text().strip()


def test_the_sdk_warns(tmp_path: Path) -> None:
    with scripted(answers(3)) as gateway, Prisma(gateway.url) as prisma:
        run = prisma.runs.get("r")
        with pytest.warns(IncompleteExport, match="runs/r: 3 documents have no codes yet"):
            assert run.export_activations(tmp_path / "file") > 0
