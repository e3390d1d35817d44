"""What tests of several rooms share."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# Threads that have nothing to do sleep at once, before numpy is loaded and in all processes: on a machine with more
# running processes than cores, threads that wait awake take the time of those that they wait for, ten times over.
os.environ["OMP_WAIT_POLICY"] = "passive"
os.environ["OPENBLAS_THREAD_TIMEOUT"] = "4"  # 2⁴ cycles

from tests import children, planted, scheduling
from tests.cluster_stack import cluster
from tests.nats_server import NatsServer
from tests.ollama_server import ollama_url
from tests.opensearch_server import opensearch_server, opensearch_url
from tests.postgres_server import database_url, postgres_server, postgres_url
from tests.s3_server import s3_server
from tests.stack import stack

settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")  # a busy machine is not a failure


def pytest_configure(config: pytest.Config) -> None:
    """A worker of a killed run ends with it. What the tests start can be interrupted, also where a shell runs the
    tests in the background, with interrupts ignored."""
    if hasattr(config, "workerinput"):
        children.end_with_parent()
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items[:] = scheduling.in_order(items)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> scheduling.GroupScheduling:
    config.option.loadscopereorder = False
    return scheduling.GroupScheduling(config, log)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Where nothing may be skipped (CI), a skip is a failure."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("PRISMA_TEST_NO_SKIP"):
        report.outcome = "failed"
        report.longrepr = f"skipped, and PRISMA_TEST_NO_SKIP is set: {report.longrepr}"


@pytest.fixture(scope="session", autouse=True)
def logs_without_secrets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fails the run where a process of any test has logged what was planted. Set up first, so it ends last."""
    yield
    if logs := planted.logs_below(tmp_path_factory.getbasetemp()):
        planted.assert_absent(logs)


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[NatsServer]:
    """A NATS server of the test's own."""
    server = NatsServer(tmp_path / "nats")
    server.start()
    yield server
    server.stop()


__all__ = [
    "cluster",
    "database_url",
    "ollama_url",
    "opensearch_server",
    "opensearch_url",
    "postgres_server",
    "postgres_url",
    "s3_server",
    "stack",
]
