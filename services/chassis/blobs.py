"""Immutable blobs: vectors, codes, weights. Local files by default, any object store of obstore by URL.

A blob is written under a temporary name, fsynced and renamed: it is there whole or not at all. It counts as existing
once its SQL row does; what no row names is an orphan, and is swept after a day.
"""

from __future__ import annotations

import errno
import shutil
import time
from collections.abc import Collection, Iterable
from pathlib import Path

import obstore
from obstore.store import ObjectStore, from_url

from services.chassis.errors import StorageFull
from services.chassis.files import whole

ORPHAN_SECONDS = 24 * 3600


class Blobs:
    """The blobs of one service. Paths are relative, with `/`."""

    def __init__(self, folder: Path, url: str | None = None) -> None:
        """Blobs in `folder`; with `url`, in that object store, and `folder` is the cache they are mapped from."""
        self._folder = folder
        self._store: ObjectStore | None = from_url(url) if url else None
        folder.mkdir(parents=True, exist_ok=True)

    def put(self, path: str, chunks: Iterable[bytes | memoryview]) -> Path:
        """Writes a blob and returns where it can be mapped from. Raises StorageFull when the disk is."""
        target = self._folder / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with whole(target) as file:
                for chunk in chunks:
                    file.write(chunk)
                if self._store is not None:
                    file.flush()
                    obstore.put(self._store, path, Path(file.name))
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StorageFull(f"no space left for {path}: free some on {self._folder}, then retry") from error
            raise
        return target

    def local(self, path: str) -> Path:
        """A file with the blob's bytes, to be mapped. Raises FileNotFoundError."""
        target = self._folder / path
        if not target.exists():
            if self._store is None:
                raise FileNotFoundError(f"no blob {path}")
            self._fetch(path, target)
        return target

    def delete(self, prefix: str) -> None:
        """Deletes the blob at `prefix`, or all below it. What is not there is no error."""
        target = self._folder / prefix
        if target.is_dir():
            shutil.rmtree(target, ignore_errors=True)
        else:
            target.unlink(missing_ok=True)
        if self._store is not None:
            for batch in obstore.list(self._store, prefix=prefix):
                obstore.delete(self._store, [item["path"] for item in batch])

    def sweep(self, known: Collection[str], older_than_seconds: float = ORPHAN_SECONDS) -> list[str]:
        """Deletes files that are not `known` and are older than a day; returns their paths."""
        limit = time.time() - older_than_seconds
        orphans = [
            path
            for file in self._folder.rglob("*")
            if file.is_file() and file.stat().st_mtime < limit
            if (path := file.relative_to(self._folder).as_posix()) not in known
        ]
        for path in orphans:
            self.delete(path)
        return orphans

    def _fetch(self, path: str, target: Path) -> None:
        assert self._store is not None
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole(target) as file:
            for chunk in obstore.get(self._store, path).stream():
                file.write(chunk)
