"""A service's data folder: one process at a time, and nothing left of killed processes."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

from prisma_common.folders import files_below
from services.chassis import logs
from services.chassis.startup import StartRefused

LOCK = ".lock"
"""Locked by the process that uses the folder; holds its process id."""
SCRATCH = "scratch"
"""The folder of files that mean nothing after the process that wrote them has ended."""
LEFTOVER_SECONDS = 24 * 3600
"""Where several processes share a folder, younger files may belong to another one."""
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}|import-\w+")
"""What `files.whole` writes before it renames it, and uploads that are being received."""

_log = logs.get(__name__)


@contextmanager
def opened(folder: Path, service: str, *, shared: bool) -> Generator[None]:
    """Uses a data folder for as long as the process runs, after deleting what killed processes have left.

    shared: several processes may use it at once, as they keep nothing in it but caches. Raises StartRefused.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if shared:
        delete_leftovers(folder, older_than_seconds=LEFTOVER_SECONDS)
        yield
        return
    with (folder / LOCK).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise StartRefused(
                f"another {service} (process {lock.read() or 'unknown'}) uses {folder}: stop it, or set "
                "PRISMA_DATA_DIR to another folder. Several processes can share their data with PostgreSQL "
                "(PRISMA_DATABASE_URL) and an object store (PRISMA_BLOB_URL)."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        delete_leftovers(folder, older_than_seconds=0)
        yield


def delete_leftovers(folder: Path, *, older_than_seconds: float) -> list[Path]:
    """Deletes scratch files, unfinished uploads and temporary files of killed processes; returns their paths."""
    limit = time.time() - older_than_seconds
    leftovers = [path for path in _leftovers(folder) if path.stat().st_mtime <= limit]
    for path in leftovers:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    if leftovers:
        _log.info("deleted what a killed process has left", count=len(leftovers), folder=str(folder))
    return leftovers


def _leftovers(folder: Path) -> Iterator[Path]:
    scratch = folder / SCRATCH
    if scratch.is_dir():
        yield from scratch.iterdir()
    for path in files_below(folder):
        if scratch not in path.parents and _TEMPORARY.fullmatch(path.name):
            yield path


def files_in(folder: Path) -> Iterator[Path]:
    """The files of a folder and of all below it, without temporary ones."""
    return (path for path in files_below(folder) if not _TEMPORARY.fullmatch(path.name))
