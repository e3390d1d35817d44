"""Deletes what nothing needs any more: runs of deleted datasets, files of deleted runs, orphans, old answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from prisma_common import names as resource_names
from services.chassis.blobs import Blobs
from services.chassis.events import Events
from services.chassis.jobs import Jobs
from services.trainer.store import Store
from services.trainer.upstream import Embedder
from services.trainer.vector_cache import VectorCache

ORPHANS_EVERY_SECONDS = 3600.0


class Housekeeping:
    """Deletion of data. Only tombstones cause it, never the absence of an answer."""

    def __init__(
        self,
        *,
        store: Store,
        blobs: Blobs,
        cache: VectorCache,
        embedder: Embedder,
        events: Events,
        jobs: Jobs,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._cache = cache
        self._embedder = embedder
        self._events = events
        self._jobs = jobs
        self._clock = clock
        self._next_orphans = clock()

    async def follow_deletions(self, _names: frozenset[str] | None) -> None:
        """Deletes the runs of deleted datasets, and files that nothing needs."""
        deleted_datasets = await self._embedder.deleted_datasets()
        for run in await asyncio.to_thread(self._store.living_runs):
            if run.source.dataset_uid in deleted_datasets:
                await asyncio.to_thread(self._store.delete, run.id)
                await self._events.publish(resource_names.RUN_DELETED, run.name)
                await self._jobs.cancel_for(run.name)
        await asyncio.to_thread(self.delete_files)

    def delete_files(self) -> None:
        """Deletes the files of deleted runs, and once an hour orphans."""
        for folder in self._folders_of_deleted_runs():
            self._blobs.delete(folder)
        self._cache.sweep(self._store.fingerprints())
        if self._clock() >= self._next_orphans:
            self._next_orphans = self._clock() + ORPHANS_EVERY_SECONDS
            self._blobs.sweep(self._store.named_blobs())
            self._store.sweep_answers()

    def _folders_of_deleted_runs(self) -> list[str]:
        recorded, deleted = self._store.recorded_folders(), self._store.deleted_folders()
        return [folder for folder in deleted if folder in recorded or (self._blobs.folder / folder).exists()]
