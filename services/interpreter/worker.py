"""The interpreter's jobs: statistics, labels and their scores, families. Each can start again at any moment."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from prisma.interpreter.v1.interpreter_service_pb2 import (
    BuildFamiliesRequest,
    ComputeStatisticsRequest,
    LabelFeaturesRequest,
    ScoreLabelsRequest,
)
from prisma_common import names, wire
from services.chassis.blobs import Blob, Blobs
from services.chassis.errors import Unavailable
from services.chassis.events import Events
from services.chassis.job_context import JobContext
from services.chassis.job_worker import JobKind
from services.chassis.names import new_uid
from services.chassis.threads import in_thread
from services.interpreter import familiarity, families, likeness, requests, statistics_files
from services.interpreter.cooccurrence import Cooccurrence
from services.interpreter.decoder import Decoder
from services.interpreter.errors import StatisticsDamaged
from services.interpreter.familiarity import Calibration, CorpusSample, Reference
from services.interpreter.families import Family
from services.interpreter.family_naming import FamilyNames
from services.interpreter.feature_cache import FeatureCache
from services.interpreter.features import Features
from services.interpreter.job_starter import SERVICE
from services.interpreter.label_scoring import LabelScoring
from services.interpreter.labellers import Labellers
from services.interpreter.labelling import UNIT, Labelling
from services.interpreter.near_misses import Vectors
from services.interpreter.runs import Run, require_trained, sampled_rows
from services.interpreter.statistics import Accumulator, Statistics
from services.interpreter.store import Store
from services.interpreter.upstream import Upstream

FAMILIES = "families"
REFERENCE_ROWS = 20_000
"""Rows, all or a sample, among which near misses are looked for by vector."""
_LOOK_SECONDS = 0.5
"""Between two reports of the progress of a computation."""


class InterpreterJobs:
    """What the interpreter's jobs do."""

    def __init__(
        self,
        *,
        store: Store,
        blobs: Blobs,
        scratch: Path,
        upstream: Upstream,
        cache: FeatureCache,
        labellers: Labellers,
        family_names: FamilyNames,
        scoring: LabelScoring,
        events: Events,
        ack_wait: float,
        label_part_size: int | None = None,
    ) -> None:
        """scratch: a folder for temporary files. ack_wait: seconds of silence after which a job moves on.

        label_part_size: the fewest features of a part of a labelling job; None where no other process can do a part.
        """
        self._store = store
        self._blobs = blobs
        self._scratch = scratch
        self._upstream = upstream
        self._cache = cache
        self._labellers = labellers
        self._labelling = Labelling(store, labellers, part_size=label_part_size)
        self._family_names = family_names
        self._scoring = scoring
        self._events = events
        self._ack_wait = ack_wait

    def kinds(self) -> list[JobKind]:
        """The kinds of jobs, for the worker."""
        work = [
            (names.COMPUTE_STATISTICS, ComputeStatisticsRequest, self.statistics),
            (names.LABEL_FEATURES, LabelFeaturesRequest, self.label),
            (names.LABEL_FEATURES_PART, LabelFeaturesRequest, self.label_part),
            (names.SCORE_LABELS, ScoreLabelsRequest, self.score),
            (names.BUILD_FAMILIES, BuildFamiliesRequest, self.families),
        ]
        return [
            JobKind(service=SERVICE, name=name, request_type=request_type, run=run, ack_wait=self._ack_wait)
            for name, request_type, run in work
        ]

    async def statistics(self, request: ComputeStatisticsRequest, context: JobContext) -> None:
        """Computes the statistics of all features, in one pass over the codes."""
        run = require_trained(await self._upstream.run(request.run))
        await context.progress(0, run.latent_count, UNIT, "reading codes")
        decoder = await self._decoder(run)
        vectors = await self._upstream.vectors(run, sampled_rows(run.ranges, REFERENCE_ROWS))
        reference = await self._reference(run, vectors)
        with Accumulator(run.latent_count, self._scratch) as accumulator:
            async for codes in self._upstream.codes(run):
                await in_thread(accumulator.add, codes)
                await context.progress(0, run.latent_count, UNIT, f"{int(codes.rows[-1]) + 1:,} rows read")
            finish = partial(accumulator.finish, decoder, vectors=vectors, reference=reference)
            statistics = await _finished(finish, run.latent_count, context)
        attempt = new_uid()
        folder = statistics_files.folder_of(run.uid, attempt)
        files = await in_thread(statistics_files.save, statistics, self._blobs, folder)
        await context.prove()
        await self._commit_statistics(run, attempt, files, statistics)
        await self._events.publish(names.STATISTICS_CHANGED, run.name)

    async def label(self, request: LabelFeaturesRequest, context: JobContext) -> None:
        """Labels features batch by batch. What a batch labelled stays, whatever happens to the rest."""
        features = await self._features(request.run, context)
        await self._labelling.run(request, features, context)
        await self._events.publish(names.LABELS_CHANGED, request.run)

    async def label_part(self, request: LabelFeaturesRequest, context: JobContext) -> None:
        """Labels the features of a range, batch by batch."""
        features = await self._features(request.run, context)
        await self._labelling.run_part(request, features, context)
        await self._events.publish(names.LABELS_CHANGED, request.run)

    async def score(self, request: ScoreLabelsRequest, context: JobContext) -> None:
        """Scores labels part by part. What was scored stays, whatever happens to the rest."""
        features = await self._features(request.run, context)
        options = requests.scoring_options(request)
        if options.judgement:
            await self._labellers.check(options.judgement.model)
        await self._scoring.run(features, options, context)
        await self._events.publish(names.LABELS_CHANGED, request.run)

    async def families(self, request: BuildFamiliesRequest, context: JobContext) -> None:
        """Builds the families of features from scratch, and names them."""
        features = await self._features(request.run, context)
        thresholds = np.zeros(features.count) if request.include_tail else features.thresholds
        built = await self._built(features, thresholds, requests.family_options(request), context)
        named: list[Family] = []
        async with contextlib.aclosing(self._family_names.named(features, built, thresholds)) as batches:
            await context.progress(0, len(built), FAMILIES, "naming")
            async for batch in batches:
                named += batch
                await context.progress(len(named), len(built), FAMILIES, features.family_title(batch[-1]))
        await context.prove()
        listed = families.coloured(families.most_trusted_first(named, features.family_trust))
        await asyncio.to_thread(self._store.commit_families, features.run, listed)
        first_round = [family for family in listed if family.round == 1]
        members = {index for family in first_round for index in family.indices}
        names_given = sum(bool(family.label and family.label.text) for family in first_round)
        context.log(
            f"{len(listed):,} families; the {len(first_round):,} of the first round ({names_given:,} named) have "
            f"{len(members):,} of {features.live_count:,} features"
        )
        await self._events.publish(names.FAMILIES_CHANGED, features.run.name)
        await self._events.publish(names.LABELS_CHANGED, features.run.name)

    async def _built(
        self, features: Features, thresholds: NDArray[np.float64], options: families.Options, context: JobContext
    ) -> list[Family]:
        """Families without names."""
        if thresholds.any():
            await context.progress(0, features.count, UNIT, "reading codes")
        if options.method is families.Method.PUBLISHED:
            cooccurrence = await self._cooccurrence(features, thresholds)
            return await in_thread(lambda: families.published(cooccurrence, options=options))
        active_count = await self._active_count(features, thresholds)
        await context.progress(0, features.count, UNIT, "comparing features")
        vectors = await likeness.likeness(self._upstream, features, thresholds)

        def built() -> list[Family]:
            return families.alike(
                vectors,
                active_count,
                reliable=features.reliable,
                row_count=features.statistics.row_count,
                options=options,
            )

        return await in_thread(built)

    async def _active_count(self, features: Features, thresholds: NDArray[np.float64]) -> NDArray[np.int64]:
        """(n,) rows in which each feature reaches its threshold."""
        if not thresholds.any():
            return features.statistics.active_count
        counts = np.zeros(features.count, np.int64)

        def add(codes: wire.Codes) -> None:
            counts[:] += np.bincount(codes.at_least(thresholds).indices, minlength=features.count)

        async for codes in self._upstream.codes(features.run):
            await in_thread(add, codes)
        return counts

    async def _cooccurrence(self, features: Features, thresholds: NDArray[np.float64]) -> sparse.csr_array:
        """As that of statistics, of activations that reach their feature's threshold."""
        if not thresholds.any():
            return features.statistics.cooccurrence
        counts = Cooccurrence(features.count)
        async for codes in self._upstream.codes(features.run):
            precise = codes.at_least(thresholds)
            await in_thread(counts.add, precise.indptr, precise.indices)
        return await in_thread(counts.matrix)

    async def _decoder(self, run: Run) -> Decoder:
        """A run's decoder. Stability that the trainer has lost is that of the statistics before: it never changes."""
        decoder = await self._upstream.decoder(run)
        version = (await self._cache.interpretation(run)).statistics
        if version is None or not np.isnan(decoder.stability).all():
            return decoder
        folder = statistics_files.folder_of(run.uid, version.attempt)
        stability = await in_thread(statistics_files.load_stability, self._blobs, folder, version.file_format)
        return decoder if stability is None else replace(decoder, stability=np.array(stability))

    async def _reference(self, run: Run, vectors: Vectors) -> Reference:
        """What texts are compared with. vectors: of a sample of the run's rows."""
        held_out = await self._upstream.held_out_rows(run)
        sample, calibration = familiarity.divided(vectors.rows, held_out)
        if not len(sample):
            return Reference.empty()
        texts = await self._upstream.texts(run.dataset, np.concatenate([sample, calibration]).tolist())
        rows, raw_vectors = await self._upstream.raw_vectors(run, calibration)
        present = np.array([row in texts for row in rows.tolist()], bool)
        rows, raw_vectors = rows[present], raw_vectors[present]
        unexplained = await self._upstream.unexplained(run, raw_vectors)
        compared = Vectors(sample, vectors.of(sample))

        def reference() -> Reference:
            corpus = CorpusSample.of(
                familiarity.sampled_vectors(compared), [texts[row] for row in sample.tolist() if row in texts]
            )
            calibrated = Calibration.of(
                corpus,
                texts=[texts[row] for row in rows.tolist()],
                vectors=Vectors.of_length_1(rows, raw_vectors).matrix,
                unexplained=unexplained,
                held_out=len(held_out) >= familiarity.MIN_CALIBRATION_ROWS,
            )
            return Reference(corpus, calibrated)

        return await in_thread(reference)

    async def _features(self, run_name: str, context: JobContext) -> Features:
        """A run's features; where it was trained a moment ago, their statistics are computed first.

        Raises Unavailable, for which the job waits, while damaged statistics are computed again.
        """
        try:
            features = await self._cache.features_of(await self._cache.run(run_name))
        except StatisticsDamaged as damage:
            message = f"the statistics of {run_name} are damaged and are being computed again"
            raise Unavailable(message, metadata={"service": SERVICE}) from damage
        version = features.interpretation.statistics if features is not None else None
        if features is None or version is None or version.file_format < statistics_files.FORMAT:
            await self.statistics(ComputeStatisticsRequest(run=run_name), context)
            features = await self._cache.features(run_name)
        return features

    async def _commit_statistics(self, run: Run, attempt: str, files: Sequence[Blob], statistics: Statistics) -> None:
        live_count = int((statistics.active_count > 0).sum())
        replaced = await asyncio.to_thread(
            lambda: self._store.commit_statistics(
                run,
                attempt=attempt,
                files=files,
                row_count=statistics.row_count,
                live_count=live_count,
                file_format=statistics_files.FORMAT,
            )
        )
        self._cache.drop(run.uid)
        if replaced:
            await asyncio.to_thread(self._blobs.delete, statistics_files.folder_of(run.uid, replaced))


@dataclass
class _Computation:
    """The progress of a computation in a thread, and the wish that it ends."""

    abandoned: threading.Event = field(default_factory=threading.Event)
    done: int = 0

    def progress(self, done: int) -> None:
        """Called from the thread. Raises _Abandoned."""
        if self.abandoned.is_set():
            raise _Abandoned
        self.done = done


class _Abandoned(Exception):
    """Nobody waits for the computation any more."""


async def _finished(finish: Callable[..., Statistics], latent_count: int, context: JobContext) -> Statistics:
    """The statistics, computed in a thread that ends with this call, however it ends. finish: takes `progress`."""
    computation = _Computation()
    work = asyncio.create_task(in_thread(lambda: finish(progress=computation.progress)))
    try:
        while not work.done():
            await context.progress(computation.done, latent_count, UNIT, "computing")
            await asyncio.wait([work], timeout=_LOOK_SECONDS)
        return work.result()
    finally:
        computation.abandoned.set()
        while not work.done():
            with contextlib.suppress(asyncio.CancelledError):  # cancelled again: the thread still has our files
                await asyncio.wait([work])
        work.exception()  # taken, so that asyncio does not report it: this call has an error of its own
