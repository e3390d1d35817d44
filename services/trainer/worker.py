"""The trainer's jobs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

import numpy as np
import obstore
from obstore.exceptions import BaseError
from obstore.store import ObjectStore
from prometheus_client import Gauge

from prisma.trainer.v1.trainer_service_pb2 import (
    EncodeDatasetRequest,
    EvaluateRunRequest,
    PushRunRequest,
    SweepRunsRequest,
    TrainRunRequest,
)
from prisma_common import names as resource_names
from services.chassis import job_time, names
from services.chassis.blobs import Blobs
from services.chassis.events import Events
from services.chassis.idempotency import Call
from services.chassis.job_context import JobContext
from services.chassis.job_worker import JobKind
from services.chassis.threads import in_thread
from services.trainer import requests
from services.trainer.autoencoders import Autoencoders
from services.trainer.encoding import CODES_FOLDER, DatasetEncoder
from services.trainer.errors import NoPushStore, PushFailed, RunNotFound, RunNotTrained
from services.trainer.group import Group
from services.trainer.model_card import sae_lens_files
from services.trainer.runs import NewRun, Run, Selection, Source, stability_path
from services.trainer.sae import checkpoint, comparing, evaluating
from services.trainer.sae.batches import MAX_HELD_OUT, Batches
from services.trainer.sae.config import Config
from services.trainer.sae.normalization import normalization
from services.trainer.sae.sizing import Sizing
from services.trainer.sae.vectors import Vectors
from services.trainer.settings import SERVICE
from services.trainer.shared_checkpoints import SharedCheckpoints, last_checkpoints
from services.trainer.store import Store, TrainingResult
from services.trainer.training import launch
from services.trainer.training.protocol import (
    CheckpointWritten,
    Finished,
    Message,
    PatienceExhausted,
    PilotTrained,
    Resumed,
    RowsEncoded,
    SiblingTrained,
    Sized,
    StepMeasured,
    StepMetrics,
    Task,
)
from services.trainer.upstream import Embedder
from services.trainer.vector_cache import VectorCache

Report: TypeAlias = Callable[[StepMetrics], Awaitable[None]]
_EVALUATING = "measuring what the reconstructions keep"
_SAMPLES_PER_SECOND = Gauge(
    "prisma_training_samples_per_second", "Vectors per second of the training that runs; 0 while none does"
)


class TrainerJobs:
    """The work of each kind of job."""

    def __init__(
        self,
        *,
        store: Store,
        blobs: Blobs,
        cache: VectorCache,
        embedder: Embedder,
        autoencoders: Autoencoders,
        encoder: DatasetEncoder,
        events: Events,
        device: str,
        group: Group,
        ack_wait: float,
        push_store: ObjectStore | None = None,
        push_url: str | None = None,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._cache = cache
        self._embedder = embedder
        self._autoencoders = autoencoders
        self._encoder = encoder
        self._events = events
        self._device = device
        self._group = group
        self._ack_wait = ack_wait
        self._push_store = push_store
        self._push_url = push_url
        self._training = asyncio.Lock()
        self._kernels = launch.KernelCompilation()

    def kinds(self) -> list[JobKind]:
        """All kinds. One training runs at a time, the others wait."""
        work: list[tuple[str, type[Any], Callable[[Any, JobContext], Awaitable[None]]]] = [
            (resource_names.TRAIN_RUN, TrainRunRequest, self.train),
            (resource_names.SWEEP_RUNS, SweepRunsRequest, self.sweep),
            (resource_names.EVALUATE_RUN, EvaluateRunRequest, self.evaluate),
            (resource_names.PUSH_RUN, PushRunRequest, self.push),
            (resource_names.ENCODE_DATASET, EncodeDatasetRequest, self.encode_dataset),
        ]
        return [
            JobKind(service=SERVICE, name=name, request_type=request, run=run, ack_wait=self._ack_wait)
            for name, request, run in work
        ]

    async def compile_kernels(self) -> None:
        """Compiles the kernels for this machine; trainings wait for it."""
        await self._kernels.run()

    async def train(self, request: TrainRunRequest, context: JobContext) -> None:
        """Trains a run in a process of its own, from the last checkpoint, and commits weights and codes."""
        run = await asyncio.to_thread(self._store.run, requests.run_id(request.name))

        async def report(metrics: StepMetrics) -> None:
            await context.progress(metrics.step, metrics.total_steps, "steps", f"epoch {metrics.epoch:.1f}")

        await self._train(run, context, report, allow_pending=request.allow_pending_documents)

    async def sweep(self, request: SweepRunsRequest, context: JobContext) -> None:
        """Creates, trains and evaluates the runs of a grid, one after the other; what is done already stays."""
        recipes = requests.grid(request)
        tag = f"sweep/{context.job.name.removeprefix('jobs/')}"
        source, selection = await self._sweep_source(request, tag)
        for position, recipe in enumerate(recipes):
            title = requests.title_in_grid(request, recipe)
            new = NewRun(source=source, selection=selection, recipe=recipe, display_name=title, tags=[tag])
            run = await asyncio.to_thread(self._store.create, new, _sweep_call(tag, position))

            async def report(metrics: StepMetrics, done: int = position, title: str = run.display_name) -> None:
                message = f"{title}: epoch {metrics.epoch:.1f} of {metrics.total_steps} steps"
                await context.progress(done, len(recipes), "runs", message)

            try:
                await self._train(run, context, report, allow_pending=True)
                run = await asyncio.to_thread(self._store.run, run.id)
                if run.evaluation is None:
                    await context.progress(position, len(recipes), "runs", f"{run.display_name}: {_EVALUATING}")
                    await self._evaluate(run, context)
            except RunNotFound:
                context.log(f"{run.name} was deleted; the sweep continues without it")
            await context.checkpoint()
        await context.progress(len(recipes), len(recipes), "runs")

    async def evaluate(self, request: EvaluateRunRequest, context: JobContext) -> None:
        """Measures a run on its held-out rows. Raises RunNotTrained."""
        run = await asyncio.to_thread(self._store.run, requests.run_id(request.name))
        if not run.trained:
            raise RunNotTrained(f"{run.name} has no weights yet; train it first", metadata={"run": run.name})
        await context.progress(0, 1, "runs", _EVALUATING)
        await self._evaluate(run, context)
        await context.progress(1, 1, "runs")

    async def push(self, request: PushRunRequest, context: JobContext) -> None:
        """Copies a run's weights to the configured object store. Raises PushFailed, NoPushStore."""
        run = await asyncio.to_thread(self._store.run, requests.run_id(request.name))
        if self._push_store is None or self._push_url is None:
            raise NoPushStore
        files = await asyncio.to_thread(lambda: sae_lens_files(run, self._autoencoders.weights(run)))
        total, done = sum(map(len, files.values())), 0
        await context.progress(0, total, "bytes")
        for name, data in files.items():
            try:
                await obstore.put_async(self._push_store, f"{run.id}/{name}", data)
            except (BaseError, OSError) as error:
                raise PushFailed(f"{self._push_url} refused {run.id}/{name}: {_first_line(error)}") from error
            done += len(data)
            await context.progress(done, total, "bytes")
        context.log(f"{run.name} is at {self._push_url.rstrip('/')}/{run.id}/")

    async def encode_dataset(self, request: EncodeDatasetRequest, context: JobContext) -> None:
        """Brings a run's codes up to date with its dataset."""
        run = await asyncio.to_thread(self._store.run, requests.run_id(request.name))
        if run.trained:
            run = await self._encoder.update(run, context)
            await self._events.publish(resource_names.RUN_CHANGED, run.name)

    async def _sweep_source(self, request: SweepRunsRequest, tag: str) -> tuple[Source, Selection]:
        """Dataset and rows of all runs of a sweep: those of its first run, if an earlier attempt created it."""
        first = await asyncio.to_thread(self._store.answered, _sweep_call(tag, 0))
        if first is not None and first.selection is not None:
            return first.source, first.selection
        allow_pending = request.allow_pending_documents
        dataset = await self._embedder.embedded_dataset(request.dataset, allow_pending=allow_pending)
        return dataset.source, await self._embedder.selection(dataset)

    async def _train(self, run: Run, context: JobContext, report: Report, *, allow_pending: bool) -> None:
        if run.trained:
            return
        if self._training.locked():
            await context.progress(0, 0, "steps", "waiting for another training to end")
        with job_time.during(job_time.Part.JOB):
            await self._training.acquire()
        try:
            while not self._kernels.finished:
                compiled, functions = self._kernels.progress
                await context.progress(compiled, functions, "kernels", "compiling the kernels, once for this machine")
                await self._kernels.wait(1.0)
            run = await self._begin(run, context, allow_pending=allow_pending)
            await self._train_now(run, context, report)
        finally:
            self._training.release()

    async def _begin(self, run: Run, context: JobContext, *, allow_pending: bool) -> Run:
        """Fixes what the run is trained on, unless an earlier attempt did."""
        selection, config = run.selection, run.config
        if selection is None:
            is_import = run.imported_from is not None
            dataset = await self._embedder.embedded_dataset(
                run.source.dataset, allow_pending=allow_pending or is_import
            )
            selection = await self._embedder.selection(dataset)
            if not run.recipe.auto:
                config = run.recipe.resolve(row_count=selection.row_count, dimension=run.source.dimension)
        await context.prove()
        run = await asyncio.to_thread(
            lambda: self._store.begin_training(run, selection, config, job=context.job.name, device=self._device)
        )
        context.log(_describe(run, selection))
        return run

    async def _train_now(self, run: Run, context: JobContext, report: Report) -> None:
        data = await self._data(run, context)
        attempt = f"{run.folder}/{names.new_uid()}"
        folder = self._blobs.folder / attempt
        is_import = run.imported_from is not None
        task = Task(
            vectors=data,
            config=run.config,
            settings=run.recipe.settings,
            goal=run.recipe.goal,
            folder=folder,
            checkpoints=await asyncio.to_thread(last_checkpoints, self._blobs, run),
            device=self._device,
            imported_weights=await asyncio.to_thread(self._blobs.local, run.imported_weights) if is_import else None,
        )
        folder.mkdir(parents=True)
        group = Group() if is_import else self._group
        if group.hosts > 1:
            await context.progress(0, 0, "steps", f"waiting for {group.hosts} hosts at {group.rendezvous}")
        finished: Finished | None = None
        # A worker that lost its lease keeps no progress: another attempt resumes from the last checkpoint.
        training = launch.train(task, group, keep_progress=lambda: not context.lost)
        checkpoints = SharedCheckpoints(self._blobs, attempt)
        try:
            async with aclosing(training) as messages:
                async for message in messages:
                    if isinstance(message, CheckpointWritten | SiblingTrained):
                        checkpoints.share_soon()
                    run = await self._record(run, message, context, report)
                    if isinstance(message, Finished):
                        finished = message
        finally:
            _SAMPLES_PER_SECOND.set(0)
            # A process that is told to stop writes a last checkpoint.
            await checkpoints.end(share=finished is None and not context.lost)
        assert finished is not None  # else the process has failed, and `train` raised
        await self._commit(run, attempt, finished, context)

    async def _commit(self, run: Run, attempt: str, finished: Finished, context: JobContext) -> None:
        """Makes an attempt the run's, and deletes what is left of others."""
        files = [f"{attempt}/weights.safetensors", *(f"{attempt}/{shard.name}" for shard in finished.shards)]
        if finished.quality is not None and finished.quality.sibling_count:
            files.append(stability_path(attempt))
        blobs = await asyncio.to_thread(self._blobs.adopt, *files)
        await context.prove()
        result = TrainingResult(
            attempt=attempt,
            shards=finished.shards,
            dead_count=finished.dead_count,
            quality=finished.quality,
            blobs=blobs,
        )
        run = await in_thread(self._store.commit, run, result)
        await asyncio.to_thread(self._delete_leftovers, run)
        await self._events.publish(resource_names.RUN_CHANGED, run.name)

    def _delete_leftovers(self, run: Run) -> None:
        """Deletes other attempts and checkpoints of a trained run; not codes that followed the dataset since."""
        paths = [PurePosixPath(file.path) for file in self._blobs.below(run.folder)]
        attempts = {path.parent for path in paths if path.parent.as_posix() != run.folder}
        for attempt in attempts:
            if attempt.as_posix() != run.attempt and not attempt.name.startswith(CODES_FOLDER):
                self._blobs.delete(attempt.as_posix())
        for path in paths:
            if path.parent.as_posix() == run.attempt and path.match(checkpoint.PATTERN):
                self._blobs.delete(path.as_posix())

    async def _evaluate(self, run: Run, context: JobContext) -> None:
        data = await self._data(run, context)
        other = await asyncio.to_thread(self._store.other_seed, run)
        evaluation = await asyncio.to_thread(self._measure, run, data, other)
        await context.prove()
        await asyncio.to_thread(lambda: self._store.change(run.id, uid=run.uid, evaluation=evaluation))

    def _measure(self, run: Run, data: Path, other: Run | None) -> dict[str, Any]:
        assert run.config is not None
        vectors, config = Vectors(data), run.config
        batches = Batches(vectors, config.batch_size, config.held_out_fraction, config.seed)
        rows, training_rows = batches.held_out, batches.train_rows
        if run.imported_from is not None or not len(rows):  # it was trained on none of them, or on all
            rows = np.sort(np.random.default_rng(config.seed).permutation(vectors.rows)[:MAX_HELD_OUT])
            training_rows = np.arange(vectors.rows)
        weights = self._autoencoders.weights(run)
        mean = normalization(vectors, training_rows, "standard", config.seed).mean
        density = self._encoder.latent_counts(run) / max(run.code_count, 1)
        evaluation = asdict(evaluating.evaluate(weights, vectors.take(rows), density, mean=mean))
        evaluation["row_count"] = evaluation.pop("rows")
        if other is not None:
            first, second = (comparing.directions(self._autoencoders.weights(sibling)) for sibling in (run, other))
            evaluation["stability"] = comparing.match(first, second).stability
        return {**evaluation, "time": time.time()}

    async def _data(self, run: Run, context: JobContext) -> Path:
        """The folder with the run's vectors, which are read from the embedder if they are not cached."""
        assert run.selection is not None
        folder = self._cache.folder_of(run.fingerprint)
        if folder is not None:
            return folder
        await context.progress(0, 0, "vectors", "reading vectors")
        fingerprint = await self._embedder.pull(run.source, run.selection, self._cache, context.progress)
        await context.prove()
        await asyncio.to_thread(lambda: self._store.change(run.id, uid=run.uid, fingerprint=fingerprint))
        folder = self._cache.folder_of(fingerprint)
        assert folder is not None
        return folder

    async def _record(self, run: Run, message: Message, context: JobContext, report: Report) -> Run:
        """Keeps what the training process reports; returns the run as it is then."""
        match message:
            case PilotTrained(done, total):
                await context.progress(done, total, "pilots", "choosing the number of latents by small trainings")
            case Sized(sizing, config):
                choice = Sizing.from_dict(sizing)
                run = await asyncio.to_thread(self._store.size, run, Config.from_dict(dict(config)), choice)
                context.log(choice.reason)
            case StepMeasured(metrics):
                _SAMPLES_PER_SECOND.set(metrics.samples_per_second)
                await report(metrics)
                await asyncio.to_thread(self._store.add_metrics, run.uid, metrics.to_dict())
            case CheckpointWritten(step):
                await context.checkpoint()
                context.log(f"checkpoint at step {step}")
            case PatienceExhausted(total_steps):
                context.log(f"the held-out FVU no longer falls: the training ends at step {total_steps}")
            case Resumed(step):
                context.log(f"resumed at step {step}")
            case SiblingTrained(sibling, step, total_steps):
                count = run.config.siblings if run.config is not None else sibling
                await context.progress(
                    step, total_steps, "steps", f"sibling {sibling} of {count}: which latents are found again"
                )
            case RowsEncoded(done, total):
                await context.progress(done, total, "rows", f"{run.display_name}: encoding all rows")
            case _:
                pass
        return run


def _sweep_call(tag: str, position: int) -> Call | None:
    return Call.of_bytes(f"{tag}/{position}", "SweepRuns", b"")


def _describe(run: Run, selection: Selection) -> str:
    """What a run is trained on, for the job's log."""
    total = selection.row_count + selection.pending_count
    rows = f"{selection.row_count:,} of {total:,} documents" if selection.pending_count else f"{total:,} documents"
    return f"{run.name} uses {rows} of {run.source.dataset} at revision {selection.revision}"


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
