"""An export says what people should know of it, in Python and on the command line; one that is cut is an error."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from prisma_client import ExportNotice, IncompleteExport, Prisma, Unavailable
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


def test_a_table_that_is_cut_is_no_file(tmp_path: Path) -> None:
    with scripted([reply(200, {"name": "runs/r"}), stream(LINE, cut=True)]) as gateway, Prisma(gateway.url) as prisma:
        run = prisma.runs.get("r")
        for name in ("table.csv", "table.parquet"):
            with pytest.raises(Unavailable):
                run.export_table(tmp_path / name)
        with pytest.raises(Unavailable):
            run.table()
    assert not list(tmp_path.iterdir())


def test_notices_of_a_table_are_warnings_and_lines_on_standard_error(tmp_path: Path) -> None:
    notices = ["no document has the metadata key 'año'", "another"]
    download = stream(LINE, headers={"x-prisma-notices": json.dumps(notices)})
    answers = [reply(200, {"name": "runs/r"}), download, reply(200, {"name": "runs/r"})]
    with scripted(answers) as gateway, Prisma(gateway.url) as prisma, pytest.warns(ExportNotice) as caught:
        assert prisma.runs.get("r").export_table(tmp_path / "a.csv", filter="metadata.año = 1", feature_count=0) > 0
    assert [str(warning.message) for warning in caught] == notices
    assert gateway.requests[1] == (
        "GET /v1/runs/r/table:export?format=TABLE_FORMAT_CSV&filter=metadata.a%C3%B1o+%3D+1&feature_count=0"
    )
    with scripted(answers) as gateway:
        command = [PRISMA, "export", "r", "table", str(tmp_path / "b.feather"), "--metadata-key", "a", "--no-text"]
        environment = {**os.environ, "PRISMA_URL": gateway.url}
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0 and all(notice in ended.stderr for notice in notices)
    assert gateway.requests[1].endswith("?format=TABLE_FORMAT_ARROW&omit_text=true&metadata_keys=a")
