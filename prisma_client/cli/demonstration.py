"""`prisma demo`: the sample, all the way, with a line and a wall time for each step."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
import typer

from prisma.common.v1 import job_pb2, job_pb2_grpc
from prisma.embedder.v1 import embedder_service_pb2 as pb2
from prisma.embedder.v1 import embedder_service_pb2_grpc, resources_pb2
from prisma.trainer.v1 import resources_pb2 as trainer_resources
from prisma.trainer.v1 import trainer_service_pb2 as trainer_pb2
from prisma.trainer.v1 import trainer_service_pb2_grpc
from prisma_client import sample, wire
from prisma_client.cli.stack import Stack, StackError, interrupted

DATASET = "python-stdlib"
RUN = "python-stdlib-x4-k32"
_CHUNK = 1 << 20


async def run(data_dir: Path, leave: bool) -> int:
    """Starts the stack, takes the sample through it, then stays up, or proves the result and stops."""
    stack = Stack(data_dir)
    stop = interrupted()
    try:
        with Step("start NATS and the services"):
            await stack.start()
        async with (
            grpc.aio.insecure_channel(stack.addresses["embedder"]) as embedder,
            grpc.aio.insecure_channel(stack.addresses["trainer"]) as trainer,
        ):
            proof = await Demonstration(embedder, trainer).run()
        typer.echo(proof)
        if not leave:
            typer.echo(f"gRPC: {', '.join(f'{name} {at}' for name, at in stack.addresses.items())}; Ctrl-C stops all")
            await stop.wait()
    except StackError as error:
        typer.echo(f"prisma: {error}", err=True)
        return 1
    except grpc.aio.AioRpcError as error:
        typer.echo(f"prisma: {error.details()}", err=True)
        return 1
    finally:
        await stack.stop()
    return 0


class Step:
    """A step with its wall time in seconds."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, failed: object, *_rest: object) -> None:
        seconds = time.perf_counter() - self._began
        typer.echo(f"{'failed' if failed else 'done':<6} {self._name:<32} {seconds:6.1f} s")


class Demonstration:
    """The steps. Each can be done again: what is there already is used."""

    def __init__(self, embedder: grpc.aio.Channel, trainer: grpc.aio.Channel) -> None:
        self._embedder = embedder_service_pb2_grpc.EmbedderServiceStub(embedder)
        self._trainer = trainer_service_pb2_grpc.TrainerServiceStub(trainer)
        self._jobs = job_pb2_grpc.JobServiceStub(embedder)

    async def run(self) -> str:
        """Imports, embeds and trains the sample; returns a sentence that proves it."""
        with Step("import the sample"):
            await self._import()
        with Step("embed it"):
            job = await self._embedder.EmbedDataset(pb2.EmbedDatasetRequest(name=f"datasets/{DATASET}"))
            await self._finish(job)
        with Step("train a sparse autoencoder"):
            run = await self._train()
        text = next(each["text"] for each in sample.documents() if each["id"] == "asyncio.tasks.wait_for")
        embedded = await self._embedder.EmbedTexts(pb2.EmbedTextsRequest(embedding_model="builtin", texts=[text]))
        encoded = await self._trainer.Encode(trainer_pb2.EncodeRequest(run=run.name, vectors=embedded.vectors))
        active = len(wire.unpack_codes(encoded.codes).indices)
        if not 0 < active <= run.config.k:
            raise StackError(f"a text has {active} active latents, expected 1 to {run.config.k}")
        return (
            f"{run.name}: {run.row_count:,} texts, {encoded.codes.latent_count:,} latents, held-out FVU "
            f"{run.metrics.held_out_fvu:.3f}, {run.metrics.dead_count} dead. {active} latents explain "
            f"{1 - encoded.unexplained_fractions[0]:.0%} of asyncio.tasks.wait_for"
        )

    async def _train(self) -> trainer_resources.Run:
        """Trains the sample's run, and waits for its end; one that is trained already is used."""
        wanted = trainer_resources.Run(dataset=f"datasets/{DATASET}")
        try:
            await self._trainer.CreateRun(trainer_pb2.CreateRunRequest(run_id=RUN, run=wanted))
        except grpc.aio.AioRpcError as error:
            if error.code() != grpc.StatusCode.ALREADY_EXISTS:
                raise
        run = await self._trainer.GetRun(trainer_pb2.GetRunRequest(name=f"runs/{RUN}"))
        if run.state != trainer_resources.Run.STATE_TRAINED:
            await self._finish(await self._trainer.TrainRun(trainer_pb2.TrainRunRequest(name=run.name)))
        return await self._trainer.GetRun(trainer_pb2.GetRunRequest(name=run.name))

    async def _import(self) -> None:
        wanted = resources_pb2.Dataset(
            display_name=DATASET, description="Docstrings of the standard library of the running Python."
        )
        try:
            await self._embedder.CreateDataset(pb2.CreateDatasetRequest(dataset_id=DATASET, dataset=wanted))
        except grpc.aio.AioRpcError as error:
            if error.code() != grpc.StatusCode.ALREADY_EXISTS:
                raise
        await self._embedder.ImportDocuments(self._file())

    async def _file(self) -> AsyncIterator[pb2.ImportDocumentsRequest]:
        config = pb2.ImportDocumentsRequest.Config(dataset=f"datasets/{DATASET}")
        yield pb2.ImportDocumentsRequest(config=config)
        data = await asyncio.to_thread(lambda: json.dumps(list(sample.documents())).encode())
        for start in range(0, len(data), _CHUNK):
            yield pb2.ImportDocumentsRequest(chunk=data[start : start + _CHUNK])

    async def _finish(self, started: job_pb2.Job) -> None:
        job = started
        async for seen in self._jobs.WatchJob(job_pb2.WatchJobRequest(name=started.name)):
            job = seen
        if job.state != job_pb2.Job.STATE_SUCCEEDED:
            raise StackError(f"{job.kind} ended as {job_pb2.Job.State.Name(job.state)}: {job.error.message}")
