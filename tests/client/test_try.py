"""`prisma try`: one command from a file to named features, and what it says of them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
import urllib.request
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from subprocess import PIPE
from types import SimpleNamespace
from typing import Any

import pytest

from prisma.embedder.v1.embedder_service_pb2 import ImportDocumentsResponse
from prisma.embedder.v1.resources_pb2 import Dataset as DatasetMessage
from prisma.interpreter.v1.resources_pb2 import Interpretation
from prisma.trainer.v1.resources_pb2 import Run as RunMessage
from prisma_client import Prisma
from prisma_client.cli import output, trial
from prisma_client.cli.input_file import InputFile
from tests.children import tied
from tests.client.scripted_gateway import scripted
from tests.stack import PRISMA, Stack, Terminal, environment

ROOT = Path(__file__).parents[2]
TUTORIAL = (ROOT / "docs/tutorial/your-file.md").read_text(encoding="utf-8")
ABSTRACTS = ROOT / "docs/examples/abstracts.jsonl"


def tried(stack: Stack, *words: str) -> dict[str, Any]:
    ended = stack.command("try", *words)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@pytest.fixture
def prisma(stack: Stack) -> Iterator[Prisma]:
    """A client; the datasets that a test has added are deleted at its end."""
    with Prisma(stack.url) as prisma:
        existing = {dataset.name for dataset in prisma.datasets.list()}
        yield prisma
        for dataset in prisma.datasets.list():
            if dataset.name not in existing:
                dataset.delete()


def test_the_same_file_uses_what_exists_and_another_one_does_not(stack: Stack, prisma: Prisma, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (tmp_path / "notes.jsonl").write_bytes(ABSTRACTS.read_bytes())
    first = tried(stack, str(tmp_path / "notes.jsonl"))
    assert (first["dataset"], first["run"], first["documents"]) == ("datasets/notes", "runs/notes", 240)
    assert first["page"] == f"{stack.url}/runs/notes/features"
    assert 0 < len(first["features"]) <= first["named"] <= first["latents"]
    for feature in first["features"]:
        assert feature["label"] and feature["documents"] > 0
        assert any(word in feature["example"].lower() for word in feature["label"].lower().split())
    jobs = {job.name for job in prisma.jobs.list(1000) if job.kind in ("train-run", "build-families")}
    again = tried(stack, str(tmp_path / "notes.jsonl"))
    assert {**again, "report": None} == {**first, "report": None}
    assert {job.name for job in prisma.jobs.list(1000) if job.kind in ("train-run", "build-families")} == jobs
    lines = ABSTRACTS.read_text().splitlines(keepends=True)
    (folder / "notes.jsonl").write_text("".join(lines[:50]))
    assert tried(stack, str(folder / "notes.jsonl"))["dataset"] == "datasets/notes-2", "other contents"
    other = tried(stack, str(folder / "notes.jsonl"), "--id-field", "text", "--text-field", "id")
    assert other["dataset"] == "datasets/notes-3", "read in another way"
    assert prisma.datasets.get("notes").message.document_count == 240


def test_a_few_texts_are_no_error(stack: Stack, prisma: Prisma, tmp_path: Path) -> None:
    (tmp_path / "few.csv").write_text("id,text\n1,of ships\n2,of trains\n3,\n")
    written = stack.on_terminal("try", str(tmp_path / "few.csv"))
    assert "few.csv: 2 documents in datasets/few" in written
    assert "1 rejected (1 missing text), the first: item 3" in written
    assert "warning: " in written
    assert f"{stack.url}/runs/few/features" in written
    assert "the same file was tried before" in stack.on_terminal("try", str(tmp_path / "few.csv"))


def test_a_file_that_cannot_be_tried_leaves_nothing_behind(stack: Stack, prisma: Prisma, tmp_path: Path) -> None:
    (tmp_path / "numbers.csv").write_text("a,b\n1,2\n")
    before = {dataset.name for dataset in prisma.datasets.list()}
    for words, code, sentence in (
        ([str(tmp_path / "numbers.csv")], 2, "no field holds texts"),
        ([str(tmp_path / "none.csv")], 2, "there is no file"),
        ([str(ABSTRACTS), "--text-field", "body"], 2, "body"),
        ([str(ABSTRACTS), "--model", "none/such"], 3, "none/such"),
        (["-"], 2, "prisma ingest DATASET -"),
    ):
        ended = stack.command("try", *words)
        assert (ended.returncode, ended.stdout) == (code, ""), (words, ended.stderr)
        assert sentence in ended.stderr
        assert "Traceback" not in ended.stderr
    assert {dataset.name for dataset in prisma.datasets.list()} == before


def test_own_vectors_are_tried_without_a_model(stack: Stack, prisma: Prisma, tmp_path: Path) -> None:
    rows = [
        {**json.loads(line), "mine": [float(number % 7), float(number % 5), 1.0, float(number % 3)]}
        for number, line in enumerate(ABSTRACTS.read_text().splitlines())
    ]
    (tmp_path / "own.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    row = tried(stack, str(tmp_path / "own.jsonl"), "--vector-field", "mine")
    assert (row["documents"], row["failed"]) == (len(rows), 0)
    data = prisma.datasets.get(row["dataset"].removeprefix("datasets/"))
    assert (data.message.embedding_model, data.message.dimension) == ("given", 4)


def test_a_pipe_is_refused_as_it_can_be_read_only_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    ended = subprocess.run(
        [PRISMA, "try", tmp_path / "pipe.csv"], env=environment(tmp_path), capture_output=True, text=True, timeout=60
    )
    assert (ended.returncode, "prisma ingest DATASET -" in ended.stderr) == (2, True), ended.stderr


async def test_documents_that_could_not_be_embedded_are_counted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def interpretation() -> Interpretation:
        return Interpretation(latent_count=8)

    async def nothing(**_: Any) -> AsyncIterator[Any]:
        for item in ():
            yield item

    (tmp_path / "notes.csv").touch()
    message = DatasetMessage(name="datasets/notes", document_count=40, failed_count=7)
    data: Any = SimpleNamespace(id="notes", name="datasets/notes", message=message)
    run: Any = SimpleNamespace(
        id="notes", name="runs/notes", message=RunMessage(), interpretation=interpretation, families=nothing,
        features=SimpleNamespace(list=nothing),
    )  # fmt: skip
    outcome = trial.Trial(data, run, ImportDocumentsResponse(), is_new=True)
    await trial._show(outcome, InputFile(tmp_path / "notes.csv"), "http://127.0.0.1:1")
    assert json.loads(capsys.readouterr().out)["failed"] == 7
    monkeypatch.setattr(output, "on_terminal", lambda: True)
    await trial._show(outcome, InputFile(tmp_path / "notes.csv"), "http://127.0.0.1:1")
    written = capsys.readouterr().out
    assert "7 could not be embedded: `prisma documents notes --filter 'state = FAILED'` says why" in written


def test_ctrl_c_says_what_continues(tmp_path: Path) -> None:
    (tmp_path / "notes.csv").write_text("id,text\n1,of ships\n")
    started, ended = threading.Event(), threading.Event()

    def never_answer(_handler: BaseHTTPRequestHandler) -> None:
        started.set()
        ended.wait()

    with scripted([never_answer]) as gateway:
        settings = {**os.environ, "PRISMA_URL": gateway.url}
        words = [PRISMA, "try", tmp_path / "notes.csv"]
        with subprocess.Popen(words, env=settings, stdout=PIPE, stderr=PIPE, text=True) as trying:
            started.wait(60)
            trying.send_signal(signal.SIGINT)
            _, stderr = trying.communicate(timeout=60)
        ended.set()
    assert (trying.returncode, "prisma jobs ID --cancel" in stderr) == (130, True), stderr


def test_a_gateway_elsewhere_is_not_replaced_by_a_stack_of_its_own(tmp_path: Path) -> None:
    settings = {**environment(tmp_path), "PRISMA_URL": "http://127.0.0.1:9"}
    ended = subprocess.run([PRISMA, "try", ABSTRACTS], env=settings, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 6, ended.stderr
    assert not (tmp_path / "data").exists()


def without_figures(text: str) -> list[str]:
    """Lines with `#` for each number, `URL` for addresses, and without the rows of the table and escape sequences."""
    plain = re.sub(r"http://[\d.:]+", "URL", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "\n"))
    lines = [re.sub(r"\d[\d.,]*", "#", " ".join(line.split())) for line in plain.splitlines()]
    return [line for line in lines if line and not line.startswith("#") and "━" not in line]


@pytest.mark.timeout(300)
def test_the_output_in_the_tutorial_is_what_it_prints_on_a_stack_of_its_own(tmp_path: Path) -> None:
    (expected,) = re.findall(r"```console\n\$ prisma try docs/examples/abstracts.jsonl\n(.*?)```", TUTORIAL, re.DOTALL)
    settings = {key: value for key, value in environment(tmp_path).items() if key != "PRISMA_URL"}
    with Terminal("try", str(ABSTRACTS), environment=settings, width=110) as terminal:
        written = terminal.read(until="features.csv")
        address = f"http://{settings['PRISMA_HTTP_LISTEN']}"
        with urllib.request.urlopen(f"{address}/v1/runs/abstracts") as response:
            assert json.load(response)["state"] == "STATE_TRAINED"
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.process.wait(60) == 0
    assert without_figures(written) == without_figures(expected.partition("\n\nCtrl-C")[0])
    left = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True, check=False)
    assert left.stdout == ""


@pytest.mark.timeout(300)
def test_ctrl_c_ends_a_stack_of_its_own(tmp_path: Path) -> None:
    words = tied(PRISMA, "try", ABSTRACTS)
    with subprocess.Popen(words, env=environment(tmp_path), stdout=PIPE, stderr=PIPE, text=True) as trying:
        assert trying.stderr is not None
        assert "start NATS" in trying.stderr.readline()
        trying.send_signal(signal.SIGINT)
        _, stderr = trying.communicate(timeout=60)
    assert (trying.returncode, "the same command continues from there" in stderr) == (130, True), stderr
    left = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True, check=False)
    assert left.stdout == ""
