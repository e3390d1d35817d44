"""The work of labelling jobs: labels of models are divided among all interpreters that share their data."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import replace

from prisma.interpreter.v1.interpreter_service_pb2 import LabelFeaturesRequest
from prisma_common.names import LABEL_FEATURES_PART
from services.chassis.job_context import JobContext
from services.chassis.job_partitions import Partitions, divided
from services.interpreter import requests
from services.interpreter.features import Features, Order
from services.interpreter.labellers import Labellers, Task
from services.interpreter.labels import KEYWORDS
from services.interpreter.store import Store

UNIT = "features"
_MOST_IMPORTANT_FIRST = Order("max_activation", descending=True)


class Labelling:
    """Labels features."""

    def __init__(self, store: Store, labellers: Labellers, *, part_size: int | None) -> None:
        """part_size: the fewest features of a part; None where no other process can do a part."""
        self._store = store
        self._labellers = labellers
        self._part_size = part_size

    async def run(self, request: LabelFeaturesRequest, features: Features, context: JobContext) -> None:
        """Labels the features that a request selects, batch by batch. What a batch labelled stays.

        Keywords look at the labels that others got before, so they label in one process, and the same each time.
        """
        options = requests.options(request.options)
        await self._labellers.check(options.model)
        indices = await asyncio.to_thread(self._remaining, request, features, context.job.name)
        if not context.record.partitions and self._part_size is not None and options.model != KEYWORDS:
            ranges = divided(sorted(indices), self._part_size)
            if len(ranges) > 1:
                await Partitions(context, kind=LABEL_FEATURES_PART, request=request, unit=UNIT).divide(ranges)
        if context.record.partitions:
            await self._run_parts(request, features, context)
        else:
            await self._label(request, features, indices, context, job=context.job.name)

    async def run_part(self, request: LabelFeaturesRequest, features: Features, context: JobContext) -> None:
        """Labels those of the features of a job that are in the part's range."""
        job = context.record.partition_of
        covered = range(context.partition.start, context.partition.stop)
        remaining = await asyncio.to_thread(self._remaining, request, features, job)
        await self._label(request, features, [index for index in remaining if index in covered], context, job=job)

    async def _run_parts(self, request: LabelFeaturesRequest, features: Features, context: JobContext) -> None:
        partitions = Partitions(context, kind=LABEL_FEATURES_PART, request=request, unit=UNIT)
        await partitions.run(f"labelling with {requests.options(request.options).model}")
        total = sum(part.size for part in context.record.partitions)
        remaining = await asyncio.to_thread(self._remaining, request, features, context.job.name)
        _log_missing(context, len(remaining), total)

    async def _label(
        self,
        request: LabelFeaturesRequest,
        features: Features,
        indices: Sequence[int],
        context: JobContext,
        *,
        job: str,
    ) -> None:
        """Labels features. job: whose labels they are."""
        options = requests.options(request.options)
        await context.progress(0, len(indices), UNIT, options.model)
        done = labelled = 0
        batches = self._labellers.get(options.model).drafts(Task(features, indices, options))
        async with contextlib.aclosing(batches):
            async for batch in batches:
                drafts = [replace(draft, job=job) for draft in batch]
                await context.checkpoint()
                await asyncio.to_thread(self._store.add_labels, features.run, drafts)
                done, labelled = done + max(1, len(drafts)), labelled + len(drafts)
                await context.progress(done, len(indices), UNIT, drafts[-1].text if drafts else options.model)
        _log_missing(context, len(indices) - labelled, len(indices))

    def _remaining(self, request: LabelFeaturesRequest, features: Features, job: str) -> list[int]:
        """The live features to label, those with the highest maximum first, without those that this job has labelled.

        `limit` counts those that it has labelled already.
        """
        by_this_job = self._store.labelled_by(features.run.uid, job)
        requested = set(request.indices)
        indices = [
            index
            for index in features.select(order=_MOST_IMPORTANT_FIRST).tolist()
            if features.statistics.active_count[index]
            and (not requested or index in requested)
            and (request.relabel or index in by_this_job or index not in features.labels)
        ]
        return [index for index in indices[: request.limit or None] if index not in by_this_job]


def _log_missing(context: JobContext, count: int, total: int) -> None:
    if count:
        context.log(f"{count} of {total} features without a usable answer")
