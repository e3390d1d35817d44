"""Every command, argument and option with values that nobody expects: one message, a documented exit code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from prisma_client.cli import output
from prisma_client.cli.commands import app
from tests.client.scripted_gateway import Gateway, error, scripted

CODES = {0, 1, *output.EXIT_CODES.values()}
NOT_CALLED = ("up", "down", "demo")
"""They start or stop a stack, and take no value."""
TEXTS = ("", "\udcff")
"""The last one is what a byte that is not UTF-8 becomes."""
NUMBERS = ("x", "-1", "nan", "9" * 40)
MOST_CHARACTERS = 1500


ROOT: Any = typer.main.get_command(app)


def commands(command: Any = None, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The words of each command, and the command."""
    command = command or ROOT
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, (*words, name))
    if not hasattr(command, "commands"):
        yield words, command


COMMANDS = {" ".join(words): command for words, command in commands() if words[0] not in NOT_CALLED}


def valid_values(folder: Path) -> dict[str, str]:
    """A value of each argument with which a command can be called."""
    (folder / "texts.jsonl").write_text('{"id": "a", "text": "a text"}\n')
    return {
        "dataset": "none",
        "run": "none",
        "first": "none",
        "second": "none",
        "source": "none",
        "name": "none",
        "job": "none",
        "path": str(folder / "texts.jsonl"),
        "file": str(folder / "file"),
        "folder": str(folder / "folder"),
        "what": "features",
        "index": "0",
        "query": "a query",
        "text": "a text",
        "texts": "a text",
        "key": "module",
        "positives": "a text",
        "positive": 'metadata.kind = "class"',
    }


def calls(words: str, command: Any, folder: Path) -> Iterator[list[str]]:
    """Words of calls that are wrong in one place each."""
    values = valid_values(folder)
    arguments = [parameter for parameter in command.params if not parameter.opts[0].startswith("-")]
    options = [parameter for parameter in command.params if parameter.opts[0].startswith("--")]
    valid = [values[argument.name] for argument in arguments if argument.required]
    start = words.split()
    if valid:
        yield start
    yield [*start, *valid, "--colour"]
    yield [*start, *valid, "one", "two", "more"]
    for place, _ in enumerate(valid):
        for value in TEXTS:
            yield [*start, "--", *valid[:place], value, *valid[place + 1 :]]
    for option in options:
        if not option.is_flag:
            is_number = any(kind in str(option.type_descriptor.annotation) for kind in ("int", "float"))
            for value in NUMBERS if is_number else TEXTS:
                yield [*start, f"{option.opts[-1]}={value}", "--", *valid]


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    """It has nothing of what it is asked for."""
    with scripted([error(404, "NOT_FOUND", "RESOURCE_NOT_FOUND", "there is no such resource")]) as gateway:
        yield gateway


@pytest.mark.timeout(300)
@pytest.mark.parametrize("words", COMMANDS)
def test_whatever_is_wrong_is_said_in_a_message_with_a_documented_code(
    gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("typer.testing._get_command", lambda _app: ROOT)  # which would be made anew for each call
    runner = CliRunner(env={"PRISMA_URL": gateway.url, "PRISMA_DATA_DIR": str(tmp_path / "none")})
    defects: list[str] = []
    for call in calls(words, COMMANDS[words], tmp_path):
        ended = runner.invoke(app, call)
        if defect := described(ended):
            defects.append(f"{[word[:40] for word in call]}: {defect}")
    assert not defects, "\n".join(defects)


def described(ended: Any) -> str | None:
    """What is wrong with how a call was answered."""
    if ended.exception is not None and not isinstance(ended.exception, SystemExit):
        return repr(ended.exception)
    message = ended.stderr
    if ended.exit_code not in CODES:
        return f"exit code {ended.exit_code}: {message}"
    if ended.exit_code and not message:
        return "no message"
    if re.search(r"Errno|Traceback|Error\(|codec", message) or len(message) > MOST_CHARACTERS:
        return message
    return None
