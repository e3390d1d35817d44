"""What the command line says of itself: sentences, examples, the reference, completion."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from prisma_client.cli.commands import app
from tests.stack import PRISMA

REFERENCE = (Path(__file__).parents[2] / "docs/reference/command-line.md").read_text(encoding="utf-8")


def walk(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """The words of each command, and the command."""
    for name, below in getattr(command, "commands", {}).items():
        yield from walk(below, (*words, name))
    if not hasattr(command, "commands"):
        yield " ".join(words), command


COMMANDS = dict(walk(typer.main.get_command(app)))


@pytest.mark.parametrize("words", COMMANDS)
def test_each_command_has_an_example_that_can_be_called(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("reviews.csv", "labels.csv", "sae.safetensors"):
        (tmp_path / name).touch()
    example = COMMANDS[words].epilog.removeprefix("Example: ")
    called = [word for word in shlex.split(example) if not re.fullmatch(r"[A-Z_]+=\S+", word)]
    assert called[: 1 + len(words.split())] == ["prisma", *words.split()]
    COMMANDS[words].make_context(words, called[1 + len(words.split()) :])  # raises a UsageError


@pytest.mark.parametrize("words", [[], ["analyze"], ["labels"], ["keys"]])
def test_lists_of_commands_have_whole_sentences(words: list[str]) -> None:
    listed = CliRunner().invoke(app, [*words, "--help"], terminal_width=80).stdout
    assert "try " in listed or words
    assert "..." not in listed.partition("Commands:")[2]


def test_the_reference_lists_all_commands_with_their_examples() -> None:
    rows = dict(re.findall(r"^\| `prisma ([a-z0-9 -]+)` \| (.*) \|$", REFERENCE, re.MULTILINE))
    expected = {
        words: f"{command.help.partition(chr(10))[0].removesuffix('.')} | `{command.epilog.removeprefix('Example: ')}`"
        for words, command in COMMANDS.items()
    }
    assert rows == expected


@pytest.mark.parametrize(
    ("words", "candidates"),
    [
        ("emb", ["embed"]),
        ("ana", ["analyze"]),
        ("analyze co", ["compare", "correlations", "concept"]),
        ("search reviews text --mode s", ["semantic", "sparse"]),
        ("ingest reviews reviews.csv --format j", ["json", "json-lines"]),
        ("train reviews --goal f", ["faithful"]),
    ],
)
def test_shells_complete_commands_and_values(words: str, candidates: list[str]) -> None:
    environment = {**os.environ, "_PRISMA_COMPLETE": "complete_bash", "COMP_WORDS": f"prisma {words}"}
    environment["COMP_CWORD"] = str(len(words.split()))
    completed = subprocess.run([PRISMA], env=environment, capture_output=True, text=True, check=False)
    assert completed.stdout.split() == candidates


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_completion_is_printed(shell: str) -> None:
    ended = subprocess.run([PRISMA, "--show-completion", shell], capture_output=True, text=True, check=False)
    assert (ended.returncode, "_PRISMA_COMPLETE" in ended.stdout) == (0, True), ended.stderr
