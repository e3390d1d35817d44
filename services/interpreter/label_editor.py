"""Labels of features: writing, carrying over, going back, reading."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from prisma_common import names
from services.chassis.errors import InvalidArgument
from services.chassis.events import Events
from services.chassis.idempotency import Call
from services.chassis.table_files import FileOptions, open_writer, write_table
from services.interpreter.errors import RunNotFound, UnusableAnswer
from services.interpreter.feature_cache import FeatureCache
from services.interpreter.feature_tables import DIGEST_CHARACTERS, LABEL_COLUMNS, label_batches
from services.interpreter.features import Features
from services.interpreter.labellers import Labellers, Task
from services.interpreter.labels import Draft, Label, Options
from services.interpreter.runs import Run
from services.interpreter.store import Store
from services.interpreter.upstream import Upstream

BLOCK = 500
"""Labels of one block of a stream."""


@dataclass(frozen=True)
class RunLabel:
    """A label with the run that it belongs to."""

    run: Run
    label: Label


@dataclass(frozen=True)
class LabelBlock:
    """A part of the labels that changed."""

    run: Run
    features: Features | None
    """None before statistics are computed; then there are no labels."""
    labels: Sequence[Label]
    revision: int
    """That is reached when the stream has ended."""
    history: str


class LabelEditor:
    """Writes and reads labels. All methods raise RUN_NOT_FOUND."""

    def __init__(
        self, *, store: Store, cache: FeatureCache, upstream: Upstream, labellers: Labellers, events: Events
    ) -> None:
        self._store = store
        self._cache = cache
        self._upstream = upstream
        self._labellers = labellers
        self._events = events

    async def write(self, run_name: str, index: int, options: Options, call: Call | None) -> RunLabel:
        """Labels one feature by a model and makes that label the active one.

        Raises FeatureNotFound, FeatureDead, StatisticsNotComputed, LabelModelNotFound, UnusableAnswer,
        PROVIDER_UNAVAILABLE, RequestIdReused.
        """
        features = await self._cache.features(run_name)
        features.check_alive(index)
        label = await asyncio.to_thread(self._store.repeated_label, features.run, call)
        if label is not None:
            return RunLabel(features.run, label)
        await self._labellers.check(options.model)
        task = Task(features, [index], options)
        async for drafts in self._labellers.get(options.model).drafts(task):
            if drafts:
                return await self._add(features.run, drafts[0], call)
        raise UnusableAnswer(f"feature {index}: {options.model} wrote no label", metadata={"model": options.model})

    async def add(self, run_name: str, draft: Draft, call: Call | None) -> RunLabel:
        """Adds a label that was written elsewhere. Raises FeatureNotFound, StatisticsNotComputed, RequestIdReused."""
        features = await self._cache.features(run_name)
        features.check(draft.index)
        return await self._add(features.run, draft, call)

    async def carry(self, run_name: str, from_run: str, min_cosine: float, call: Call | None) -> tuple[int, int]:
        """Copies the labels of a similar run; returns how many features matched and how many labels were added.

        Raises RunNotTrained, StatisticsNotComputed, InvalidArgument, RequestIdReused.
        """
        run = (await self._cache.features(run_name)).run
        source = await self._cache.trained_run(from_run)
        if run.uid == source.uid:
            raise InvalidArgument.field("from_run", "expected a different run from the one that gets labels")
        matches = await self._upstream.matches(source, run, min_cosine)
        counts = await asyncio.to_thread(lambda: self._store.carry_labels(source, run, matches, call))
        if counts[1]:
            await self._publish(run)
        return counts

    async def activate(self, run_name: str, index: int, revision: int) -> RunLabel:
        """Makes a label of the history the active one. Raises LabelNotFound."""
        run = await self._cache.run(run_name)
        label = await asyncio.to_thread(self._store.activate, run, index, revision)
        await self._publish(run)
        return RunLabel(run, label)

    async def history(self, run_name: str, index: int, *, before: int | None, limit: int) -> list[RunLabel]:
        """Labels of a feature, the newest first; only those before a revision. Raises FeatureNotFound."""
        features = await self._cache.features(run_name)
        uid = features.run.uid
        features.check(index)
        labels = await asyncio.to_thread(lambda: self._store.label_history(uid, index, before=before, limit=limit))
        return [RunLabel(features.run, label) for label in labels]

    async def changes(self, run_name: str, *, since: int, history: str) -> AsyncIterator[LabelBlock]:
        """The active labels that changed after a revision of a history, in blocks; at least one.

        Raises HistoryChanged.
        """
        run = await self._cache.run(run_name)
        if run.deleted:
            raise RunNotFound(f"{run.name} was deleted", metadata={"run": run.name})
        uid = run.uid
        changes = await asyncio.to_thread(lambda: self._store.label_changes(uid, since=since, history=history))
        features = await self._cache.features_of(run)
        labels = [changes.labels[index] for index in sorted(changes.labels)] if features is not None else []
        for start in range(0, max(1, len(labels)), BLOCK):
            part = labels[start : start + BLOCK]
            yield LabelBlock(run, features, part, revision=changes.revision, history=changes.history)

    async def file(self, run_name: str, options: FileOptions, *, include_history: bool) -> AsyncIterator[bytes]:
        """A table of a run's labels, in parts: the active ones, or all.

        Raises StatisticsNotComputed, InvalidArgument, SERVICE_UNAVAILABLE.
        """
        features = await self._cache.features(run_name)
        uid, digest = features.run.uid, await self._upstream.weights_digest(features.run)
        writer = open_writer(LABEL_COLUMNS, options)

        def labels(first: int, end: int) -> list[Label]:
            return self._store.labels_between(uid, first, end, active_only=not include_history)

        weights = digest and digest[:DIGEST_CHARACTERS]
        async for part in write_table(writer, label_batches(features, labels, weights)):
            yield part

    async def _add(self, run: Run, draft: Draft, call: Call | None) -> RunLabel:
        label = await asyncio.to_thread(self._store.add_label, run, draft, call)
        await self._publish(run)
        return RunLabel(run, label)

    async def _publish(self, run: Run) -> None:
        await self._events.publish(names.LABELS_CHANGED, run.name)
