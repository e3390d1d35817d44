"""Jobs of the trainer."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import Any

from prisma.trainer.v1.trainer_service_pb2 import TrainRunRequest
from services.chassis import names
from services.chassis.blobs import Blobs
from services.chassis.events import Events
from services.chassis.job_context import JobContext
from services.chassis.job_worker import JobKind
from services.trainer import process
from services.trainer.child import Spec
from services.trainer.runs import Run
from services.trainer.sae import checkpoint
from services.trainer.store import Store
from services.trainer.upstream import Embedder
from services.trainer.vector_files import VectorFiles

SERVICE = "trainer"
TRAIN = "train-run"
CHANGED = "run.changed"
DELETED = "run.deleted"


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
        ack_wait: float,
    ) -> None:
        self._store = store
        self._files = files
        self._device = device
        self._blobs = blobs
        self._folder = folder
        self._embedder = embedder
        self._events = events
        self._ack_wait = ack_wait

    def kinds(self) -> list[JobKind]:
        """The kinds, for the worker: one training at a time, the rest wait in the queue."""
        return [JobKind(SERVICE, TRAIN, TrainRunRequest, self.train, self._ack_wait)]

    async def train(self, request: TrainRunRequest, context: JobContext) -> None:
        """Trains a run in a process of its own, from the last checkpoint, and commits weights and codes."""
        run = await asyncio.to_thread(self._store.run, names.parse("runs/{run}", request.name, "name")[0])
        if run.trained:
            return
        await context.progress(0, 0, "vectors", "reading vectors")
        fingerprint = run.fingerprint
        if self._files.of(fingerprint) is None:
            fingerprint = await self._embedder.pull(run.source, self._files, context.progress)
        data = self._files.of(fingerprint)
        assert data is not None
        await context.prove()
        await asyncio.to_thread(
            self._store.change, run.id, run.uid, job=context.job.name, fingerprint=fingerprint, device=self._device
        )
        attempt = names.new_uid()
        path = f"runs/{run.uid}/{attempt}"
        spec = Spec(
            vectors=str(data),
            config=run.config.to_dict(),
            folder=str(self._folder / path),
            resume=await asyncio.to_thread(self._last_checkpoint, run.uid),
            device=self._device,
        )
        (self._folder / path).mkdir(parents=True)
        shards: list[str] = []
        async with aclosing(process.train(spec)) as messages:
            async for message in messages:
                shards = await self._hear(run, message, context) or shards
        await context.prove()
        done = await asyncio.to_thread(self._store.commit, run, path, shards)
        for old in (self._folder / f"runs/{run.uid}").iterdir():
            if f"runs/{run.uid}/{old.name}" != done.attempt:
                await asyncio.to_thread(self._blobs.delete, f"runs/{run.uid}/{old.name}")
        await self._events.publish(CHANGED, run.name, done.revision)

    async def _hear(self, run: Run, message: dict[str, Any], context: JobContext) -> list[str]:
        """Takes in what the training process says; returns the shards it has written at its end."""
        if metrics := message.get("metrics"):
            await context.progress(metrics["step"], metrics["total_steps"], "steps", f"epoch {metrics['epoch']:.1f}")
            await asyncio.to_thread(self._store.add_metrics, run.uid, metrics)
        elif "checkpoint" in message:
            await context.checkpoint()
            context.log(f"checkpoint at step {message['checkpoint']}")
        elif "patience" in message:
            context.log(f"the held-out FVU falls no more: the training ends at step {message['patience']}")
        elif "resumed" in message:
            context.log(f"resumed at step {message['resumed']}")
        return message.get("done", {}).get("shards", [])

    def _last_checkpoint(self, uid: str) -> str:
        """The newest checkpoint of the run's attempts; each replaces the one before as a whole."""
        found = list((self._folder / f"runs/{uid}").glob(f"*/{checkpoint.NAME}"))
        return str(max(found, key=lambda file: file.stat().st_mtime_ns)) if found else ""
