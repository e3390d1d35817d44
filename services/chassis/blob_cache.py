"""The folder in which a process caches blobs of an object store: bounded, the least recently used leave first.

The time of last use is a file's access time, set here and not by the file system: so it survives restarts, and several
processes can share a folder. A file that leaves stays readable for whoever has opened or mapped it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from prisma_common.folders import files_below
from services.chassis import logs
from services.chassis.errors import Unavailable

GRACE_SECONDS = 60.0
"""A file that was used so recently stays: somebody may be about to open it."""
_TARGET = 0.9
"""Share of the bound that is in use after an eviction, so that not every new file causes one."""
_STEP = 0.05
"""Share of the bound by which the folder grows until it is read again where too little could leave."""
_RESCAN_SECONDS = 600.0
"""Other processes may add files too."""

_log = logs.get(__name__)


@dataclass(frozen=True)
class CachedFile:
    """A file of the cache."""

    path: str
    """Relative to the folder, with `/`."""
    size: int
    used: float
    """Seconds since 1970."""


IsStored = Callable[[CachedFile], bool]
"""Whether the object store has the content of a file for sure. Raises Unavailable."""


class BlobCache:
    """Keeps a folder below a number of bytes."""

    def __init__(
        self, folder: Path, max_bytes: int, is_stored: IsStored, *, grace_seconds: float = GRACE_SECONDS
    ) -> None:
        """is_stored: decides what may leave. What the folder holds beside that counts, and stays."""
        self._folder = folder
        self._max_bytes = max_bytes
        self._is_stored = is_stored
        self._grace_seconds = grace_seconds
        self._evicting = threading.Lock()
        self._bytes = 0
        """What the folder held when it was last read, and was added since."""
        self._bound = 0.0
        """From how many bytes on the folder is read again."""
        self._read_at = -_RESCAN_SECONDS

    def use(self, file: Path) -> None:
        """Notes that a file is used now. Raises FileNotFoundError."""
        status = file.stat()
        if status.st_atime < time.time() - self._grace_seconds / 2:
            os.utime(file, ns=(time.time_ns(), status.st_mtime_ns))

    def added(self, size: int) -> None:
        """Notes that a file of so many bytes was added, and evicts others where the folder is full."""
        if not self._evicting.acquire(blocking=False):
            return  # the eviction in progress comes before its thread returns; the next one counts this file
        try:
            self._bytes += size
            if self._bytes > self._bound or time.monotonic() - self._read_at > _RESCAN_SECONDS:
                self._bytes = self._evict()
                is_full = self._bytes > self._max_bytes
                self._bound = self._bytes + _STEP * self._max_bytes if is_full else self._max_bytes
                self._read_at = time.monotonic()
        finally:
            self._evicting.release()

    def _evict(self) -> int:
        """Deletes what was not used for the longest time, where the folder is full; returns the bytes that are left."""
        files = sorted(self._files(), key=lambda file: file.used)
        total = before = sum(file.size for file in files)
        if total <= self._max_bytes:
            return total
        latest = time.time() - self._grace_seconds
        try:
            for file in files:
                if total <= _TARGET * self._max_bytes or file.used > latest:
                    break
                if self._is_stored(file) and self._delete(file):
                    total -= file.size
        except Unavailable as error:
            _log.warning("cached files cannot be evicted now", error=error.message)
        _log.info("evicted cached files", bytes=before - total, left=total, bound=self._max_bytes)
        return total

    def _delete(self, file: CachedFile) -> bool:
        """Whether it is gone; it stays where it was used meanwhile."""
        target = self._folder / file.path
        with suppress(FileNotFoundError):
            if target.stat().st_atime > file.used:
                return False
            target.unlink()
        return True

    def _files(self) -> list[CachedFile]:
        files: list[CachedFile] = []
        for file in files_below(self._folder):
            try:
                status = file.stat()
            except FileNotFoundError:
                continue
            path = file.relative_to(self._folder).as_posix()
            files.append(CachedFile(path, status.st_size, max(status.st_atime, status.st_mtime)))
        return files
