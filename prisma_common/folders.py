"""Folders that others change while they are read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def files_below(folder: Path) -> Iterator[Path]:
    """The files of a folder and of all below it; folders that are deleted meanwhile are passed over."""
    for parent, _, names in os.walk(folder):  # unlike Path.rglob, it goes on where a folder has gone
        for name in names:
            yield Path(parent, name)
