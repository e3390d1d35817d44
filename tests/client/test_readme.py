"""The commands and the program of the README and of the reference work as they are printed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from prisma_client import Prisma
from tests.children import tied
from tests.stack import PRISMA, Stack

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
REFERENCE = (ROOT / "docs/reference/command-line.md").read_text(encoding="utf-8")
GRPC_CLIENTS = (ROOT / "docs/reference/grpc-clients.md").read_text(encoding="utf-8")
GOOGLE = ("_upb", "protobuf", "api", "rpc")
"""What protobuf and googleapis-common-protos install into the package `google`."""
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


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python with nothing but what the `pip install` of the reference installs, and the stubs that it generates."""
    folder = tmp_path_factory.mktemp("client")
    site = Path(sysconfig.get_path("purelib"))
    (folder / "packages/google").mkdir(parents=True)
    for name in ("grpc", "grpc_tools", "typing_extensions.py", *(f"google/{part}" for part in GOOGLE)):
        (folder / "packages" / name).symlink_to(site / name)
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{folder}/packages:{folder}" exec "{sys.executable}" -S -P "$@"\n')
    python.chmod(0o700)
    install, *commands = (line for block in blocks(GRPC_CLIENTS, "sh") for line in block.splitlines())
    assert install == "pip install grpcio-tools googleapis-common-protos"
    stubs: list[set[Path]] = []
    for command in reversed(commands):  # the client runs with the stubs of the first one
        script = f'python() {{ "{python}" "$@"; }}; {command.replace("_out=.", f"_out={folder}")}'
        ended = subprocess.run(["bash", "-euc", script], cwd=ROOT, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr
        stubs.append(set((folder / "prisma").rglob("*.py")))
        shutil.move(folder / "prisma", folder / f"prisma{len(stubs)}")
    assert [len(files) for files in stubs] == [len(stubs[0])] * 2
    (folder / "prisma2").rename(folder / "prisma")
    return python


@pytest.mark.parametrize(("port", "status"), [("GATEWAY", 0), ("EMBEDDER", 1)])
def test_the_client_of_generated_stubs_works_and_reads_errors(
    stack: Stack, generated: Path, port: str, status: int
) -> None:
    (program,) = blocks(GRPC_CLIENTS, "python")
    program = program.replace("127.0.0.1:50050", stack.environment[f"PRISMA_{port}_LISTEN"])
    ended = subprocess.run([generated, "-c", program], capture_output=True, text=True, timeout=120)
    with Prisma(stack.url) as prisma:
        for dataset in prisma.datasets.list():
            if dataset.message.display_name == "gRPC":
                dataset.delete()
    assert ended.returncode == status, (ended.stdout, ended.stderr)
    if status == 0:
        assert re.search(r"\[\d+.*\]$", ended.stdout), "a hit, with features"
    else:
        assert 'reason: "UNIMPLEMENTED"' in ended.stdout, "the embedder's port does not train"


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
        assert not all(line.endswith("[]") for line in ended.stdout.splitlines()), "hits show the features they share"
    finally:
        with Prisma(stack.url) as prisma:
            for dataset in prisma.datasets.list():
                if dataset.message.display_name == "Abstracts":
                    dataset.delete()
