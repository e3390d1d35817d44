"""`prisma demo`: takes the sample through every step, with the wall time of each."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import typer

from prisma_client import sample
from prisma_client.aio import AsyncPrisma
from prisma_client.aio.datasets import Dataset
from prisma_client.aio.runs import Run
from prisma_client.cli import output
from prisma_client.cli.processes import StackError
from prisma_client.cli.stack import Stack, interrupted
from prisma_client.errors import AlreadyExists, PrismaError

DATASET = "python-stdlib"
RUN = "python-stdlib"
QUERY = "wait for a coroutine, but not longer than a timeout"
EXPECTED = "asyncio.tasks.wait_for"
"""A document that must be among the first hits of QUERY."""
INDEX_SECONDS = 60.0


async def run(data_dir: Path, leave: bool) -> int:
    """Starts the stack and takes the sample through it; then stays up, or with `leave` stops. Returns the status."""
    stack = Stack(data_dir, quiet=True)
    stop = interrupted()
    address = f"http://{stack.http}"
    start = time.perf_counter()
    try:
        with Step("start NATS and the five processes"):
            await stack.start()
        async with AsyncPrisma(address, os.environ.get("PRISMA_API_KEY")) as prisma:
            result = await Demonstration(prisma).run()
        typer.echo(f"{result}\n{time.perf_counter() - start:.1f} s in total")
        if not leave:
            typer.echo(_invitation(address))
            await stop.wait()
    except StackError as error:
        typer.echo(f"prisma: {error}", err=True)
        return 1
    except PrismaError as error:
        typer.echo(f"prisma: {error.message}", err=True)
        return 1
    finally:
        await stack.stop()
    return 0


class Step:
    """Prints a step's name and wall time when it ends."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, error: object, *_rest: object) -> None:
        seconds = time.perf_counter() - self._start
        typer.echo(f"{'failed' if error else 'done':<6} {self._name:<36} {seconds:6.1f} s")


class Demonstration:
    """The steps. Each can be repeated: existing results are used."""

    def __init__(self, prisma: AsyncPrisma) -> None:
        self._prisma = prisma

    async def run(self) -> str:
        """Takes the sample through all steps; returns a summary that a search has verified."""
        with Step("import the sample"):
            data = await self._import()
        with Step("embed it"):
            await data.embed()
        with Step("train a sparse autoencoder"):
            run = await self._train(data)
        with Step("compute statistics of its features"):
            if not (await run.interpretation()).statistics_revision:
                await run.compute_statistics()
        with Step("label them by keywords"):
            await run.label()
        with Step("group them into families"):
            if not (await run.interpretation()).family_count:
                await run.build_families()
        with Step("wait for the search index"):
            await self._wait_for_index(data)
        return await self._verify(data, run)

    async def _import(self) -> Dataset:
        try:
            data = await self._prisma.datasets.create(DATASET, dataset_id=DATASET, description=sample.DESCRIPTION)
        except AlreadyExists:
            data = await self._prisma.datasets.get(DATASET)
        documents = await asyncio.to_thread(lambda: list(sample.documents()))
        await data.add(documents)
        return data

    async def _train(self, data: Dataset) -> Run:
        """Trains the sample's run unless it is trained already."""
        try:
            run = await self._prisma.runs.create(data.id, run_id=RUN)
        except AlreadyExists:
            run = await self._prisma.runs.get(RUN)
        if run.message.state != run.message.STATE_TRAINED:
            await run.train()
        return run

    async def _wait_for_index(self, data: Dataset) -> None:
        """Waits until the index covers documents, vectors, codes and labels. Raises StackError."""
        expected = {"documents", "vectors", "codes", "labels"}
        for _ in range(int(INDEX_SECONDS * 10)):
            status = await data.index_status()
            if status.current and expected <= {stream.kind for stream in status.streams}:
                return
            await asyncio.sleep(0.1)
        raise StackError(f"the search index is not current after {INDEX_SECONDS:.0f} s; see the search's output above")

    async def _verify(self, data: Dataset, run: Run) -> str:
        interpretation = await run.interpretation()
        response = await data.search(QUERY, run=run, limit=5)
        keys = [hit.key for hit in response.hits]
        if EXPECTED not in keys or interpretation.labelled_count != interpretation.live_count:
            raise StackError(
                f"searched {QUERY!r}: expected {EXPECTED} among {keys}, and {interpretation.live_count} labels, "
                f"got {interpretation.labelled_count}"
            )
        families = sum([family.round == 1 async for family in run.families()])
        shared = "; ".join(feature.label or str(feature.index) for feature in response.hits[0].shared_features[:3])
        return (
            f"{run.message.row_count:,} texts, {interpretation.latent_count:,} latents of which "
            f"{interpretation.labelled_count - interpretation.unnamed_count:,} have a label that passed its test and "
            f"{interpretation.trust_counts.trusted:,} are trusted, "
            f"{families} families (with finer ones {interpretation.family_count}), held-out FVU "
            f"{output.held_out_fvu(run.message.metrics)}\n“{QUERY}” finds {keys[0]} in {response.milliseconds:.0f} ms: "
            f"they share the features {shared}"
        )


def _invitation(address: str) -> str:
    return (
        f"\nPRISMA is up: {address}\n"
        "Three things to try:\n"
        f"  {address}/runs/{RUN}/features           which features are there? sort, filter, open one\n"
        f"  {address}/runs/{RUN}/search?q=timeout   search, and see which features hits share with the query\n"
        f'  prisma explain {RUN} "Open a TLS socket"     which features are active in a text?\n'
        "Ctrl-C stops everything."
    )
