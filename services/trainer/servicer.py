"""The trainer's RPCs: convert, call, convert back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import grpc.aio
import numpy as np
from google.api.httpbody_pb2 import HttpBody

from prisma.common.v1.job_pb2 import Job
from prisma.trainer.v1 import resources_pb2, trainer_service_pb2_grpc
from prisma.trainer.v1 import trainer_service_pb2 as pb2
from prisma_common import wire
from services.chassis import names
from services.chassis.errors import InvalidArgument, PrismaError
from services.chassis.events import Events
from services.chassis.files import whole
from services.chassis.jobs import Jobs
from services.chassis.paging import Page
from services.trainer import convert, worker
from services.trainer.errors import (
    FileTooLarge,
    InvalidVector,
    InvalidWeights,
    NoPushStore,
    RunAlreadyTrained,
    RunNotTrained,
)
from services.trainer.runs import Run
from services.trainer.sae import comparing, exchange
from services.trainer.sae.codes import load_codes
from services.trainer.sae.config import Config
from services.trainer.sae.vectors import InvalidVectors
from services.trainer.sae.weights import Weights
from services.trainer.store import Store
from services.trainer.upstream import Embedder
from services.trainer.weights_files import sae_lens_zip

MAX_VECTORS = 8192
WATCH_SECONDS = 0.5
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class TrainerServicer(trainer_service_pb2_grpc.TrainerServiceServicer):
    """Runs, metrics, codes, weights."""

    def __init__(
        self,
        store: Store,
        folder: Path,
        embedder: Embedder,
        jobs: Jobs,
        events: Events,
        sweep: Callable[[], None],
        max_weights_bytes: int,
        pushes: bool,
    ) -> None:
        self._store = store
        self._folder = folder
        self._embedder = embedder
        self._jobs = jobs
        self._events = events
        self._sweep = sweep
        self._max_weights_bytes = max_weights_bytes
        self._pushes = pushes
        self._weights = lru_cache(maxsize=4)(self._load)

    async def CreateRun(self, request: pb2.CreateRunRequest, context: Context) -> resources_pb2.Run:
        wanted = convert.checked(request.run)
        if request.run_id:
            names.check_id(request.run_id, "run_id")
        names.parse("datasets/{dataset}", wanted.dataset, "run.dataset")
        source = await self._embedder.source(wanted.dataset)
        config = convert.config(wanted.config, source)
        made = await asyncio.to_thread(
            self._store.create,
            request.run_id,
            wanted.display_name,
            wanted.description,
            source,
            config,
            request.request_id,
            tags=wanted.tags,
        )
        await self._events.publish(worker.CHANGED, made.name)
        return convert.run(made)

    async def CloneRun(self, request: pb2.CloneRunRequest, context: Context) -> resources_pb2.Run:
        of = await self._run(request.name)
        if request.run_id:
            names.check_id(request.run_id, "run_id")
        if of.imported_from:
            raise InvalidArgument.field(
                "name", f"{of.name} was imported from elsewhere, so there is no recipe to clone"
            )
        config = convert.config(request.config, of.source, of.config)
        wanted = convert.checked(resources_pb2.Run(display_name=request.display_name))
        made = await asyncio.to_thread(
            self._store.create,
            request.run_id,
            wanted.display_name,
            of.description,
            of.source,
            config,
            request.request_id,
            tags=of.tags,
        )
        await self._events.publish(worker.CHANGED, made.name)
        return convert.run(made)

    async def ImportWeights(
        self, request_iterator: AsyncIterator[pb2.ImportWeightsRequest], context: Context
    ) -> resources_pb2.Run:
        first = await anext(request_iterator, None)
        if first is None or first.WhichOneof("message") != "config":
            raise InvalidArgument.field("config", "expected the first message of an import to be its config")
        wanted = first.config
        names.parse("datasets/{dataset}", wanted.dataset, "config.dataset")
        if wanted.run_id:
            names.check_id(wanted.run_id, "config.run_id")
        convert.checked(resources_pb2.Run(display_name=wanted.display_name))
        source = await self._embedder.source(wanted.dataset)
        data = await self._receive(request_iterator)
        try:
            weights, layout = await asyncio.to_thread(exchange.read, data)
        except exchange.UnknownLayout as error:
            raise InvalidWeights(f"the file: {error}") from error
        if weights.dimension != source.dimension:
            raise InvalidWeights(
                f"the weights take vectors of {weights.dimension} numbers, {wanted.dataset} has {source.dimension}"
            )
        uid = names.new_uid()
        made = await asyncio.to_thread(
            self._store.create,
            wanted.run_id,
            wanted.display_name,
            "",
            source,
            Config(k=weights.k, expansion=max(1, weights.latent_count // weights.dimension)),
            wanted.request_id,
            imported_from=layout,
            latent_count=weights.latent_count,
            uid=uid,
        )
        if made.uid == uid:
            await asyncio.to_thread(self._keep, made, weights)
        await self._events.publish(worker.CHANGED, made.name)
        return convert.run(made)

    async def GetRun(self, request: pb2.GetRunRequest, context: Context) -> resources_pb2.Run:
        return convert.run(await self._run(request.name))

    async def ListRuns(self, request: pb2.ListRunsRequest, context: Context) -> pb2.ListRunsResponse:
        bound = (request.filter, request.show_deleted)
        page = Page.of(request.page_size, request.page_token, bound_to=bound, default=50, maximum=1000)
        terms = convert.filter_terms(request.filter)
        found = await asyncio.to_thread(self._store.runs, page.after, page.size + 1, terms, request.show_deleted)
        response = pb2.ListRunsResponse(runs=[convert.run(each) for each in found[: page.size]])
        if len(found) > page.size:
            last = found[page.size - 1]
            response.next_page_token = page.next_token([last.create_time.isoformat(), last.uid])
        return response

    async def UpdateRun(self, request: pb2.UpdateRunRequest, context: Context) -> resources_pb2.Run:
        run_id = convert.run_id(request.run.name, "run.name")
        return convert.run(await asyncio.to_thread(lambda: self._store.change(run_id, **convert.changes(request))))

    async def DeleteRun(self, request: pb2.DeleteRunRequest, context: Context) -> resources_pb2.Run:
        tombstone = await asyncio.to_thread(self._store.delete, convert.run_id(request.name))
        await self._events.publish(worker.DELETED, request.name)
        try:
            await self._jobs.cancel_for(request.name)
        except PrismaError:
            pass  # a job of a deleted run ends by itself: nothing of it can be committed any more
        await asyncio.to_thread(self._sweep)
        return convert.run(tombstone)

    async def TrainRun(self, request: pb2.TrainRunRequest, context: Context) -> Job:
        run = await self._run(request.name)
        if not request.request_id and (running := await self._jobs.active_for(run.name, worker.TRAIN)):
            return running
        if run.trained and not request.request_id:
            raise RunAlreadyTrained(f"{run.name} is trained already; make a new run to train with other settings")
        return await self._jobs.submit(
            worker.SERVICE,
            worker.TRAIN,
            request,
            request_id=request.request_id,
            resources=[run.name, run.source.dataset],
        )

    async def PauseRun(self, request: pb2.PauseRunRequest, context: Context) -> resources_pb2.Run:
        run = await self._run(request.name)
        if running := await self._jobs.active_for(run.name, worker.TRAIN):
            await self._jobs.cancel(running.name)
        return convert.run(run)

    async def SweepRuns(self, request: pb2.SweepRunsRequest, context: Context) -> Job:
        names.parse("datasets/{dataset}", request.dataset, "dataset")
        source = await self._embedder.source(request.dataset)
        for each in convert.grid(request):
            convert.config(each, source)  # so that what is wrong is told now
        return await self._jobs.submit(
            worker.SERVICE, worker.SWEEP, request, request_id=request.request_id, resources=[request.dataset]
        )

    async def EvaluateRun(self, request: pb2.EvaluateRunRequest, context: Context) -> Job:
        run = await self._trained(request.name, "name")
        return await self._jobs.submit(
            worker.SERVICE,
            worker.EVALUATE,
            request,
            request_id=request.request_id,
            resources=[run.name, run.source.dataset],
        )

    async def PushRun(self, request: pb2.PushRunRequest, context: Context) -> Job:
        run = await self._trained(request.name, "name")
        if not self._pushes:
            raise NoPushStore
        return await self._jobs.submit(
            worker.SERVICE, worker.PUSH, request, request_id=request.request_id, resources=[run.name]
        )

    async def CompareRuns(self, request: pb2.CompareRunsRequest, context: Context) -> pb2.CompareRunsResponse:
        first, second = await self._trained(request.first, "first"), await self._trained(request.second, "second")
        if first.source.dimension != second.source.dimension:
            raise InvalidArgument.field(
                "second",
                f"expected a run on vectors of {first.source.dimension} numbers, got {second.source.dimension}",
            )
        same = request.min_cosine if request.HasField("min_cosine") else comparing.SAME
        if not 0 < same <= 1:
            raise InvalidArgument.field("min_cosine", f"expected more than 0, at most 1, got {same:g}")

        def compare() -> pb2.CompareRunsResponse:
            one, other = (comparing.directions(self._weights(each.attempt)) for each in (first, second))
            return convert.comparison(comparing.match(one, other, same=same))

        return await asyncio.to_thread(compare)

    async def WatchMetrics(
        self, request: pb2.WatchMetricsRequest, context: Context
    ) -> AsyncIterator[resources_pb2.Metrics]:
        step = request.after_step
        while True:
            run = await self._run(request.name)
            going = not run.trained and await self._in_training(run)
            for values in await asyncio.to_thread(self._store.metrics, run.uid, step):
                step = values["step"]
                yield convert.metrics(values)
            if not going:
                return
            await asyncio.sleep(WATCH_SECONDS)

    async def Encode(self, request: pb2.EncodeRequest, context: Context) -> pb2.EncodeResponse:
        run = await self._trained(request.run, "run")
        try:
            rows, vectors = wire.unpack_vectors(request.vectors)
        except wire.WireError as error:
            raise InvalidArgument.field("vectors", str(error)) from error
        if len(rows) > MAX_VECTORS:
            raise InvalidArgument.field("vectors", f"expected at most {MAX_VECTORS} vectors, got {len(rows)}")
        try:
            return await asyncio.to_thread(self._encode, run, rows, vectors)
        except InvalidVectors as error:
            raise InvalidVector(f"vectors: {error}", metadata={"row": str(error.row)}) from error

    async def ReadCodes(self, request: pb2.ReadCodesRequest, context: Context) -> AsyncIterator[pb2.ReadCodesResponse]:
        run = await self._trained(request.run, "run")
        sent = False
        for shard in run.shards if request.since_revision < run.revision else ():
            codes = await asyncio.to_thread(load_codes, self._folder / run.attempt / shard.name)
            wanted = wire.within(codes.rows, request.row_ranges) & (codes.rows >= np.uint64(request.start_row))
            codes = codes.take(np.flatnonzero(wanted))
            for part in wire.blocks_of(len(codes), 8 * int(np.diff(codes.indptr).max(initial=0)) + 12):
                piece = codes.slice(part.start, part.stop)
                yield pb2.ReadCodesResponse(codes=wire.pack_codes(piece), revision=run.revision, run_uid=run.uid)
                sent = True
        if not sent:
            yield pb2.ReadCodesResponse(revision=run.revision, run_uid=run.uid)

    async def ReadDecoder(
        self, request: pb2.ReadDecoderRequest, context: Context
    ) -> AsyncIterator[pb2.ReadDecoderResponse]:
        run = await self._trained(request.run, "run")
        weights = await asyncio.to_thread(self._weights, run.attempt)
        latents = np.arange(weights.latent_count, dtype=np.uint64)
        latents = latents[wire.within(latents, request.latent_ranges)]
        for part in wire.blocks_of(len(latents), 4 * weights.dimension):
            some = latents[part]
            directions = weights.W_dec[some.astype(np.intp)]
            directions = directions / np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-12)
            yield pb2.ReadDecoderResponse(directions=wire.pack_vectors(directions, some), run_uid=run.uid)

    async def ExportWeights(self, request: pb2.ExportWeightsRequest, context: Context) -> AsyncIterator[HttpBody]:
        run = await self._trained(request.run, "run")
        kind = "application/octet-stream"
        if request.layout == pb2.ExportWeightsRequest.LAYOUT_SAE_LENS:
            kind = "application/zip"
            data = await asyncio.to_thread(lambda: sae_lens_zip(run, self._weights(run.attempt)))
        else:
            data = await asyncio.to_thread((self._folder / run.attempt / "weights.safetensors").read_bytes)
        for start in range(0, len(data), wire.BLOCK_BYTES):
            yield HttpBody(content_type=kind, data=data[start : start + wire.BLOCK_BYTES])

    async def _receive(self, messages: AsyncIterator[pb2.ImportWeightsRequest]) -> bytes:
        """The file's chunks, in memory: weights must fit there anyway. Raises FileTooLarge."""
        data = bytearray()
        async for message in messages:
            if message.WhichOneof("message") != "chunk":
                raise InvalidArgument.field("chunk", "expected chunks of the file after the config")
            data += message.chunk
            if len(data) > self._max_weights_bytes:
                raise FileTooLarge(
                    f"the file has more than {self._max_weights_bytes} bytes",
                    metadata={"limit": str(self._max_weights_bytes)},
                )
        return bytes(data)

    def _keep(self, run: Run, weights: Weights) -> None:
        target = self._folder / run.imported
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole(target) as file:
            file.write(weights.to_bytes({"config": run.config.to_dict()}))

    def _load(self, attempt: str) -> Weights:
        return Weights.load(self._folder / attempt / "weights.safetensors")

    def _encode(self, run: Run, rows: wire.Rows, vectors: wire.Vectors) -> pb2.EncodeResponse:
        weights = self._weights(run.attempt)
        indices, values = weights.encode_dense(vectors)
        return pb2.EncodeResponse(
            codes=wire.pack_codes(weights.sparse(indices, values, rows)),
            unexplained_fractions=weights.unexplained(vectors, indices, values).tolist(),
        )

    async def _in_training(self, run: Run) -> bool:
        """Whether a job trains it: its own, or a sweep."""
        if await self._jobs.active_for(run.name, worker.TRAIN):
            return True
        return bool(run.job) and (await self._jobs.get(run.job)).state in (Job.STATE_SUBMITTED, Job.STATE_RUNNING)

    async def _run(self, name: str, field: str = "name") -> Run:
        return await asyncio.to_thread(self._store.run, convert.run_id(name, field))

    async def _trained(self, name: str, field: str) -> Run:
        run = await self._run(name, field)
        if not run.trained:
            raise RunNotTrained(f"{run.name} has no weights yet; train it first")
        return run
