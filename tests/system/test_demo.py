"""`prisma demo --exit` and `prisma up`, as a newcomer calls them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.children import tied
from tests.ports import free_port


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith("PRISMA_")},
        "PRISMA_DATA_DIR": str(tmp_path / "data"),
        "PRISMA_NATS_LISTEN": f"127.0.0.1:{free_port()}",
        **{
            f"PRISMA_{name}_LISTEN": f"127.0.0.1:{free_port()}"
            for name in ("EMBEDDER", "TRAINER", "INTERPRETER", "SEARCH", "GATEWAY", "HTTP")
        },
        "PRISMA_LOG_FORMAT": "text",
    }


PRISMA = Path(sys.executable).parent / "prisma"


def test_the_demo_ends_with_a_labelled_searchable_sample_and_leaves_nothing_running(
    environment: dict[str, str], tmp_path: Path
) -> None:
    for _ in range(2):  # the second time on what is there already
        ended = subprocess.run(
            [PRISMA, "demo", "--exit"], env=environment, capture_output=True, text=True, timeout=400, cwd=tmp_path
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert "finds asyncio.tasks.wait_for" in ended.stdout
        assert "[info" not in ended.stdout + ended.stderr
    left = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True, check=False)
    assert left.stdout == ""


@pytest.mark.parametrize("by", ["interrupt", "down"])
def test_one_word_stops_all_and_a_second_stack_is_refused(environment: dict[str, str], tmp_path: Path, by: str) -> None:
    first = subprocess.Popen(
        tied(PRISMA, "up"), env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=tmp_path
    )
    assert first.stdout is not None
    try:
        assert "PRISMA is up" in first.stdout.readline()
        second = subprocess.run(
            [PRISMA, "up"], env=environment, capture_output=True, text=True, timeout=60, cwd=tmp_path
        )
        assert second.returncode == 1
        assert "already" in second.stderr
        if by == "interrupt":
            first.send_signal(signal.SIGINT)
        else:
            down = subprocess.run([PRISMA, "down"], env=environment, capture_output=True, text=True, timeout=60)
            assert down.stdout == "PRISMA is down\n"
        assert first.wait(30) == 0
    finally:
        first.kill()


def test_the_demo_runs_on_an_opensearch_cluster_too(
    environment: dict[str, str], tmp_path: Path, opensearch_url: str
) -> None:
    settings = {
        **environment,
        "PRISMA_OPENSEARCH_URL": opensearch_url,
        "PRISMA_OPENSEARCH_PREFIX": f"demo{os.getpid()}",
    }
    ended = subprocess.run(
        [PRISMA, "demo", "--exit"], env=settings, capture_output=True, text=True, timeout=400, cwd=tmp_path
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "finds asyncio.tasks.wait_for" in ended.stdout


def test_a_key_is_made_once_for_a_name(environment: dict[str, str], tmp_path: Path) -> None:
    command = [PRISMA, "keys", "create", "ada", "--file", tmp_path / "keys"]
    created = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert created.returncode == 0, created.stderr
    assert created.stdout.strip() not in (tmp_path / "keys").read_text()
    assert (tmp_path / "keys").stat().st_mode & 0o077 == 0
    assert subprocess.run(command, env=environment, capture_output=True, timeout=60).returncode != 0
