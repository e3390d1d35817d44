"""Folders are read while others delete in them."""

from __future__ import annotations

import shutil
from pathlib import Path

from prisma_common.folders import files_below


def test_folders_that_are_deleted_meanwhile_are_passed_over(tmp_path: Path) -> None:
    for name in ("a", "b/c", "b/d"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "file").touch()
    files = files_below(tmp_path)
    first = next(files)
    for name in ("a", "b"):
        if tmp_path / name not in first.parents:
            shutil.rmtree(tmp_path / name)
    assert all(file.name == "file" for file in files)
    assert list(files_below(tmp_path / "gone")) == []
