"""`prisma doctor --scrub`: compares every stored file of the local stack with the size and digest recorded for it."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

SERVICES = ("embedder", "trainer", "interpreter")
REMOTE_SETTINGS = ("PRISMA_DATABASE_URL", "PRISMA_BLOB_URL")
_CHUNK_BYTES = 1 << 20


@dataclass
class Scrub:
    """The result for one service. damaged: pairs of a file's path and what is wrong with it."""

    service: str
    checked: int = 0
    damaged: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])


def remote_setting() -> str | None:
    """Returns the setting by which digests or files are not on this machine, or None."""
    return next((name for name in REMOTE_SETTINGS if os.environ.get(name)), None)


def scrub(data_dir: Path) -> Iterator[Scrub]:
    """Reads all files that the services' databases name. Works on a running stack, too.

    A file whose record disappears meanwhile was deleted, and counts as checked.
    """
    for service in SERVICES:
        folder = data_dir / service
        database = folder / f"{service}.db"
        if database.exists():
            yield _scrub_service(service, folder, database)


def _scrub_service(service: str, folder: Path, database: Path) -> Scrub:
    result = Scrub(service)
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        table = f"{service}_blobs"
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone():
            return result
        records = connection.execute(f"SELECT path, size, digest FROM {table} ORDER BY path").fetchall()  # noqa: S608 - a constant
        for path, size, digest in records:
            result.checked += 1
            problem = _problem(folder / "blobs" / path, size, digest)
            if problem and connection.execute(f"SELECT 1 FROM {table} WHERE path = ?", (path,)).fetchone():  # noqa: S608
                result.damaged.append((path, problem))
    return result


def _problem(file: Path, size: int, digest: str) -> str | None:
    try:
        with file.open("rb") as stream:
            length = stream.seek(0, os.SEEK_END)
            if length != size:
                return f"has {length:,} bytes instead of {size:,}"
            stream.seek(0)
            content = hashlib.sha256()
            while chunk := stream.read(_CHUNK_BYTES):
                content.update(chunk)
    except FileNotFoundError:
        return "is missing"
    return None if content.hexdigest() == digest else "has changed"
