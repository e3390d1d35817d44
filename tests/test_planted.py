"""A test run whose processes log a planted secret fails."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEST = """
from tests import planted

def test_that_passes(tmp_path):
    (tmp_path / {name!r}).write_text(f"before {{planted.QUERY[:20]}} after")
"""


@pytest.mark.parametrize(("name", "status"), [("search.log", 1), ("log", 1), ("catalog", 0)])
def test_a_run_fails_where_a_log_holds_a_part_of_a_secret(name: str, status: int) -> None:
    # not in pytest's folder, where this run would find the secret too
    with tempfile.TemporaryDirectory() as folder:
        test = Path(folder) / "test_run.py"
        test.write_text(TEST.format(name=name))
        options = ("-p", "tests.conftest", "--rootdir", folder, "--basetemp", f"{folder}/run")
        run = subprocess.run(
            [sys.executable, "-m", "pytest", *options, test],
            cwd=folder,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    assert run.returncode == status, run.stdout + run.stderr
    assert ("planted query of" in run.stdout) == bool(status)
