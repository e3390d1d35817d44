"""What tests of several rooms share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.nats_server import NatsServer
from tests.ollama_server import ollama_url
from tests.opensearch_server import opensearch_server, opensearch_url
from tests.postgres_server import database_url, postgres_server, postgres_url
from tests.stack import stack


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Where nothing may be skipped (CI), a skip is a failure."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("PRISMA_TEST_NO_SKIP"):
        report.outcome = "failed"
        report.longrepr = f"skipped, and PRISMA_TEST_NO_SKIP is set: {report.longrepr}"


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[NatsServer]:
    """A NATS server of the test's own."""
    server = NatsServer(tmp_path / "nats")
    server.start()
    yield server
    server.stop()


__all__ = [
    "database_url",
    "ollama_url",
    "opensearch_server",
    "opensearch_url",
    "postgres_server",
    "postgres_url",
    "stack",
]
