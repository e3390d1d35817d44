"""Notices damaged codes and documents that were embedded or deleted after a training, and starts jobs that encode."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import aclosing
from dataclasses import replace
from typing import TypeAlias

from prisma.trainer.v1.trainer_service_pb2 import EncodeDatasetRequest
from prisma_common import names as resource_names
from services.chassis.blobs import Blobs
from services.chassis.errors import Code, PrismaError
from services.chassis.jobs import Jobs
from services.trainer.runs import Coverage, Dataset, DatasetChanges, Run
from services.trainer.settings import SERVICE
from services.trainer.store import Store
from services.trainer.upstream import HISTORY_CHANGED, Embedder

Comparisons: TypeAlias = dict[tuple[tuple[int, int], ...], DatasetChanges]
"""How a dataset has changed, by the ranges of rows that runs were trained on: the runs of a sweep share them."""


class DatasetFollower:
    """Compares what runs have codes of with what their datasets have."""

    def __init__(self, *, store: Store, blobs: Blobs, embedder: Embedder, jobs: Jobs) -> None:
        self._store = store
        self._blobs = blobs
        self._embedder = embedder
        self._jobs = jobs

    async def follow(self, names: frozenset[str] | None) -> None:
        """Starts a job for each trained run whose dataset has changed or whose codes are damaged. Raises Unavailable.

        names: datasets and runs to look at; None for all.
        """
        damaged = {damage.path for damage in self._blobs.damages}
        if damaged:
            await asyncio.to_thread(self._store.forget_damaged_codes, damaged)
        by_dataset: dict[str, list[Run]] = defaultdict(list)
        for run in await asyncio.to_thread(self._store.living_runs):
            if run.trained and (names is None or names & {run.name, run.source.dataset}):
                by_dataset[run.source.dataset].append(run)
        for name, runs in by_dataset.items():
            try:
                dataset = await self._embedder.dataset(name)
            except PrismaError as error:
                if error.code == Code.NOT_FOUND:
                    continue  # its tombstone deletes the runs
                raise
            comparisons: Comparisons = {}
            for run in runs:
                can_encode = run.weights not in damaged
                if can_encode and run.source.dataset_uid == dataset.source.dataset_uid:
                    await self._follow(run, dataset, comparisons)

    async def _follow(self, run: Run, dataset: Dataset, comparisons: Comparisons) -> None:
        if run.embedded_count != dataset.embedded_count:
            await asyncio.to_thread(self._store.note_embedded, run, dataset.embedded_count)
        if (run.coded_revision, run.coded_history) == (dataset.revision, dataset.history):
            await self._note_changes(run, dataset, comparisons)
            return
        if dataset.pending_count and await self._jobs.active_for(dataset.source.dataset, resource_names.EMBED_DATASET):
            return  # all new documents are encoded together, once they are embedded
        await self._note_changes(run, dataset, comparisons)
        unchanged_until = await self._unchanged_until(run)
        if unchanged_until is not None:
            await asyncio.to_thread(self._store.note_coded, run, unchanged_until)
        elif await self._jobs.active_for(run.name, resource_names.ENCODE_DATASET) is None:
            await self._jobs.submit(
                SERVICE,
                resource_names.ENCODE_DATASET,
                EncodeDatasetRequest(name=run.name),
                resources=[run.name, run.source.dataset],
            )

    async def _note_changes(self, run: Run, dataset: Dataset, comparisons: Comparisons) -> None:
        """Notes how the dataset has changed since the training, unless that is noted for its present revision.

        Its fingerprint alone does not say it: a document that cannot be embedded was added before, and is not then.

        comparisons: those of other runs of the dataset; this run's is added.
        """
        noted = run.dataset_changes
        if (
            run.selection is None
            or not dataset.fingerprint
            or (noted is not None and (noted.revision, noted.history) == (dataset.revision, dataset.history))
        ):
            return
        if run.selection.fingerprint == dataset.fingerprint:
            changes = DatasetChanges(dataset.fingerprint)
        else:
            rows = tuple((start, end) for start, end in run.selection.ranges)
            if rows not in comparisons:
                comparisons[rows] = await self._embedder.compare(run.source, run.selection)
            changes = comparisons[rows]
        noted = replace(changes, revision=dataset.revision, history=dataset.history)
        await asyncio.to_thread(self._store.note_changes, run, noted)

    async def _unchanged_until(self, run: Run) -> Coverage | None:
        """Until which state of the dataset the run's codes are complete; None if vectors have changed."""
        if run.coded_revision is None or run.coded_history is None:
            return None
        changes = self._embedder.changes(run.source, history=run.coded_history, since_revision=run.coded_revision)
        coverage: Coverage | None = None
        try:
            async with aclosing(changes) as blocks:
                async for block in blocks:
                    if len(block.rows) or block.deleted_rows:
                        return None
                    coverage = Coverage(revision=block.revision, history=block.history)
        except PrismaError as error:
            if error.reason != HISTORY_CHANGED:
                raise
        return coverage
