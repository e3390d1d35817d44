"""Jobs of the interpreter: statistics, labels, families."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np

from prisma.interpreter.v1.interpreter_service_pb2 import (
    BuildFamiliesRequest,
    ComputeStatisticsRequest,
    LabelFeaturesRequest,
)
from services.chassis import names
from services.chassis.blobs import Blobs
from services.chassis.events import Events
from services.chassis.job_context import JobContext
from services.chassis.job_worker import JobKind
from services.chassis.jobs import Jobs
from services.chassis.threads import in_thread
from services.interpreter import archive, convert, families
from services.interpreter.features import Features
from services.interpreter.keywords import Named
from services.interpreter.labelling import Labelling
from services.interpreter.labels import KEYWORDS, Draft, Options
from services.interpreter.runs import Run, require_trained
from services.interpreter.statistics import Accumulator, Statistics
from services.interpreter.store import Store
from services.interpreter.upstream import Upstream
from services.interpreter.views import Views, path_of

SERVICE = "interpreter"
STATISTICS = "compute-statistics"
LABEL = "label-features"
FAMILIES = "build-families"
CHANGED = {STATISTICS: "statistics.changed", LABEL: "labels.changed", FAMILIES: "families.changed"}


class InterpreterJobs:
    """What the interpreter's jobs do. Each may be begun again at any moment."""

    def __init__(
        self,
        store: Store,
        blobs: Blobs,
        scratch: Path,
        upstream: Upstream,
        views: Views,
        labelling: Labelling,
        events: Events,
        ack_wait: float,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._scratch = scratch
        self._upstream = upstream
        self._views = views
        self._labelling = labelling
        self._events = events
        self._ack_wait = ack_wait

    def kinds(self) -> list[JobKind]:
        """The kinds, for the worker."""
        return [
            JobKind(SERVICE, STATISTICS, ComputeStatisticsRequest, self.statistics, self._ack_wait),
            JobKind(SERVICE, LABEL, LabelFeaturesRequest, self.label, self._ack_wait),
            JobKind(SERVICE, FAMILIES, BuildFamiliesRequest, self.families, self._ack_wait),
        ]

    async def statistics(self, request: ComputeStatisticsRequest, context: JobContext) -> None:
        """Statistics of all features, in one pass over the codes."""
        run = require_trained(await self._upstream.run(request.run))
        await context.progress(0, run.latent_count, "features", "reading codes")
        decoder = await self._upstream.decoder(run)
        with Accumulator(run.latent_count, self._scratch) as accumulator:
            async for codes in self._upstream.codes(run):
                await in_thread(accumulator.add, codes.rows, codes.indptr, codes.indices, codes.values)
                await context.progress(0, run.latent_count, "features", f"{int(codes.rows[-1]) + 1:,} rows read")
            found = await self._finish(accumulator, decoder, context)
        attempt = names.new_uid()
        await in_thread(archive.save, found, self._blobs, path_of(run.uid, attempt))
        await context.prove()
        before = await asyncio.to_thread(self._store.commit_statistics, run, attempt)
        self._views.drop(run.uid)
        if before:
            await asyncio.to_thread(self._blobs.delete, path_of(run.uid, before))
        await self._events.publish(CHANGED[STATISTICS], run.name)

    async def label(self, request: LabelFeaturesRequest, context: JobContext) -> None:
        """Labels of features: keywords all at once, a language model's one by one; what is made stays."""
        features = await self._features(request.run, context)
        options = convert.options(request.options)
        await self._labelling.check(options.model)
        indices = await asyncio.to_thread(self._wanted, request, features, context.job.name)
        await context.progress(0, len(indices), "features", options.model)
        if options.model == KEYWORDS:
            await self._by_keywords(features, indices, options, context)
        else:
            await self._by_model(features, indices, options, context)
        await self._events.publish(CHANGED[LABEL], request.run)

    async def families(self, request: BuildFamiliesRequest, context: JobContext) -> None:
        """Families of features, from scratch."""
        features = await self._features(request.run, context)
        threshold = request.threshold if request.HasField("threshold") else families.THRESHOLD
        rounds = request.rounds if request.HasField("rounds") else families.ROUNDS
        statistics = features.statistics
        found = await in_thread(
            lambda: families.build(statistics.cooccurrence, statistics.density, threshold=threshold, rounds=rounds)
        )
        await context.prove()
        run = features.interpretation.run
        await asyncio.to_thread(self._store.commit_families, run, found)
        context.log(f"{len(found)} families")
        await self._events.publish(CHANGED[FAMILIES], run.name)

    async def _features(self, name: str, context: JobContext) -> Features:
        """A run's features; where a run was trained a moment ago, their statistics are computed first."""
        features = await self._views.of(await self._views.run(name))
        if features is None:
            await self.statistics(ComputeStatisticsRequest(run=name), context)
            features = await self._views.features(name)
        return features

    async def _finish(
        self, accumulator: Accumulator, decoder: np.ndarray[tuple[int, int], np.dtype[np.float32]], context: JobContext
    ) -> Statistics:
        """The statistics, with progress told from the thread that computes them."""
        done = 0

        def told(count: int) -> None:
            nonlocal done
            done = count

        work = asyncio.ensure_future(in_thread(lambda: accumulator.finish(decoder, progress=told)))
        while not work.done():
            await context.progress(done, accumulator.latent_count, "features", "computing")
            await asyncio.wait([work], timeout=0.5)
        return await work

    def _wanted(self, request: LabelFeaturesRequest, features: Features, job: str) -> list[int]:
        """The live features to label, those with the highest maximum first; without those that this job has done."""
        order = features.select("", [], "max_activation", True).tolist()
        chosen = set(request.indices)
        done = self._store.made_by(job)
        wanted = [
            index
            for index in order
            if features.statistics.active_count[index]
            and (not chosen or index in chosen)
            and (request.relabel or index not in features.labels)
        ]
        return [index for index in wanted[: request.limit or None] if index not in done]

    async def _by_keywords(self, features: Features, indices: list[int], options: Options, context: JobContext) -> None:
        named: list[tuple[int, Named]] = []
        async for batch in self._labelling.by_keywords(features, indices):
            named += batch
            await context.progress(len(named), len(indices), "features", options.model)
        drafts = self._labelling.drafts(named, features, options)
        await context.prove()
        run, job = features.interpretation.run, context.job.name
        await asyncio.to_thread(self._add, run, drafts, job)

    async def _by_model(self, features: Features, indices: list[int], options: Options, context: JobContext) -> None:
        run, job = features.interpretation.run, context.job.name
        for done, index in enumerate(indices):
            draft = await self._labelling.one(features, index, options)
            await context.checkpoint()
            await asyncio.to_thread(self._add, run, [draft], job)
            context.log(f"{index}: {draft.text}")
            await context.progress(done + 1, len(indices), "features", draft.text)

    def _add(self, run: Run, drafts: list[Draft], job: str) -> None:
        self._store.add_labels(run, [replace(draft, job=job) for draft in drafts], over_people=False)


class Following:
    """Keeps up with the trainer: statistics of what is trained, nothing of what was deleted."""

    def __init__(self, store: Store, blobs: Blobs, upstream: Upstream, views: Views, jobs: Jobs) -> None:
        self._store = store
        self._blobs = blobs
        self._upstream = upstream
        self._views = views
        self._jobs = jobs

    async def catch_up(self, _names: frozenset[str] | None = None) -> None:
        """Forgets deleted runs (tombstones say so, never absence), and has newly trained ones looked at."""
        for run in await self._upstream.runs():
            if run.deleted:
                attempt = await asyncio.to_thread(self._store.forget, run)
                self._views.drop(run.uid)
                if attempt:
                    await asyncio.to_thread(self._blobs.delete, f"statistics/{run.uid}")
            elif run.trained:
                found = await asyncio.to_thread(self._store.interpretation, run)
                if found.statistics_revision < run.revision:
                    await self._compute(run)

    async def _compute(self, run: Run) -> None:
        """The same job for the same codes, however often it is asked for."""
        await self._jobs.submit(
            SERVICE,
            STATISTICS,
            ComputeStatisticsRequest(run=run.name),
            request_id=f"trained-{run.uid}-{run.revision}",
            resources=[run.name, run.dataset],
        )
