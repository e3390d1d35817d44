"""Files that exist whole or not at all, whatever dies in between; how a full disk and a changed file are recognised."""

from __future__ import annotations

import errno
import os
import re
import uuid
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from services.chassis.errors import StorageFull

_FULL_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FULL_MESSAGES = re.compile(
    r"no space left|disk quota exceeded|database or disk is full|\d+ requested and \d+ written|could not extend file",
    re.IGNORECASE,
)
"""What libraries say that lose the errno: obstore, SQLite, numpy, PostgreSQL."""


@contextmanager
def whole(target: Path) -> Generator[IO[bytes]]:
    """A file to write to under a temporary name; at the end it is fsynced and renamed. An error leaves nothing.

    Raises StorageFull when the disk is full.
    """
    temporary = target.parent / f".{target.name}.{uuid.uuid4().hex}"
    try:
        with reporting_full_disk(target.parent), temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
        sync_folder(target.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_full_disk(error: BaseException) -> bool:
    """Whether an error, or one that it was raised from, says that a disk or a quota is full."""
    return any(_says_full(cause) for cause in _causes(error))


@contextmanager
def reporting_full_disk(folder: Path) -> Generator[None]:
    """Turns any library's error about a full disk into StorageFull; other errors pass unchanged."""
    try:
        yield
    except StorageFull:
        raise
    except Exception as error:
        if is_full_disk(error):
            raise StorageFull(f"no space left in {folder}: free some space, then retry") from error
        raise


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _says_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in _FULL_ERRNOS:
        return True
    module = type(error).__module__.partition(".")[0]
    library_error = isinstance(error, OSError) or module in {"obstore", "sqlite3", "sqlalchemy", "psycopg"}
    return library_error and _FULL_MESSAGES.search(str(error)) is not None


def state_of(file: Path) -> tuple[int, int, int] | None:
    """What changes when a file does; None for a file that cannot be looked at."""
    try:
        stat = file.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
