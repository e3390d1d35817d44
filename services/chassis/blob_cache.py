"""The folder in which a process caches blobs of an object store: bounded, the least recently used leave first.

The time of last use is a file's access time, set here and not by the file system: so it survives restarts, and several
processes can share a folder. A file that leaves stays readable for whoever has opened or mapped it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from prisma_common.folders import files_below
from services.chassis import logs

GRACE_SECONDS = 60.0
"""A file that was used so recently stays: somebody may be about to open it."""
_REFRESH_SECONDS = 1.0
"""A file that is used all the time is marked at most so often."""
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


FindStored = Callable[[Sequence[CachedFile]], Iterable[CachedFile]]
"""Those of which the object store has the content for sure, one by one. Raises Unavailable."""


class BlobCache:
    """Keeps a folder below a number of bytes."""

    def __init__(
        self, folder: Path, max_bytes: int, find_stored: FindStored, *, grace_seconds: float = GRACE_SECONDS
    ) -> None:
        """find_stored: decides what may leave. What the folder holds beside that counts, and stays."""
        self._folder = folder
        self._max_bytes = max_bytes
        self._find_stored = find_stored
        self._grace_seconds = grace_seconds
        self._lock = threading.Lock()
        self._evicting: threading.Thread | None = None
        self._bytes = 0
        """What the folder held when it was last read, and was added since."""
        self._bound = 0.0
        """From how many bytes on the folder is read again."""
        self._read_at = -_RESCAN_SECONDS

    def use(self, file: Path) -> None:
        """Notes that a file is used now: it stays for the grace. Raises FileNotFoundError."""
        status = file.stat()
        if status.st_atime < time.time() - _REFRESH_SECONDS:
            os.utime(file, ns=(time.time_ns(), status.st_mtime_ns))

    def added(self, size: int) -> None:
        """Notes that a file of so many bytes was added; where the folder is full, others are evicted beside the caller.

        That is one eviction at a time; what was added meanwhile is counted by the next one.
        """
        with self._lock:
            self._bytes += size
            is_due = self._bytes > self._bound or time.monotonic() - self._read_at > _RESCAN_SECONDS
            if is_due and (self._evicting is None or not self._evicting.is_alive()):
                self._evicting = threading.Thread(target=self._make_room, name="eviction", daemon=True)
                self._evicting.start()

    def wait(self) -> None:
        """Returns once no eviction is in progress."""
        if (evicting := self._evicting) is not None:
            evicting.join()

    def _make_room(self) -> None:
        with self._lock:
            before = self._bytes
        try:
            left = self._evict()
        except OSError as error:
            _log.warning("cached files cannot be evicted now", error=str(error))
            return
        with self._lock:
            self._bytes += left - before
            is_full = left > self._max_bytes
            self._bound = left + _STEP * self._max_bytes if is_full else self._max_bytes
            self._read_at = time.monotonic()

    def _evict(self) -> int:
        """Deletes what was not used for the longest time, where the folder is full; returns the bytes that are left."""
        files = sorted(self._files(), key=lambda file: file.used)
        total = before = sum(file.size for file in files)
        if total <= self._max_bytes:
            return total
        latest = time.time() - self._grace_seconds
        old = [file for file in files if file.used <= latest]
        try:
            for file in self._find_stored(old):
                if self._delete(file):
                    total -= file.size
                if total <= _TARGET * self._max_bytes:
                    break
        except Exception as error:  # noqa: BLE001 - whatever it is, the next eviction tries again
            _log.warning("cached files cannot be evicted now", error=str(error))
        _log.info("evicted cached files", bytes=before - total, left=total, bound=self._max_bytes)
        return total

    def _delete(self, file: CachedFile) -> bool:
        """Whether it is gone; it stays where it was used meanwhile."""
        target = self._folder / file.path
        try:
            if target.stat().st_atime > file.used:
                return False
            target.unlink()
        except FileNotFoundError:
            pass
        except OSError as error:
            _log.warning("cached file cannot be deleted", file=file.path, error=str(error))
            return False
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
