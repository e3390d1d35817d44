"""Follows the trainer: statistics of new codes, and nothing of deleted runs."""

from __future__ import annotations

import asyncio

from services.chassis.blobs import Blobs
from services.chassis.errors import PrismaError
from services.interpreter import statistics_files
from services.interpreter.feature_cache import FeatureCache
from services.interpreter.job_starter import JobStarter
from services.interpreter.runs import Run, StatisticsVersion
from services.interpreter.store import Store
from services.interpreter.upstream import Upstream


class RunFollower:
    """Follows the runs of the trainer."""

    def __init__(
        self, *, store: Store, blobs: Blobs, upstream: Upstream, cache: FeatureCache, starter: JobStarter
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._upstream = upstream
        self._cache = cache
        self._starter = starter

    async def catch_up(self, run_names: frozenset[str] | None) -> None:
        """Forgets deleted runs (by their tombstones, never by absence), and has new codes counted; None for all runs.

        Raises PrismaError.
        """
        for run in await self._runs(run_names):
            if run.deleted:
                await self._forget(run)
            elif run.trained:
                await self._update(run)

    async def _runs(self, run_names: frozenset[str] | None) -> list[Run]:
        """The named runs; all runs if one of them was deleted, as only the whole list has tombstones."""
        if run_names is None:
            return await self._upstream.runs()
        try:
            return [await self._upstream.run(name) for name in sorted(run_names)]
        except PrismaError as error:
            if error.reason != "RUN_NOT_FOUND":
                raise
            return await self._upstream.runs()

    async def _forget(self, run: Run) -> None:
        has_files = await asyncio.to_thread(self._store.forget, run)
        self._cache.drop(run.uid)
        if has_files:
            await asyncio.to_thread(self._blobs.delete, statistics_files.run_folder(run.uid))

    async def _update(self, run: Run) -> None:
        """Starts the computation of a run's statistics where there are no intact ones of its current codes."""
        version = (await self._cache.interpretation(run)).statistics
        if version is None:
            await self._starter.compute_statistics(run)
        elif (
            self._is_damaged(run, version)
            or version.file_format < statistics_files.FORMAT
            or version.revision > run.revision
            or not await self._continues(run, version)
        ):
            await self._starter.recompute_statistics(run, version.attempt)
        elif version.revision < run.revision:
            await self._starter.compute_statistics(run)

    def _is_damaged(self, run: Run, version: StatisticsVersion) -> bool:
        folder = statistics_files.folder_of(run.uid, version.attempt)
        return any(damage.path.startswith(f"{folder}/") for damage in self._blobs.damages)

    async def _continues(self, run: Run, version: StatisticsVersion) -> bool:
        """Whether the codes that statistics were computed from are still the run's: false after a restore."""
        if run.history is None or version.history == run.history:
            return True
        if version.history is not None and not await self._upstream.history_continues(
            run, history=version.history, revision=version.revision
        ):
            return False
        await asyncio.to_thread(self._store.confirm_history, run)
        return True
