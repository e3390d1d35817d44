"""The trainer's RPCs: each converts, calls and converts back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import TypeVar

import numpy as np
from google.api.httpbody_pb2 import HttpBody

from prisma.common.v1.job_pb2 import Job
from prisma.trainer.v1 import resources_pb2, trainer_service_pb2_grpc
from prisma.trainer.v1 import trainer_service_pb2 as pb2
from prisma_common import wire
from services.chassis.calls import Context
from services.chassis.idempotency import Call
from services.chassis.paging import Page
from services.trainer import messages, requests
from services.trainer.autoencoders import Autoencoders
from services.trainer.lifecycle import Runs
from services.trainer.store import Store

_Item = TypeVar("_Item")


class TrainerServicer(trainer_service_pb2_grpc.TrainerServiceServicer):
    """Runs, metrics, codes, weights."""

    def __init__(self, *, runs: Runs, autoencoders: Autoencoders, store: Store) -> None:
        self._runs = runs
        self._autoencoders = autoencoders
        self._store = store

    async def CreateRun(self, request: pb2.CreateRunRequest, context: Context) -> resources_pb2.Run:
        call = Call.of(request.request_id, "CreateRun", request)
        return messages.run(await self._runs.create(requests.new_run(request), call))

    async def CloneRun(self, request: pb2.CloneRunRequest, context: Context) -> resources_pb2.Run:
        call = Call.of(request.request_id, "CloneRun", request)
        return messages.run(await self._runs.clone(requests.clone(request), call))

    async def ImportWeights(
        self, request_iterator: AsyncIterator[pb2.ImportWeightsRequest], context: Context
    ) -> resources_pb2.Run:
        config = await requests.import_config(request_iterator)
        new_run, chunks = requests.weight_import(config), requests.chunks(request_iterator)
        return messages.run(await self._runs.import_weights(new_run, chunks, config.request_id))

    async def GetRun(self, request: pb2.GetRunRequest, context: Context) -> resources_pb2.Run:
        return messages.run(self._autoencoders.checked(await self._runs.run(requests.run_id(request.name))))

    async def ListRuns(self, request: pb2.ListRunsRequest, context: Context) -> pb2.ListRunsResponse:
        condition, show_deleted = requests.run_filter(request.filter), request.show_deleted
        bound_to = (request.filter, show_deleted)
        page = Page.keyset(
            request.page_size, request.page_token, columns=(datetime, str), bound_to=bound_to, default=50, maximum=1000
        )
        runs = await self._runs.list(page.after, page.size + 1, condition, show_deleted=show_deleted)
        return messages.runs([self._autoencoders.checked(run) for run in runs], page)

    async def UpdateRun(self, request: pb2.UpdateRunRequest, context: Context) -> resources_pb2.Run:
        run_id = requests.run_id(request.run.name, "run.name")
        return messages.run(await self._runs.update(run_id, requests.changes(request)))

    async def DeleteRun(self, request: pb2.DeleteRunRequest, context: Context) -> resources_pb2.Run:
        return messages.run(await self._runs.delete(requests.run_id(request.name)))

    async def TrainRun(self, request: pb2.TrainRunRequest, context: Context) -> Job:
        return await self._runs.train(request, requests.run_id(request.name))

    async def PauseRun(self, request: pb2.PauseRunRequest, context: Context) -> resources_pb2.Run:
        return messages.run(await self._runs.pause(requests.run_id(request.name)))

    async def SweepRuns(self, request: pb2.SweepRunsRequest, context: Context) -> Job:
        requests.dataset_name(request.dataset, "dataset")
        return await self._runs.sweep(request, requests.grid(request))

    async def EncodeDataset(self, request: pb2.EncodeDatasetRequest, context: Context) -> Job:
        return await self._runs.encode_dataset(request, requests.encoding_request(request))

    async def EvaluateRun(self, request: pb2.EvaluateRunRequest, context: Context) -> Job:
        return await self._runs.evaluate(request, requests.run_id(request.name))

    async def PushRun(self, request: pb2.PushRunRequest, context: Context) -> Job:
        return await self._runs.push(request, requests.run_id(request.name))

    async def CompareRuns(self, request: pb2.CompareRunsRequest, context: Context) -> pb2.CompareRunsResponse:
        min_cosine = requests.min_cosine(request)
        first = await self._runs.trained(requests.run_id(request.first, "first"))
        second = await self._runs.trained(requests.run_id(request.second, "second"))
        matching = await asyncio.to_thread(self._autoencoders.compare, first, second, min_cosine=min_cosine)
        return messages.comparison(matching)

    async def WatchMetrics(
        self, request: pb2.WatchMetricsRequest, context: Context
    ) -> AsyncIterator[resources_pb2.Metrics]:
        async for metrics in self._runs.metrics(requests.run_id(request.name), request.after_step):
            yield messages.metrics(metrics)

    async def Encode(self, request: pb2.EncodeRequest, context: Context) -> pb2.EncodeResponse:
        run, (rows, vectors) = requests.run_id(request.run, "run"), requests.vectors(request)
        path = self._runs.known_weights(run)
        encoding = self._autoencoders.encode_at_once(path, vectors, rows) if path is not None else None
        if encoding is None:
            encoding = await asyncio.to_thread(
                lambda: self._autoencoders.encode(self._runs.weights(run), vectors, rows)
            )
        return messages.encoding(encoding)

    async def Decode(self, request: pb2.DecodeRequest, context: Context) -> pb2.DecodeResponse:
        codes, run = requests.codes(request), await self._runs.trained(requests.run_id(request.run, "run"))
        return messages.reconstruction(await asyncio.to_thread(self._autoencoders.decode, run, codes), codes.rows)

    async def ReadCodes(self, request: pb2.ReadCodesRequest, context: Context) -> AsyncIterator[pb2.ReadCodesResponse]:
        run = await self._runs.trained(requests.run_id(request.run, "run"))
        selection = requests.code_selection(request)
        run, index = await asyncio.to_thread(self._store.code_index, run, selection)
        async for part in _in_threads(self._autoencoders.codes(run, index, selection)):
            yield messages.codes(part)

    async def ReadDecoder(
        self, request: pb2.ReadDecoderRequest, context: Context
    ) -> AsyncIterator[pb2.ReadDecoderResponse]:
        run = await self._runs.trained(requests.run_id(request.run, "run"))
        latents = np.arange(run.latent_count or 0, dtype=np.uint64)
        latents = latents[wire.within(latents, request.latent_ranges)]
        async for part in _in_threads(self._autoencoders.decoder(run, latents)):
            yield messages.decoder(part, run.uid)

    async def ExportWeights(self, request: pb2.ExportWeightsRequest, context: Context) -> AsyncIterator[HttpBody]:
        run = await self._runs.trained(requests.run_id(request.run, "run"))
        is_zip = request.layout == pb2.ExportWeightsRequest.LAYOUT_SAE_LENS
        parts = self._autoencoders.export_sae_lens(run) if is_zip else self._autoencoders.export(run)
        async for data in _in_threads(parts):
            yield HttpBody(content_type="application/zip" if is_zip else "application/octet-stream", data=data)


async def _in_threads(items: Iterator[_Item]) -> AsyncIterator[_Item]:
    """The items of an iterator that blocks."""
    while (item := await asyncio.to_thread(next, items, None)) is not None:
        yield item
