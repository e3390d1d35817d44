"""The features of runs, held in memory as long as nothing of them changes."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from services.chassis.blobs import Blobs
from services.chassis.errors import Unavailable
from services.interpreter import archive
from services.interpreter.errors import StatisticsNotComputed
from services.interpreter.features import Features
from services.interpreter.runs import Interpretation, Run, require_trained
from services.interpreter.store import Store
from services.interpreter.upstream import Upstream

_HELD = 4
"""Runs held at once: 100 MB each for 16,384 latents."""


class Views:
    """Runs and their features."""

    def __init__(self, store: Store, blobs: Blobs, upstream: Upstream) -> None:
        self._store = store
        self._blobs = blobs
        self._upstream = upstream
        self._held: OrderedDict[str, Features] = OrderedDict()

    async def run(self, name: str) -> Run:
        """A run, as the trainer has it; while it is away, as it was last heard of. Raises RUN_NOT_FOUND."""
        try:
            return await self._upstream.run(name)
        except Unavailable:
            known = await asyncio.to_thread(self._store.known, name)
            if known is None:
                raise
            return known

    async def trained(self, name: str) -> Run:
        """As `run`. Raises RunNotTrained."""
        return require_trained(await self.run(name))

    async def features(self, name: str) -> Features:
        """A run's features. Raises RunNotTrained, StatisticsNotComputed."""
        run = await self.run(name)
        features = await self.of(run)
        if features is None:
            require_trained(run)
            raise StatisticsNotComputed(
                f"{name} has no statistics yet; they are computed by {name}:computeStatistics", metadata={"run": name}
            )
        return features

    async def of(self, run: Run) -> Features | None:
        """A run's features; None before its statistics are computed."""
        found = await asyncio.to_thread(self._store.interpretation, run)
        if not found.attempt:
            return None
        held = self._held.get(run.uid)
        if held is None or held.interpretation != found:
            held = await asyncio.to_thread(self._load, found, held)
        self._held[run.uid] = held
        self._held.move_to_end(run.uid)
        while len(self._held) > _HELD:
            self._held.popitem(last=False)
        return held

    def drop(self, uid: str) -> None:
        """Forgets a run."""
        self._held.pop(uid, None)

    def _load(self, found: Interpretation, held: Features | None) -> Features:
        if held is not None and held.interpretation.attempt == found.attempt:
            statistics = held.statistics
        else:
            statistics = archive.load(self._blobs, path_of(found.run.uid, found.attempt))
        labels, _ = self._store.active_labels(found.run.uid)
        return Features(found, statistics, labels, self._store.families(found.run.uid))


def path_of(uid: str, attempt: str) -> str:
    """Where an attempt at the statistics of a run is kept."""
    return f"statistics/{uid}/{attempt}"
