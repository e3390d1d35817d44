"""The work of labelling jobs: labels of models are divided among all interpreters that share their data."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import replace

from google.protobuf.struct_pb2 import Struct

from prisma.interpreter.v1.interpreter_service_pb2 import LabelFeaturesRequest
from prisma_common.names import LABEL_FEATURES_PART
from services.chassis.job_context import JobContext
from services.chassis.job_partitions import Partitions, divided
from services.interpreter import requests
from services.interpreter.errors import UnusableAnswer
from services.interpreter.features import Features, Order
from services.interpreter.labellers import Labellers, Task
from services.interpreter.labels import KEYWORDS
from services.interpreter.store import Store
from services.interpreter.unusable import Unusable

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
        of_part = LabelFeaturesRequest(run=request.run, options=request.options, relabel=request.relabel)
        partitions = Partitions(context, kind=LABEL_FEATURES_PART, request=of_part, unit=UNIT)
        await partitions.forget_tried()
        if context.record.partitions:
            await self._run_parts(partitions, features, options.model, context)
            if not await partitions.forget_tried():
                return
        indices, total = await asyncio.to_thread(self._remaining, request, features, context.job.name)
        if self._part_size is not None and options.model != KEYWORDS:
            ranges = divided(indices, self._part_size)
            if len(ranges) > 1:
                await partitions.divide(ranges)
                await self._run_parts(partitions, features, options.model, context)
                return
        unusable = Unusable()

        def note(error: UnusableAnswer) -> None:
            nonlocal unusable
            unusable += Unusable.of_answer(error)
            unusable.check(total)

        await self._label(Task(features, indices, options, note_unusable=note), context, job=context.job.name)

    async def run_part(self, request: LabelFeaturesRequest, features: Features, context: JobContext) -> None:
        """Labels those of the features of a part that its job has not labelled yet.

        Its job judges whether too many of all its features have no usable answer.
        """
        job, resubmit_count = context.record.partition_of, context.record.resubmit_count
        by_this_job = await asyncio.to_thread(self._store.labelled_by, features.run.uid, job)
        indices = [
            index
            for index in context.partition.indices
            if index not in by_this_job and (request.relabel or index not in features.labels)
        ]
        unusable = Unusable()  # those of earlier attempts are asked again
        unusable.store(context.result, resubmit_count)

        def note(error: UnusableAnswer) -> None:
            nonlocal unusable
            unusable += Unusable.of_answer(error)
            unusable.store(context.result, resubmit_count)

        task = Task(features, indices, requests.options(request.options), note_unusable=note)
        await self._label(task, context, job=job)

    async def _run_parts(self, partitions: Partitions, features: Features, model: str, context: JobContext) -> None:
        """Waits for the parts. Raises UnusableAnswer once too many of the job's features have no usable answer."""
        resubmit_count = context.record.resubmit_count
        indices = {index for part in context.record.partitions for index in part.indices}
        by_this_job = await asyncio.to_thread(self._store.labelled_by, features.run.uid, context.job.name)
        total = len(indices | by_this_job)

        def check(results: Sequence[Struct]) -> None:
            Unusable.of_parts(results, resubmit_count).check(total)

        results = await partitions.run(f"labelling with {model}", check=check)
        _log_missing(context, Unusable.of_parts(results, resubmit_count).count, len(indices))

    async def _label(self, task: Task, context: JobContext, *, job: str) -> None:
        """Labels features. job: whose labels they are."""
        features, indices, options = task.features, task.indices, task.options
        await context.progress(0, len(indices), UNIT, options.model)
        done = labelled = 0
        batches = self._labellers.get(options.model).drafts(task)
        async with contextlib.aclosing(batches):
            async for batch in batches:
                drafts = [replace(draft, job=job) for draft in batch]
                await context.checkpoint()
                await asyncio.to_thread(self._store.add_labels, features.run, drafts)
                done, labelled = done + max(1, len(drafts)), labelled + len(drafts)
                await context.progress(done, len(indices), UNIT, drafts[-1].text if drafts else options.model)
        _log_missing(context, len(indices) - labelled, len(indices))

    def _remaining(self, request: LabelFeaturesRequest, features: Features, job: str) -> tuple[list[int], int]:
        """The live features to label, those with the highest maximum first, without those that this job has labelled;
        and how many there are with those, which `limit` counts too.
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
        requested_indices = indices[: request.limit or None]
        return [index for index in requested_indices if index not in by_this_job], len(requested_indices)


def _log_missing(context: JobContext, count: int, total: int) -> None:
    if count:
        context.log(f"{count} of {total} features without a usable answer")
