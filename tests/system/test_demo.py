"""`prisma demo --exit` and `prisma up`, as a newcomer calls them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.children import tied
from tests.ports import free_port


def environment_of(folder: Path) -> dict[str, str]:
    """The environment of a stack on free ports and a data folder of its own."""
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith("PRISMA_")},
        "PRISMA_DATA_DIR": str(folder / "data"),
        "PRISMA_NATS_LISTEN": f"127.0.0.1:{free_port()}",
        **{
            f"PRISMA_{name}_LISTEN": f"127.0.0.1:{free_port()}"
            for name in ("EMBEDDER", "TRAINER", "INTERPRETER", "SEARCH", "GATEWAY", "HTTP")
        },
        "PRISMA_LOG_FORMAT": "text",
    }


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return environment_of(tmp_path)


PRISMA = Path(sys.executable).parent / "prisma"


@dataclass(frozen=True)
class Demo:
    """A folder in which the demo has run, and its environment."""

    folder: Path
    environment: dict[str, str]

    def run(self, **settings: str) -> None:
        """Runs it to its end, in the same place each time."""
        ended = subprocess.run(
            [PRISMA, "demo", "--exit"],
            env={**self.environment, **settings},
            capture_output=True,
            text=True,
            timeout=400,
            cwd=self.folder,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert "finds asyncio.tasks.wait_for" in ended.stdout
        assert "[info" not in ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """On an empty data folder."""
    folder = tmp_path_factory.mktemp("demo")
    demo = Demo(folder, environment_of(folder))
    demo.run()
    return demo


def test_the_demo_ends_with_a_labelled_searchable_sample_and_leaves_nothing_running(demo: Demo) -> None:
    demo.run()  # the second time on what is there already
    left = subprocess.run(["pgrep", "-f", str(demo.folder)], capture_output=True, text=True, check=False)
    assert left.stdout == ""


def test_the_demo_runs_on_an_opensearch_cluster_too(demo: Demo, opensearch_url: str) -> None:
    """On the data that is there; the cluster, which has none of it, is filled with all."""
    prefix = f"demo{os.getpid()}"
    with httpx.Client(base_url=opensearch_url, trust_env=False) as cluster:
        assert not cluster.get("/_cat/indices", params={"index": f"{prefix}*"}).text
        demo.run(PRISMA_OPENSEARCH_URL=opensearch_url, PRISMA_OPENSEARCH_PREFIX=prefix)
        assert cluster.get(f"/{prefix}*/_count").json()["count"] > 0


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


def test_a_key_is_made_once_for_a_name(environment: dict[str, str], tmp_path: Path) -> None:
    command = [PRISMA, "keys", "create", "ada", "--file", tmp_path / "keys"]
    created = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert created.returncode == 0, created.stderr
    assert created.stdout.strip() not in (tmp_path / "keys").read_text()
    assert (tmp_path / "keys").stat().st_mode & 0o077 == 0
    assert subprocess.run(command, env=environment, capture_output=True, timeout=60).returncode != 0
