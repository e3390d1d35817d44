"""Files that are complete or absent."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def replacing(path: str | Path) -> Generator[IO[bytes]]:
    """A file that takes its name once it is complete: what fails leaves no part of it, and an older file as it was.

    Raises OSError.
    """
    target = Path(path)
    partial = target.with_name(f"{target.name}.part")
    try:
        with partial.open("wb+") as file:
            yield file
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
