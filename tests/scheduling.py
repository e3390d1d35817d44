"""Which tests of a run with several workers go to the same worker.

Tests that share a server with a long start, or results that take long to compute, form a group, which one worker runs,
so that it happens once. (Groups of pytest-xdist's own need the fixtures of a test, which its scheduler cannot see with
pytest 9.)
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from xdist.scheduler.loadscope import LoadScopeScheduling

GROUPS = {
    "tests/web/": "page",
    "tests/client/test_client.py": "stack",
    "tests/client/test_array_files.py": "stack",
    "tests/client/test_commands.py": "stack",
    "tests/client/test_import_v2.py": "stack",
    "tests/gpu/test_import_v2.py": "stack",
    "tests/client/test_exports.py": "stack",
    "tests/client/test_messy_data.py": "stack",
    "tests/client/test_document_table.py": "stack",
    "tests/client/test_examples.py": "stack",
    "tests/client/test_readme.py": "stack",
    "tests/client/test_try.py": "stack",
    "tests/system/test_backup.py": "stack",
    "tests/system/test_hostile_requests.py": "stack",
    "tests/system/test_one_encode.py": "stack",
    "tests/cluster/test_clients.py": "clients",
    "tests/search/test_opensearch": "opensearch",
    "tests/cluster/test_search_replicas.py": "opensearch",
    "tests/cluster/test_chart_run.py": "opensearch",
    "tests/cluster/test_system.py": "opensearch",
    "tests/system/test_demo.py::test_the_demo": "opensearch",
    "tests/system/test_passages.py": "opensearch",
    "tests/embedder/test_ollama.py": "ollama",
    "tests/embedder/test_openai.py": "ollama",
    "tests/interpreter/test_ollama.py": "ollama",
    "tests/interpreter/test_openai.py": "ollama",
    "tests/interpreter/test_labels.py": "labels",
}
"""The group of the tests whose node ids begin so, the longest group first."""
LONG = (
    "tests/system/test_kills.py",
    "tests/system/",
    "tests/trainer/test_service.py",
    "tests/gateway/test_restarts.py",
    "tests/interpreter/test_service.py",
    "tests/interpreter/test_jobs.py",
    "tests/search/test_service.py",
)
"""Node ids of tests of which one takes longer than a worker may wait for the others at the end, the longest first."""
_FIXTURES = {
    "stack": ("page", "stack"),
    "opensearch_server": ("opensearch",),
    "opensearch_url": ("opensearch",),
    "ollama_url": ("ollama",),
}
"""The groups of which a test with this fixture must be in one. The stack is started for each of its two."""


class GroupScheduling(LoadScopeScheduling):
    """Gives each idle worker the next group, or the next test without one, in the order of collection."""

    def _split_scope(self, nodeid: str) -> str:
        return _group(nodeid) or nodeid


def in_order(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """The longest first, so that the workers end together: groups, long tests, everything else.

    Raises pytest.UsageError for a test outside the group of its fixture.
    """
    for item in items:
        for fixture, groups in _FIXTURES.items():
            if fixture in getattr(item, "fixturenames", ()) and _group(item.nodeid) not in groups:
                names = " or ".join(groups)
                raise pytest.UsageError(f"{item.nodeid} uses {fixture}: add it to the group {names} in {__name__}")
    return sorted(items, key=_rank)


def _group(nodeid: str) -> str | None:
    return next((group for prefix, group in GROUPS.items() if nodeid.startswith(prefix)), None)


def _rank(item: pytest.Item) -> tuple[int, int]:
    if (group := _group(item.nodeid)) is not None:
        return 0, list(GROUPS.values()).index(group)
    place = next((place for place, prefix in enumerate(LONG) if item.nodeid.startswith(prefix)), None)
    return (2, 0) if place is None else (1, place)
