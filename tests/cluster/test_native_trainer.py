"""The head of docker-compose.yml, followed word for word: a native trainer, everything else in containers.

The host and each container have a network of their own; there are keys and a password for the message server.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.compose import Project
from tests.cluster.helm import ROOT
from tests.cluster.pods import missing_programs

HEAD = (ROOT / "docker-compose.yml").read_text().partition("\nname:")[0]
SECRETS = ("PRISMA_SERVICE_KEY", "PRISMA_NATS_PASSWORD")
JOB = """
import grpc
from prisma.trainer.v1 import trainer_service_pb2 as messages, trainer_service_pb2_grpc as stubs
from prisma_client import Prisma
from tests.cluster.main_job import main_job
import os
with Prisma() as prisma:
    print(main_job(prisma, "native"))
with grpc.insecure_channel("127.0.0.1:50050") as channel:
    metadata = [("authorization", f"Bearer {os.environ['PRISMA_API_KEY']}")]
    runs = stubs.TrainerServiceStub(channel).ListRuns(messages.ListRunsRequest(), metadata=metadata, timeout=60).runs
    print("runs by gRPC", [run.name for run in runs])
"""


def commands(first: str, last: str) -> str:
    """The commands of the head from one that begins so to one that begins so, without what is said of them."""
    lines = [line[4:].partition("   ")[0] for line in HEAD.splitlines() if line.startswith("#   ")]
    beginnings = [next(n for n, line in enumerate(lines) if line.startswith(words)) for words in (first, last)]
    return "\n".join(lines[beginnings[0] : beginnings[1] + 1])


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    if missing := missing_programs():
        pytest.skip(f"containers cannot be started here: needs {', '.join(missing)}")
    project = Project(tmp_path / "prisma")
    try:
        project.start()
        yield project
    finally:
        project.stop()


def prepare(project: Project) -> str:
    """What the head says to do once; returns the API key."""
    project.on_host(commands("cp ", "cp "))
    environment = project.folder / ".env"
    text = environment.read_text()
    for name in SECRETS:
        text = text.replace(f"{name}=\n", f"{name}={project.on_host('openssl rand -hex 32')}")
    address = re.search(r"^#   (PRISMA_TRAINER_ADDRESS=.*)$", HEAD, re.MULTILINE)
    assert address is not None
    environment.write_text(f"{text}{address[1]}\n")
    return project.on_host(f"umask 077\n{commands('key=', 'echo')}").strip()


@pytest.mark.timeout(300)
def test_the_rest_in_containers_and_a_native_trainer_name_features(project: Project) -> None:
    key = prepare(project)
    refused = project.start_service("search")
    assert refused.process.wait(60) != 0
    assert "/run/secrets/api_keys (PRISMA_API_KEYS_FILE) cannot be used: Permission denied" in refused.log
    assert "chmod 0644" in refused.log and "Traceback" not in refused.log
    project.on_host(commands("chmod", "chmod"))

    begin = time.monotonic()
    log = project.folder / "trainer.log"
    project.start_on_host(commands("set -a", "PRISMA_TRAINER_LISTEN"), log)
    project.up()
    print(f"\nall containers are healthy after {time.monotonic() - begin:.1f} s")
    table = project.on_host(
        f"cd {ROOT} && python - <<'END'\n{JOB}\nEND", PRISMA_API_KEY=key, PYTHONPATH=f"{ROOT}:{ROOT / 'protos/python'}"
    )
    print(table, f"done after {time.monotonic() - begin:.1f} s")
    assert re.search(r"^\d+ [\d.]+ \w+", table, re.MULTILINE), "no feature has a name"
    assert "runs by gRPC ['runs/native']" in table
    assert (project.folder / "home/.local/share/prisma/trainer/trainer.db").is_file(), "another trainer has done it"
