"""The suite installs from wheels alone on each platform that docs/reference/platforms.md names."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
PLATFORMS = {
    "Linux x86-64": "x86_64-unknown-linux-gnu",
    "Linux arm64": "aarch64-unknown-linux-gnu",
    "macOS 14 arm64": "aarch64-apple-darwin",
    "macOS 13 x86-64": "x86_64-apple-darwin",
    "Windows x86-64": "x86_64-pc-windows-msvc",
}
"""uv's names of the platforms of the documentation."""
MACOS = {
    "macOS 14 arm64": {"MACOSX_DEPLOYMENT_TARGET": "14.0"},
    "macOS 13 x86-64": {"MACOSX_DEPLOYMENT_TARGET": "13.0"},
}
"""How uv learns of the version."""
EXTRAS = ("all", "trainer-gpu")


def documented() -> dict[tuple[str, str], bool]:
    """Whether the documentation says that an extra can be installed on a platform."""
    lines = (ROOT / "docs/reference/platforms.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    return {
        (platform, extra): cell.startswith("yes")
        for platform, *cells in rows[1:]
        for extra, cell in zip(EXTRAS, cells, strict=True)
    }


def resolve(wheels: Path, *, platform: str, python: str, extra: str) -> subprocess.CompletedProcess[str]:
    """uv's choice of versions, from wheels alone."""
    command = [Path(sys.executable).with_name("uv"), "pip", "compile", "--quiet", "--no-sources", "--no-header"]
    options = ["--only-binary", ":all:", "--python-platform", PLATFORMS[platform], "--python-version", python]
    return subprocess.run(
        [*command, *options, "--find-links", wheels, "-"],
        input=f"prisma-suite[{extra}]==0.1.0",
        capture_output=True,
        text=True,
        cwd=wheels,
        env={**os.environ, **MACOS.get(platform, {})},
    )


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheels of this checkout, without the page."""
    folder = tmp_path_factory.mktemp("wheels")
    for project in (ROOT / "deploy/client", ROOT):
        subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
            cwd=project,
            check=True,
            stdout=subprocess.DEVNULL,
            env={"PRISMA_WHEEL_WITHOUT_PAGE": "1"},
        )
    return folder


def test_all_platforms_are_documented() -> None:
    assert set(documented()) == set(product(PLATFORMS, EXTRAS))


@pytest.mark.parametrize(("platform", "extra"), list(product(PLATFORMS, EXTRAS)))
def test_wheels_alone_are_enough(wheels: Path, platform: str, extra: str) -> None:
    with ThreadPoolExecutor(len(PYTHONS)) as pool:
        answers = pool.map(lambda python: resolve(wheels, platform=platform, python=python, extra=extra), PYTHONS)
    failures = {
        python: answer.stderr for python, answer in zip(PYTHONS, answers, strict=True) if answer.returncode != 0
    }
    assert not failures if documented()[platform, extra] else set(failures) == set(PYTHONS), failures
