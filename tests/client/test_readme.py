"""What the README says can be done: its commands and its program, run as they stand."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from prisma_client import Prisma
from tests.stack import PRISMA, Stack

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
NOT_RUN = ("prisma up", "prisma keys", "prisma doctor", "prisma down")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_commands_of_the_readme_work(stack: Stack, tmp_path: Path) -> None:
    lines = [
        f'{{"id": "d{row}", "text": "Patients were randomised to arm {row % 3}, visit {row}."}}' for row in range(80)
    ]
    (tmp_path / "abstracts.jsonl").write_text("\n".join(lines))
    commands = [line.partition("  #")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    commands = [line for line in commands if line.startswith("prisma ") and not line.startswith(NOT_RUN)]
    assert len(commands) > 5
    try:
        for command in commands:
            ended = subprocess.run(
                ["bash", "-euc", f'prisma() {{ "{PRISMA}" "$@"; }}; {command}'],
                env=stack.environment,
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=120,
            )
            assert ended.returncode == 0, (command, ended.stderr)
            assert all(json.loads(line) for line in ended.stdout.splitlines()), command
    finally:
        with Prisma(stack.url) as prisma:
            prisma.datasets.get("abstracts").delete()


def test_the_program_of_the_readme_works(stack: Stack) -> None:
    (program,) = blocks("python")
    try:
        ended = subprocess.run(
            [sys.executable, "-c", program], env=stack.environment, capture_output=True, text=True, timeout=120
        )
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout, "no hit"
    finally:
        with Prisma(stack.url) as prisma:
            for each in prisma.datasets.list():
                if each.message.display_name == "Abstracts":
                    each.delete()
