"""Jobs of the trainer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import obstore
from obstore.exceptions import BaseError
from obstore.store import from_url

from prisma.trainer.v1.trainer_service_pb2 import EvaluateRunRequest, PushRunRequest, SweepRunsRequest, TrainRunRequest
from services.chassis import names
from services.chassis.blobs import Blobs
from services.chassis.events import Events
from services.chassis.job_context import JobContext
from services.chassis.job_worker import JobKind
from services.trainer import convert
from services.trainer.errors import NoPushStore, PushFailed, RunNotFound, RunNotTrained
from services.trainer.group import Group
from services.trainer.runs import Run
from services.trainer.sae import checkpoint, comparing, evaluating
from services.trainer.sae.codes import CodeShard, load_codes
from services.trainer.sae.vectors import MAX_HELD_OUT, Batches, Vectors
from services.trainer.sae.weights import Weights
from services.trainer.store import Store
from services.trainer.training import launch
from services.trainer.training.protocol import (
    CheckpointWritten,
    Finished,
    Message,
    PatienceExhausted,
    Resumed,
    RowsEncoded,
    StepMeasured,
    StepMetrics,
    Task,
)
from services.trainer.upstream import Embedder
from services.trainer.vector_files import VectorFiles
from services.trainer.weights_files import sae_lens_files

SERVICE = "trainer"
TRAIN, SWEEP, EVALUATE, PUSH = "train-run", "sweep-runs", "evaluate-run", "push-run"
CHANGED = "run.changed"
DELETED = "run.deleted"
Report: TypeAlias = Callable[[StepMetrics], Awaitable[None]]
_MEASURING = "measuring what the reconstructions keep"


class TrainerJobs:
    """What the trainer's jobs do."""

    def __init__(
        self,
        store: Store,
        blobs: Blobs,
        folder: Path,
        files: VectorFiles,
        embedder: Embedder,
        events: Events,
        device: str,
        group: Group,
        ack_wait: float,
        push_url: str | None = None,
    ) -> None:
        self._store = store
        self._files = files
        self._device = device
        self._group = group
        self._blobs = blobs
        self._folder = folder
        self._embedder = embedder
        self._events = events
        self._ack_wait = ack_wait
        self._push_url = push_url or ""
        self._push_store = from_url(push_url) if push_url else None
        self._training = asyncio.Lock()
        self._kernels = launch.KernelCompilation()

    def kinds(self) -> list[JobKind]:
        """The kinds, for the worker. One training at a time, the rest wait."""
        return [
            JobKind(SERVICE, TRAIN, TrainRunRequest, self.train, self._ack_wait),
            JobKind(SERVICE, SWEEP, SweepRunsRequest, self.sweep, self._ack_wait),
            JobKind(SERVICE, EVALUATE, EvaluateRunRequest, self.evaluate, self._ack_wait),
            JobKind(SERVICE, PUSH, PushRunRequest, self.push, self._ack_wait),
        ]

    async def compile_kernels(self) -> None:
        """Compiles the kernels for this machine; trainings wait for it."""
        await self._kernels.run()

    async def train(self, request: TrainRunRequest, context: JobContext) -> None:
        """Trains a run in a process of its own, from the last checkpoint, and commits weights and codes."""
        run = await asyncio.to_thread(self._store.run, convert.run_id(request.name))

        async def report(metrics: StepMetrics) -> None:
            await context.progress(metrics.step, metrics.total_steps, "steps", f"epoch {metrics.epoch:.1f}")

        await self._train(run, context, report)

    async def sweep(self, request: SweepRunsRequest, context: JobContext) -> None:
        """Makes, trains and evaluates the runs of a grid, one after the other; what is done already stays."""
        source = await self._embedder.source(request.dataset)
        configs = [convert.config(each, source) for each in convert.grid(request)]
        tag = f"sweep/{context.job.name.removeprefix('jobs/')}"
        for place, config in enumerate(configs):
            run = await asyncio.to_thread(
                self._store.create,
                "",
                convert.place_in_grid(request, config),
                "",
                source,
                config,
                f"{tag}/{place}",
                tags=[tag],
            )

            async def report(metrics: StepMetrics, at: int = place, name: str = run.display_name) -> None:
                message = f"{name}: epoch {metrics.epoch:.1f} of {metrics.total_steps} steps"
                await context.progress(at, len(configs), "runs", message)

            try:
                await self._train(run, context, report)
                run = await asyncio.to_thread(self._store.run, run.id)
                if run.evaluation is None:
                    await context.progress(place, len(configs), "runs", f"{run.display_name}: {_MEASURING}")
                    await self._evaluate(run, context)
            except RunNotFound:
                context.log(f"{run.name} was deleted; the sweep goes on without it")
            await context.checkpoint()
        await context.progress(len(configs), len(configs), "runs")

    async def evaluate(self, request: EvaluateRunRequest, context: JobContext) -> None:
        """Measures a run on its held-out rows."""
        run = await asyncio.to_thread(self._store.run, convert.run_id(request.name))
        if not run.trained:
            raise RunNotTrained(f"{run.name} has no weights yet; train it first")
        await context.progress(0, 1, "runs", _MEASURING)
        await self._evaluate(run, context)
        await context.progress(1, 1, "runs")

    async def push(self, request: PushRunRequest, context: JobContext) -> None:
        """Copies a run's weights to the operator's object store. Raises PushFailed."""
        run = await asyncio.to_thread(self._store.run, convert.run_id(request.name))
        if self._push_store is None:
            raise NoPushStore
        files = await asyncio.to_thread(lambda: sae_lens_files(run, self.weights(run)))
        total, done = sum(map(len, files.values())), 0
        await context.progress(0, total, "bytes")
        for name, data in files.items():
            try:
                await obstore.put_async(self._push_store, f"{run.id}/{name}", data)
            except (BaseError, OSError) as error:
                raise PushFailed(f"{self._push_url} did not take {run.id}/{name}: {_first_line(error)}") from error
            done += len(data)
            await context.progress(done, total, "bytes")
        context.log(f"{run.name} is at {self._push_url.rstrip('/')}/{run.id}/")

    async def _train(self, run: Run, context: JobContext, report: Report) -> None:
        if run.trained:
            return
        if self._training.locked():
            await context.progress(0, 0, "steps", "waits for another training to end")
        async with self._training:
            while not self._kernels.finished:
                await context.progress(0, 0, "steps", "compiling the kernels, once for this machine")
                await self._kernels.wait(1.0)
            await self._train_now(run, context, report)

    async def _train_now(self, run: Run, context: JobContext, report: Report) -> None:
        data, fingerprint = await self._data(run, context)
        await context.prove()
        await asyncio.to_thread(
            self._store.change, run.id, run.uid, job=context.job.name, fingerprint=fingerprint, device=self._device
        )
        path = f"{run.folder}/{names.new_uid()}"
        task = Task(
            vectors=data,
            config=run.config,
            folder=self._folder / path,
            checkpoint=await asyncio.to_thread(self._last_checkpoint, run),
            device=self._device,
            imported_weights=self._folder / run.imported if run.imported_from else None,
        )
        (self._folder / path).mkdir(parents=True)
        shards: Sequence[CodeShard] = []
        group = Group() if run.imported_from else self._group
        if group.hosts > 1:
            await context.progress(0, 0, "steps", f"waiting for {group.hosts} hosts at {group.rendezvous}")
        # A worker that lost its lease keeps no progress: another attempt resumes from the last checkpoint.
        training = launch.train(task, group, keep_progress=lambda: not context.lost)
        async with aclosing(training) as messages:
            async for message in messages:
                await self._record(run, message, context, report)
                if isinstance(message, Finished):
                    shards = message.shards
        await context.prove()
        done = await asyncio.to_thread(self._store.commit, run, path, shards)
        for old in (self._folder / run.folder).iterdir():
            if old.is_dir() and f"{run.folder}/{old.name}" != done.attempt:
                await asyncio.to_thread(self._blobs.delete, f"{run.folder}/{old.name}")
        await self._events.publish(CHANGED, run.name)

    async def _evaluate(self, run: Run, context: JobContext) -> None:
        data, _fingerprint = await self._data(run, context)
        other = await asyncio.to_thread(self._store.seeds_of, run)
        found = await asyncio.to_thread(self._measure, run, data, other)
        await context.prove()
        await asyncio.to_thread(self._store.change, run.id, run.uid, evaluation=found)

    def _measure(self, run: Run, data: Path, other: Run | None) -> dict[str, Any]:
        vectors = Vectors(data)
        config = run.config
        rows = Batches(vectors, config.batch_size, config.held_out_fraction, config.seed).held_out
        if run.imported_from or not len(rows):  # all are new to it, or none is
            rows = np.sort(np.random.default_rng(config.seed).permutation(vectors.rows)[:MAX_HELD_OUT])
        weights = self.weights(run)
        counts = np.zeros(weights.latent_count, dtype=np.int64)
        for shard in run.shards:
            codes = load_codes(self._folder / run.attempt / shard.name)
            counts += np.bincount(codes.indices, minlength=weights.latent_count)
        found = asdict(evaluating.evaluate(weights, vectors.take(rows), counts / run.source.row_count))
        found["row_count"] = found.pop("rows")
        if other is not None:
            own, others = comparing.directions(weights), comparing.directions(self.weights(other))
            found["stability"] = comparing.match(own, others).stability
        return {**found, "time": time.time()}

    def weights(self, run: Run) -> Weights:
        """Of a trained run."""
        return Weights.load(self._folder / run.attempt / "weights.safetensors")

    async def _data(self, run: Run, context: JobContext) -> tuple[Path, str]:
        """The folder with the run's vectors, which are pulled if they aren't there, and their fingerprint."""
        fingerprint = run.fingerprint
        if self._files.of(fingerprint) is None:
            await context.progress(0, 0, "vectors", "reading vectors")
            fingerprint = await self._embedder.pull(run.source, self._files, context.progress)
        data = self._files.of(fingerprint)
        assert data is not None
        return data, fingerprint

    async def _record(self, run: Run, message: Message, context: JobContext, report: Report) -> None:
        """Keeps what the training process reports."""
        match message:
            case StepMeasured(metrics):
                await report(metrics)
                await asyncio.to_thread(self._store.add_metrics, run.uid, metrics.to_dict())
            case CheckpointWritten(step):
                await context.checkpoint()
                context.log(f"checkpoint at step {step}")
            case PatienceExhausted(total_steps):
                context.log(f"the held-out FVU no longer falls: the training ends at step {total_steps}")
            case Resumed(step):
                context.log(f"resumed at step {step}")
            case RowsEncoded(done, total):
                await context.progress(done, total, "rows", f"{run.display_name}: encoding all rows")
            case _:
                pass

    def _last_checkpoint(self, run: Run) -> Path | None:
        """The newest checkpoint of the run's attempts; each replaces the one before completely."""
        files = list((self._folder / run.folder).glob(f"*/{checkpoint.NAME}"))
        return max(files, key=lambda file: file.stat().st_mtime_ns) if files else None


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
