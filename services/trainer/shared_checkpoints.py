"""Checkpoints of trainings in the object store, so that a replica of the trainer goes on where another one ended."""

from __future__ import annotations

import asyncio
from pathlib import Path, PurePosixPath

from services.chassis import logs
from services.chassis.blobs import Blobs
from services.chassis.errors import StorageFull
from services.chassis.object_store import StoreUnavailable
from services.chassis.threads import to_the_end
from services.trainer.runs import Run
from services.trainer.sae import checkpoint

_log = logs.get(__name__)


class SharedCheckpoints:
    """The checkpoints of an attempt in the object store, where a replica of the trainer finds them."""

    def __init__(self, blobs: Blobs, attempt: str) -> None:
        self._blobs = blobs
        self._attempt = attempt
        self._written: dict[str, int] = {}
        self._is_stale = False
        self._upload: asyncio.Task[None] | None = None

    def share_soon(self) -> None:
        """Uploads what was written since, beside what the caller does."""
        self._is_stale = True
        if self._upload is None or self._upload.done():
            self._upload = asyncio.create_task(self._upload_until_fresh())

    async def end(self, *, share: bool) -> None:
        """Waits until nothing is uploaded any more. share: whether to upload first what was written since."""
        self._is_stale = share
        if share:
            self.share_soon()
        if self._upload is not None:
            await to_the_end(self._upload)

    async def _upload_until_fresh(self) -> None:
        while self._is_stale:
            self._is_stale = False
            await asyncio.to_thread(self.share)

    def share(self) -> None:
        """Uploads what was written since. Without the store, or with a full one, the training goes on."""
        if not self._blobs.shared:
            return
        for file in (self._blobs.folder / self._attempt).glob(checkpoint.PATTERN):
            written = file.stat().st_mtime_ns
            if self._written.get(file.name) == written:
                continue
            try:
                self._blobs.share(f"{self._attempt}/{file.name}")
            except (StoreUnavailable, StorageFull) as error:
                _log.warning("checkpoint is not shared", attempt=self._attempt, error=error.message)
                return
            self._written[file.name] = written


def last_checkpoints(blobs: Blobs, run: Run) -> list[Path | None]:
    """The newest checkpoint of the run, then of each sibling; each replaces the one before completely."""
    if run.config is None:
        return []
    files = blobs.below(run.folder)
    newest = {PurePosixPath(file.path).name: file.path for file in sorted(files, key=lambda file: file.modified)}
    paths = [newest.get(checkpoint.name(sibling)) for sibling in range(1 + run.config.siblings)]
    return [None if path is None else blobs.local(path) for path in paths]
