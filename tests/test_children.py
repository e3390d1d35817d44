"""A test run that is killed leaves no process behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[1]
TEST = """
import os
import time
from pathlib import Path
from tests.nats_server import NatsServer
from tests.process import ServiceProcess

def test_that_does_not_end(tmp_path):
    server = NatsServer(tmp_path / "nats")
    server.start()
    service = ServiceProcess("embedder", tmp_path, {"PRISMA_NATS_URL": server.url})
    service.start()
    Path(os.environ["STARTED"]).touch()
    time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_workers_and_servers_end_with_a_test_run_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "test_run.py").write_text(TEST)
    started = tmp_path / "started"
    options = ("-p", "tests.conftest", "-n", "2", "--rootdir", tmp_path, "--basetemp", tmp_path / "run")
    with subprocess.Popen(
        [sys.executable, "-m", "pytest", *options, tmp_path / "test_run.py"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT), "STARTED": str(started)},
    ) as run:
        try:
            while not started.exists():
                assert run.poll() is None, run.stdout and run.stdout.read()
                time.sleep(0.05)
            descendants = psutil.Process(run.pid).children(recursive=True)
            assert len(descendants) >= 5  # two workers, a message server, a template and the service
        finally:
            run.kill()
    _ended, alive = psutil.wait_procs(descendants, timeout=60)
    assert not alive
