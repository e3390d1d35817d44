"""A test run that is killed leaves no process behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

RUN = """
import sys, time
from pathlib import Path
from tests.nats_server import NatsServer
from tests.process import ServiceProcess

folder = Path(sys.argv[1])
server = NatsServer(folder / "nats")
server.start()
service = ServiceProcess("embedder", folder, {"PRISMA_NATS_URL": server.url})
service.start()
print("started", flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_servers_end_with_a_test_run_that_is_killed(tmp_path: Path) -> None:
    root = Path(__file__).parents[1]
    with subprocess.Popen(
        [sys.executable, "-c", RUN, tmp_path],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    ) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "started\n"
        servers = psutil.Process(run.pid).children(recursive=True)
        assert len(servers) >= 2
        run.send_signal(signal.SIGKILL)
    _ended, alive = psutil.wait_procs(servers, timeout=30)
    assert not alive
