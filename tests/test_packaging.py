"""Two wheels: the client's, which holds no service, and the server's, which holds the page."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def build(folder: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """Builds a wheel without a build environment of its own."""
    return subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", target],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )


def names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def top_level(files: list[str]) -> set[str]:
    return {name.partition("/")[0] for name in files if ".dist-info/" not in name}


@pytest.fixture(scope="module")
def client_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("client")
    ended = build(ROOT / "deploy/client", target)
    assert ended.returncode == 0, ended.stderr
    (wheel,) = target.iterdir()
    return wheel


def test_the_client_brings_no_service_and_the_server_brings_the_page(client_wheel: Path, tmp_path: Path) -> None:
    ended = build(ROOT, tmp_path)
    assert ended.returncode == 0, ended.stderr
    (server_wheel,) = tmp_path.iterdir()
    client, server = names(client_wheel), names(server_wheel)
    assert top_level(client) == {"prisma", "prisma_client", "prisma_common"}
    assert top_level(server) == {"services", "gateway", "prisma_sae"}
    assert {"prisma/prisma.binpb", "prisma_client/cli/reaper.py", "prisma_client/py.typed"} < set(client)
    assert "gateway/web/dist/index.html" in server
    assert not any(name.startswith(("gateway/web/src", "gateway/web/node_modules")) for name in server)


def test_a_wheel_of_the_server_is_not_built_without_the_page(tmp_path: Path) -> None:
    folder = tmp_path / "checkout"
    skip = shutil.ignore_patterns("node_modules", "dist", "__pycache__")
    for name in ("services", "gateway", "prisma_sae", "deploy"):
        shutil.copytree(ROOT / name, folder / name, ignore=skip)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    ended = build(folder, tmp_path / "wheels")
    assert ended.returncode != 0
    assert "make web" in ended.stderr


def test_the_client_works_without_the_server(client_wheel: Path, tmp_path: Path) -> None:
    installed = tmp_path / "installed"
    with zipfile.ZipFile(client_wheel) as archive:
        archive.extractall(installed)
    # -S leaves out the editable install of the checkout; the client's dependencies are where they are.
    command = [
        sys.executable,
        "-S",
        "-P",
        "-c",
        f"import sys; sys.path += {[str(installed), sysconfig.get_paths()['purelib']]!r};"
        "from importlib.util import find_spec; assert find_spec('services') is None;"
        "from prisma_client.cli import main; main()",
    ]
    environment = {**os.environ, "PRISMA_DATA_DIR": str(tmp_path / "data"), "PRISMA_URL": "http://127.0.0.1:9"}

    def prisma(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *words], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60
        )

    assert prisma("--help").returncode == 0
    ended = prisma("up")
    assert (ended.returncode, "make install" in ended.stderr) == (1, True), ended.stderr
    ended = prisma("datasets")
    assert (ended.returncode, "prisma up" in ended.stderr) == (6, True), ended.stderr


def test_both_distributions_have_one_version() -> None:
    server, client = ((ROOT / path).read_text() for path in ("pyproject.toml", "deploy/client/pyproject.toml"))
    version = next(line for line in server.splitlines() if line.startswith("version = "))
    assert version in client
    assert f"prisma-suite-client=={version.split(chr(34))[1]}" in server


def test_every_extra_that_a_message_names_exists() -> None:
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    packages = ("services", "gateway", "prisma_client", "prisma_sae")
    files = [file for folder in packages for file in (ROOT / folder).rglob("*.py")]
    named = {name for file in files for name in re.findall(r"(?:prisma-suite|'\.)\[([\w,-]+)\]", file.read_text())}
    assert named
    assert {extra for names in named for extra in names.split(",")} <= extras
