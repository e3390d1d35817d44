"""The commands and the program of the README and of the reference work as they are printed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from prisma_client import Prisma
from tests.children import tied
from tests.stack import PRISMA, Stack

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
REFERENCE = (ROOT / "docs/reference/command-line.md").read_text(encoding="utf-8")
NOT_RUN = ("prisma up",)
"""It runs until Ctrl-C; the tests of the stack run it."""


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def commands(text: str) -> list[str]:
    lines = [line.partition("  #")[0].strip() for block in blocks(text, "sh") for line in block.splitlines()]
    return [line for line in lines if line.startswith("prisma ") and not line.startswith(NOT_RUN)]


def run(command: str, stack: Stack, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        tied("bash", "-euc", f'prisma() {{ "{PRISMA}" "$@"; }}; {command}'),
        env=stack.environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_commands_of_the_readme_work(stack: Stack) -> None:
    assert len(commands(README)) > 5
    try:
        for command in commands(README):
            ended = run(command, stack, ROOT)
            assert ended.returncode == 0, (command, ended.stderr)
            assert all(json.loads(line) for line in ended.stdout.splitlines()), command
            assert ended.stdout or not command.startswith("prisma features"), (
                "a feature has the label that is looked for"
            )
    finally:
        with Prisma(stack.url) as prisma:
            prisma.datasets.get("abstracts").delete()


def test_the_commands_of_the_reference_work(stack: Stack, tmp_path: Path) -> None:
    assert len(commands(REFERENCE)) == 3
    for command in commands(REFERENCE):
        ended = run(command, stack, tmp_path)
        assert ended.returncode == 0, (command, ended.stderr)


def test_the_reference_lists_the_exit_codes() -> None:
    from prisma_client.cli.output import EXIT_CODES, INTERRUPTED

    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", REFERENCE, re.MULTILINE)}
    assert listed == {0, 1, *EXIT_CODES.values(), INTERRUPTED}


def test_the_program_of_the_readme_works(stack: Stack) -> None:
    (program,) = blocks(README, "python")
    try:
        ended = subprocess.run(
            [sys.executable, "-c", program],
            env=stack.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout, "no hit"
    finally:
        with Prisma(stack.url) as prisma:
            for dataset in prisma.datasets.list():
                if dataset.message.display_name == "Abstracts":
                    dataset.delete()
