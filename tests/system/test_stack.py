"""`prisma up`: its processes are restarted, report their metrics, and end with it, however it ends."""

from __future__ import annotations

import asyncio
import re
import subprocess
import time
import urllib.request
from pathlib import Path

import psutil
import pytest

from tests.children import tied
from tests.ports import free_ports
from tests.readers import reading
from tests.stack import NAMES, PRISMA, environment, processes


async def restart_the_gateway(stack: int, url: str, headers: dict[str, str]) -> None:
    """Fails no request of clients that send none again, though nothing else listens for HTTP."""
    async with reading(url, headers) as statuses:
        gateway = processes(stack)["gateway"]
        gateway.terminate()
        await asyncio.to_thread(gateway.wait)
        while "gateway" not in processes(stack):  # noqa: ASYNC110 - another process is waited for
            await asyncio.sleep(0.1)
    assert set(statuses) == {"200"}, statuses


@pytest.mark.timeout(300)
def test_processes_are_restarted_and_none_outlives_the_stack(tmp_path: Path) -> None:
    metrics = free_ports(5)
    keys = tmp_path / "keys"
    settings = {
        **environment(tmp_path),
        "PRISMA_METRICS_LISTEN": f"127.0.0.1:{metrics}",
        "PRISMA_API_KEYS_FILE": str(keys),
    }
    created = subprocess.run(
        [PRISMA, "keys", "create", "ada"], env=settings, capture_output=True, text=True, check=True
    )
    with (tmp_path / "log").open("wb") as log:
        stack = subprocess.Popen(tied(PRISMA, "up"), env=settings, stdout=subprocess.PIPE, stderr=log, text=True)
    children: list[psutil.Process] = []
    try:
        assert stack.stdout is not None
        assert "PRISMA is up" in stack.stdout.readline(), (tmp_path / "log").read_text()
        for position in range(5):
            with urllib.request.urlopen(f"http://127.0.0.1:{metrics + position}/metrics") as response:
                assert b"python_info" in response.read()
        headers = {"Authorization": f"Bearer {created.stdout.strip()}"}
        request = urllib.request.Request(f"{settings['PRISMA_URL']}/v1/datasets", headers=headers)
        with urllib.request.urlopen(request) as response:  # the gateway's calls carry a key that the stack made
            assert response.status == 200
        asyncio.run(restart_the_gateway(stack.pid, settings["PRISMA_URL"], headers))
        first = processes(stack.pid)
        assert set(first) == set(NAMES)
        for process in first.values():
            process.kill()
        psutil.wait_procs(first.values())
        while set(second := processes(stack.pid)) != set(NAMES):
            assert stack.poll() is None
            time.sleep(0.1)
        assert not {process.pid for process in first.values()} & {process.pid for process in second.values()}
    finally:
        children = psutil.Process(stack.pid).children(recursive=True)
        stack.kill()
        stack.communicate()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert alive == []
    down = subprocess.run([PRISMA, "down"], env=settings, capture_output=True, text=True, timeout=60)
    assert (down.returncode, down.stderr) == (0, "")
    assert "no stack runs on" in down.stdout


def test_a_stack_that_is_too_slow_for_its_limit_says_what_it_waited_for(tmp_path: Path) -> None:
    settings = {**environment(tmp_path), "PRISMA_START_SECONDS": "0.01"}
    ended = subprocess.run([PRISMA, "up"], env=settings, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1
    waiting_for = re.search(r"not ready after .* \(PRISMA_START_SECONDS\): ([a-z, ]+)$", ended.stderr.splitlines()[-1])
    assert waiting_for is not None, ended.stderr
    services = {"embedder", "trainer", "interpreter", "search", "gateway"}  # on a slow machine, some are ready by then
    assert set(waiting_for[1].split(", ")) <= services
    assert "Traceback" not in ended.stderr
