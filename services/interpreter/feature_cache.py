"""The features of runs, cached in memory as long as nothing about them changes."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from services.chassis import logs
from services.chassis.blobs import BlobDamaged, Blobs
from services.chassis.errors import Unavailable
from services.chassis.threads import in_thread
from services.interpreter import statistics_files
from services.interpreter.errors import StatisticsDamaged
from services.interpreter.features import Features
from services.interpreter.runs import Interpretation, Run, not_trained, statistics_missing
from services.interpreter.store import Store
from services.interpreter.upstream import Upstream

MAX_LATENTS = 65_536
"""Latents of all cached runs together: about 6 kB each, and their labels."""
_LOADS = 3
"""Attempts at loading statistics that are replaced meanwhile."""

Rebuild = Callable[[Run, str], Awaitable[None]]
"""Starts the computation of a run's statistics again, given the damaged attempt. Safe to repeat."""
TrainingJob = Callable[[Run], Awaitable[str | None]]
"""The name of the job that trains a run now; None where none does, or that cannot be looked up."""

_log = logs.get(__name__)


class FeatureCache:
    """Runs and their features."""

    def __init__(
        self, *, store: Store, blobs: Blobs, upstream: Upstream, rebuild: Rebuild, training_job: TrainingJob
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._upstream = upstream
        self._rebuild = rebuild
        self._training_job = training_job
        self._cached: OrderedDict[str, Features] = OrderedDict()
        self._loading = asyncio.Lock()

    async def run(self, name: str) -> Run:
        """A run, as the trainer has it; while the trainer is down, as it was last seen. Raises RUN_NOT_FOUND."""
        try:
            return await self._upstream.run(name)
        except Unavailable:
            stored = await asyncio.to_thread(self._store.stored_run, name)
            if stored is None:
                raise
            return stored

    async def trained_run(self, name: str) -> Run:
        """As `run`. Raises RunNotTrained."""
        return await self._require_trained(await self.run(name))

    async def features(self, name: str) -> Features:
        """A run's features. Raises RunNotTrained, StatisticsNotComputed, StatisticsDamaged."""
        run = await self.run(name)
        features = await self.features_of(run)
        if features is None:
            raise statistics_missing(await self._require_trained(run))
        return features

    async def features_of(self, run: Run) -> Features | None:
        """A run's features; None before its statistics are computed. Raises StatisticsDamaged."""
        interpretation = await self.interpretation(run)
        if interpretation.statistics is None:
            return None
        features = self._cached.get(run.uid)
        if features is None or features.interpretation != interpretation:
            async with self._loading:
                features = await self._load(run)
        if features is not None and run.uid in self._cached:
            self._cached.move_to_end(run.uid)
        return features

    async def interpretation(self, run: Run) -> Interpretation:
        """How far a run is interpreted."""
        return await asyncio.to_thread(self._store.interpretation, run)

    def drop(self, uid: str) -> None:
        """Removes a run from the cache."""
        self._cached.pop(uid, None)

    async def _require_trained(self, run: Run) -> Run:
        if not run.trained:
            raise not_trained(run, await self._training_job(run))
        return run

    async def _load(self, run: Run) -> Features | None:
        """The run's features as they are now, cached. Statistics that are replaced while they load are no damage."""
        for attempt in range(1, _LOADS + 1):
            interpretation = await self.interpretation(run)
            if interpretation.statistics is None:
                return None
            cached = self._cached.get(run.uid)
            if cached is not None and cached.interpretation == interpretation:
                return cached
            try:
                features = await in_thread(self._read, interpretation, cached)
            except BlobDamaged as damage:
                newest = await self.interpretation(run)
                if newest.statistics != interpretation.statistics and attempt < _LOADS:
                    continue
                raise await self._damaged(run, interpretation.statistics.attempt, damage) from damage
            self._cached[run.uid] = features
            self._evict()
            return features
        raise AssertionError("the last attempt returns or raises")

    def _read(self, interpretation: Interpretation, cached: Features | None) -> Features:
        """The features of an interpretation; what has not changed since `cached` is taken from there."""
        version, uid = interpretation.statistics, interpretation.run.uid
        assert version is not None, "only computed statistics are read"
        if cached is None or cached.interpretation.statistics != version:
            folder = statistics_files.folder_of(uid, version.attempt)
            statistics = statistics_files.load(self._blobs, folder, version.file_format)
        else:
            statistics = cached.statistics
        if cached is None:
            return Features(interpretation, statistics, self._store.active_labels(uid), self._store.families(uid))
        changed = self._store.active_labels(uid, cached.interpretation.label_revision)
        same_families = cached.interpretation.families_time == interpretation.families_time
        families = cached.families if same_families else self._store.families(uid)
        return Features(interpretation, statistics, {**cached.labels, **changed}, families)

    def _evict(self) -> None:
        """Removes the runs that were not used for longest while they are too large together, but for the newest."""
        while len(self._cached) > 1 and sum(features.count for features in self._cached.values()) > MAX_LATENTS:
            self._cached.popitem(last=False)

    async def _damaged(self, run: Run, attempt: str, damage: BlobDamaged) -> StatisticsDamaged:
        """The error for damaged statistics, after starting their computation."""
        _log.error("statistics are damaged and will be computed again", run=run.name, blob=damage.path)
        try:
            await self._rebuild(run, attempt)
        except Unavailable as error:
            _log.warning("statistics could not be computed yet", run=run.name, error=error.message)
        return StatisticsDamaged(
            f"the statistics of {run.name} are damaged ({damage.path} {damage.problem}) and are being computed again: "
            "try again in a moment",
            metadata={"run": run.name, "blob": damage.path},
        )
