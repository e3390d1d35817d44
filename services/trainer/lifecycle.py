"""Runs from creation to deletion: what the servicer calls, and what it starts as jobs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from google.protobuf.message import Message

from prisma.common.v1.job_pb2 import Job
from prisma.trainer.v1 import trainer_service_pb2 as pb2
from prisma_common import names as resource_names
from services.chassis import names
from services.chassis.blobs import Blobs
from services.chassis.database import DatabaseUnavailable
from services.chassis.errors import InvalidArgument, PrismaError, Unavailable
from services.chassis.events import Events
from services.chassis.filters import Filter
from services.chassis.idempotency import Call
from services.chassis.jobs import Jobs
from services.chassis.threads import in_thread
from services.trainer.errors import NoPushStore, RunAlreadyTrained, RunNotTrained
from services.trainer.housekeeping import Housekeeping
from services.trainer.recipes import Recipe
from services.trainer.runs import CloneRequest, EncodingRequest, Import, NewRun, Run, RunRequest
from services.trainer.settings import SERVICE
from services.trainer.store import Store
from services.trainer.upstream import Embedder
from services.trainer.weight_import import ImportedWeights, WeightImports

WATCH_SECONDS = 0.5


class Runs:
    """Creates, trains, lists and deletes runs."""

    def __init__(
        self,
        *,
        store: Store,
        blobs: Blobs,
        embedder: Embedder,
        jobs: Jobs,
        events: Events,
        imports: WeightImports,
        housekeeping: Housekeeping,
        can_push: bool,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._embedder = embedder
        self._jobs = jobs
        self._events = events
        self._imports = imports
        self._housekeeping = housekeeping
        self._can_push = can_push

    async def create(self, request: RunRequest, call: Call | None) -> Run:
        """Creates a run on a dataset; its rows are fixed when its training starts.

        Raises DatasetNotEmbedded, DocumentsPending, RunExists, RequestIdReused, InvalidArgument.
        """
        earlier = await asyncio.to_thread(self._store.answered, call)
        if earlier is not None:
            return earlier
        dataset = await self._embedder.embedded_dataset(request.dataset, allow_pending=request.allow_pending)
        request.recipe.check(dataset.source.dimension)
        new = NewRun(
            source=dataset.source,
            recipe=request.recipe,
            run_id=request.run_id,
            display_name=request.display_name,
            description=request.description,
            tags=request.tags,
        )
        return await self._publish(await asyncio.to_thread(self._store.create, new, call))

    async def clone(self, request: CloneRequest, call: Call | None) -> Run:
        """Creates a run like another: on the same rows once these are fixed, with some settings changed.

        Raises RunNotFound, RunExists, RequestIdReused, InvalidArgument.
        """
        earlier = await asyncio.to_thread(self._store.answered, call)
        if earlier is not None:
            return earlier
        original = await self.run(request.original)
        if original.imported_from is not None:
            raise InvalidArgument.field("name", f"{original.name} was imported, so it has no recipe to clone")
        recipe = original.recipe.changed(request.changes)
        if original.config is not None:
            recipe = Recipe.like(original.config, request.changes)
        recipe.check(original.source.dimension)
        new = NewRun(
            source=original.source,
            recipe=recipe,
            run_id=request.run_id,
            display_name=request.display_name,
            description=original.description,
            tags=original.tags,
            selection=original.selection,
        )
        return await self._publish(await asyncio.to_thread(self._store.create, new, call))

    async def import_weights(self, request: RunRequest, chunks: AsyncIterator[bytes], request_id: str) -> Run:
        """Creates a run of weights from elsewhere.

        Raises InvalidWeights, FileTooLarge, DatasetNotEmbedded, RunExists, RequestIdReused, StorageFull.
        """
        dataset = await self._embedder.embedded_dataset(request.dataset, allow_pending=True)
        async with self._imports.receive(chunks) as upload:
            call = Call.of_bytes(request_id, "ImportWeights", f"{request}{upload.digest}".encode())
            earlier = await asyncio.to_thread(self._store.answered, call)
            if earlier is not None:
                return earlier
            async with self._imports.read(upload.path, dimension=dataset.source.dimension) as imported:
                new = NewRun(
                    source=dataset.source,
                    recipe=_recipe_of(imported),
                    run_id=request.run_id,
                    display_name=request.display_name,
                    imported=Import(origin=imported.layout, latent_count=imported.weights.latent_count),
                    uid=names.new_uid(),
                )
                run = await in_thread(self._keep_import, new, imported, call)
        return await self._publish(run)

    async def encode_dataset(self, message: pb2.EncodeDatasetRequest, request: EncodingRequest) -> Job:
        """Starts the encoding of what a run's dataset has new, or of another dataset, as a run with the same weights.

        Raises RunNotFound, RunNotTrained, DatasetNotEmbedded, InvalidArgument, RunExists, RequestIdReused, BlobDamaged.
        """
        run = await self.trained(request.run_id)
        if request.dataset in (None, run.source.dataset):
            resources = [run.name, run.source.dataset]
            return await self._submit(resource_names.ENCODE_DATASET, message, message.request_id, resources)
        call = Call.of(message.request_id, "EncodeDataset", message)
        copy = await asyncio.to_thread(self._store.answered, call)
        if copy is None:
            copy = await self._copy(run, request, call)
        request_id = f"encode/{copy.uid}" if message.request_id else ""  # another one once this copy was deleted
        training = pb2.TrainRunRequest(name=copy.name, request_id=request_id)
        return await self._submit(resource_names.TRAIN_RUN, training, request_id, [copy.name, copy.source.dataset])

    async def run(self, run_id: str) -> Run:
        """A run. Raises RunNotFound."""
        return await asyncio.to_thread(self._store.run, run_id)

    async def trained(self, run_id: str) -> Run:
        """A run that has weights. Raises RunNotFound, RunNotTrained."""
        run = await self.run(run_id)
        if not run.trained:
            raise await self._not_trained(run)
        return run

    def weights(self, run_id: str) -> str:
        """Path of a run's weights, for less than `trained` costs. Blocks. Raises RunNotFound, RunNotTrained."""
        path = self._store.weights(run_id)
        if path is None:
            name = f"runs/{run_id}"
            raise RunNotTrained(f"{name} has no weights yet; it must be trained first", metadata={"run": name})
        return path

    def known_weights(self, run_id: str) -> str | None:
        """As `weights`, if that needs no look into the database."""
        return self._store.known_weights(run_id)

    async def list(
        self, after: Sequence[Any] | None, limit: int, condition: Filter, *, show_deleted: bool
    ) -> list[Run]:
        """Runs, newest first, after the (create time, uid) of a page's last run."""
        return await asyncio.to_thread(lambda: self._store.runs(after, limit, condition, show_deleted=show_deleted))

    async def update(self, run_id: str, values: Mapping[str, Any]) -> Run:
        """Changes display name, description or tags. Raises RunNotFound."""
        return await asyncio.to_thread(lambda: self._store.change(run_id, **values))

    async def delete(self, run_id: str) -> Run:
        """Deletes a run and all that derives from it. Raises RunNotFound."""
        run = await self.run(run_id)
        tombstone = await asyncio.to_thread(self._store.delete, run_id)
        await self._events.publish(resource_names.RUN_DELETED, run.name)
        try:
            await self._jobs.cancel_for(run.name)
        except PrismaError:
            pass  # a job of a deleted run fails by itself: it can no longer commit
        await asyncio.to_thread(self._housekeeping.delete_files)
        return tombstone

    async def train(self, request: pb2.TrainRunRequest, run_id: str) -> Job:
        """Starts the training of a run; without a request id, returns the job that trains it already.

        Raises RunNotFound, RunAlreadyTrained, DatasetNotEmbedded, DocumentsPending, RequestIdReused.
        """
        run = await self.run(run_id)
        if not request.request_id:
            job = await self._jobs.active_for(run.name, resource_names.TRAIN_RUN)
            if job is not None:
                return job
            if run.trained:
                raise RunAlreadyTrained(
                    f"{run.name} is trained already; create a new run to train with other settings",
                    metadata={"run": run.name},
                )
        if run.selection is None and run.imported_from is None:
            await self._embedder.embedded_dataset(run.source.dataset, allow_pending=request.allow_pending_documents)
        return await self._submit(resource_names.TRAIN_RUN, request, request.request_id, [run.name, run.source.dataset])

    async def pause(self, run_id: str) -> Run:
        """Stops a run's training after a checkpoint. Raises RunNotFound."""
        run = await self.run(run_id)
        job = await self._jobs.active_for(run.name, resource_names.TRAIN_RUN)
        if job is not None:
            await self._jobs.cancel(job.name)
        return run

    async def sweep(self, request: pb2.SweepRunsRequest, recipes: Sequence[Recipe]) -> Job:
        """Starts a job that trains a run for each recipe.

        Raises DatasetNotEmbedded, DocumentsPending, RequestIdReused, InvalidArgument.
        """
        allow_pending = request.allow_pending_documents
        dataset = await self._embedder.embedded_dataset(request.dataset, allow_pending=allow_pending)
        for recipe in recipes:
            recipe.check(dataset.source.dimension)
        return await self._submit(resource_names.SWEEP_RUNS, request, request.request_id, [request.dataset])

    async def evaluate(self, request: pb2.EvaluateRunRequest, run_id: str) -> Job:
        """Starts the evaluation of a run. Raises RunNotFound, RunNotTrained, RequestIdReused."""
        run = await self.trained(run_id)
        return await self._submit(
            resource_names.EVALUATE_RUN, request, request.request_id, [run.name, run.source.dataset]
        )

    async def push(self, request: pb2.PushRunRequest, run_id: str) -> Job:
        """Starts copying a run to the object store. Raises RunNotFound, RunNotTrained, NoPushStore."""
        run = await self.trained(run_id)
        if not self._can_push:
            raise NoPushStore
        return await self._submit(resource_names.PUSH_RUN, request, request.request_id, [run.name])

    async def metrics(self, run_id: str, after_step: int) -> AsyncIterator[Mapping[str, Any]]:
        """Metrics after a step, in order, live until the training ends. Raises RunNotFound."""
        step = after_step
        while True:
            run = await self.run(run_id)
            is_training = not run.trained and await self._jobs.training_of(run.name, run.job) is not None
            for values in await asyncio.to_thread(self._store.metrics, run.uid, step):
                step = values["step"]
                yield values
            if not is_training:
                return
            await asyncio.sleep(WATCH_SECONDS)

    async def _not_trained(self, run: Run) -> RunNotTrained:
        """The error for a run without weights: names the job that trains it, where there is one."""
        try:
            job = await self._jobs.training_of(run.name, run.job)
        except Unavailable:
            job = None
        if job is None:
            return RunNotTrained(f"{run.name} has no weights yet; train it first", metadata={"run": run.name})
        return RunNotTrained(
            f"{run.name} has no weights yet: it is in training ({job.name})",
            metadata={"run": run.name, "job": job.name},
        )

    async def _submit(self, kind: str, request: Message, request_id: str, resources: Sequence[str]) -> Job:
        return await self._jobs.submit(SERVICE, kind, request, request_id=request_id, resources=resources)

    async def _publish(self, run: Run) -> Run:
        await self._events.publish(resource_names.RUN_CHANGED, run.name)
        return run

    async def _copy(self, run: Run, request: EncodingRequest, call: Call | None) -> Run:
        """A run of another dataset with the weights of one."""
        assert request.dataset is not None, "a run's own dataset needs no other run"
        source = (await self._embedder.embedded_dataset(request.dataset, allow_pending=True)).source
        if source.embedding_model != run.source.embedding_model:
            raise InvalidArgument.field(
                "dataset",
                f"{run.name} encodes vectors of {run.source.embedding_model}; those of {source.dataset} are of "
                f"{source.embedding_model}",
            )
        path = await asyncio.to_thread(self._blobs.local, run.weights)
        async with self._imports.read(path, dimension=source.dimension) as imported:
            new = NewRun(
                source=source,
                recipe=_recipe_of(imported),
                run_id=request.new_run_id,
                display_name=request.display_name or run.display_name,
                imported=Import(origin=run.name, latent_count=imported.weights.latent_count),
                uid=names.new_uid(),
            )
            copy = await in_thread(self._keep_import, new, imported, call)
        return await self._publish(copy)

    def _keep_import(self, new: NewRun, imported: ImportedWeights, call: Call | None) -> Run:
        config = new.recipe.resolve(row_count=1, dimension=new.source.dimension)
        data = imported.weights.to_bytes({"config": config.to_dict()})
        blob = self._blobs.put(f"runs/{new.uid}/imported.safetensors", [data])
        try:
            return self._store.create(new, call, blobs=[blob])
        except DatabaseUnavailable:  # perhaps it was committed; otherwise the blob is an orphan
            raise
        except BaseException:
            self._blobs.delete(blob.path)
            raise


def _recipe_of(imported: ImportedWeights) -> Recipe:
    weights = imported.weights
    return Recipe({"k": weights.k, "expansion": max(1, weights.latent_count // weights.dimension)})
