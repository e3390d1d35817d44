"""Which tests of a run with several workers go to the same worker.

Tests that share a server with a long start form a group, which one worker runs, so that the server starts once. (Groups
of pytest-xdist's own need the fixtures of a test, which its scheduler cannot see with pytest 9.)
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from xdist.scheduler.loadscope import LoadScopeScheduling

GROUPS = {
    "tests/web/": "stack",
    "tests/client/test_client.py": "stack",
    "tests/client/test_commands.py": "stack",
    "tests/client/test_readme.py": "stack",
    "tests/system/test_backup.py": "stack",
    "tests/system/test_hostile_requests.py": "stack",
    "tests/system/test_one_encode.py": "stack",
    "tests/search/test_opensearch.py": "opensearch",
    "tests/system/test_demo.py::test_the_demo_runs_on_an_opensearch_cluster_too": "opensearch",
    "tests/embedder/test_ollama.py": "ollama",
    "tests/interpreter/test_ollama.py": "ollama",
}
"""The group of the tests whose node ids begin so."""
_FIXTURES = {
    "stack": "stack",
    "opensearch_server": "opensearch",
    "opensearch_url": "opensearch",
    "ollama_url": "ollama",
}
"""The group that a test with this fixture must be in."""


class GroupScheduling(LoadScopeScheduling):
    """Gives each idle worker the next group, or the next test without one, in the order of collection."""

    def _split_scope(self, nodeid: str) -> str:
        return _group(nodeid) or nodeid


def in_order(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """The longest first, so that the workers end together: whole installations, groups, everything else.

    Raises pytest.UsageError for a test outside the group of its fixture.
    """
    for item in items:
        for fixture, group in _FIXTURES.items():
            if fixture in getattr(item, "fixturenames", ()) and _group(item.nodeid) != group:
                raise pytest.UsageError(f"{item.nodeid} uses {fixture}: add it to the group {group} in {__name__}")
    return sorted(items, key=_rank)


def _group(nodeid: str) -> str | None:
    return next((group for prefix, group in GROUPS.items() if nodeid.startswith(prefix)), None)


def _rank(item: pytest.Item) -> int:
    if _group(item.nodeid) is not None:
        return 1
    return 0 if item.nodeid.startswith("tests/system/") else 2
