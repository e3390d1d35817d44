"""Looks after stored files: prepares them at start, deletes orphans."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path

from services.chassis import logs
from services.chassis.blobs import ORPHAN_SECONDS, Blobs
from services.chassis.database import Database
from services.chassis.errors import PrismaError
from services.interpreter import statistics_files
from services.interpreter.store import Store

SWEEP_SECONDS = 3600.0

_log = logs.get(__name__)


class Sweeper:
    """Deletes what nothing needs any more, at start and every hour."""

    def __init__(self, *, store: Store, blobs: Blobs, scratch: Path) -> None:
        self._store = store
        self._blobs = blobs
        self._scratch = scratch

    async def run(self) -> None:
        """Sweeps until cancelled. Errors are logged; the next sweep tries again."""
        while True:
            try:
                await asyncio.to_thread(self.sweep)
            except (OSError, PrismaError) as error:
                _log.warning("sweep failed; the next one tries again", error=str(error))
            await asyncio.sleep(SWEEP_SECONDS)

    def sweep(self) -> None:
        """Deletes answers older than 30 days, and files older than a day that nothing names."""
        self._store.sweep_requests()
        folders = self._store.statistics_folders()
        for path in self._blobs.sweep([statistics_files.folder_of(uid, attempt) for uid, attempt in folders]):
            _log.info("orphan deleted", path=path)
        for leftover in self._scratch.iterdir():
            if leftover.stat().st_mtime < time.time() - ORPHAN_SECONDS:  # a younger one may be in use
                shutil.rmtree(leftover, ignore_errors=True)


def prepare(database: Database, store: Store, blobs: Blobs) -> None:
    """Brings stored data to this version's form, and begins new histories.

    Raises StartRefused, among others for statistics without their database: with an empty one all labels would be lost.
    """
    database.prepare(beside=blobs.folder)
    store.begin_histories()
    folders = store.statistics_folders()
    blobs.adopt_unrecorded(path for uid, attempt in folders for path in statistics_files.paths_of(uid, attempt))
