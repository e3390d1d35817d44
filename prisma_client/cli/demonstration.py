"""`prisma demo`: the sample, all the way, with a line and a wall time for each step."""

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
from prisma_client.cli.stack import Stack, StackError, interrupted
from prisma_client.errors import AlreadyExists, PrismaError

DATASET = "python-stdlib"
RUN = "python-stdlib-x4-k32"
QUERY = "wait for a coroutine, but not longer than a timeout"
EXPECTED = "asyncio.tasks.wait_for"
"""A document that must be among the first hits of QUERY."""
INDEX_SECONDS = 60.0


async def run(data_dir: Path, leave: bool) -> int:
    """Starts the stack, takes the sample through it, then stays up, or proves the result and stops."""
    stack = Stack(data_dir, quiet=True)
    stop = interrupted()
    address = f"http://{stack.http}"
    began = time.perf_counter()
    try:
        with Step("start NATS and the five processes"):
            await stack.start()
        async with AsyncPrisma(address, os.environ.get("PRISMA_API_KEY")) as prisma:
            proof = await Demonstration(prisma).run()
        typer.echo(f"{proof}\n{time.perf_counter() - began:.1f} s in all")
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
    """A step with its wall time in seconds."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, failed: object, *_rest: object) -> None:
        seconds = time.perf_counter() - self._began
        typer.echo(f"{'failed' if failed else 'done':<6} {self._name:<36} {seconds:6.1f} s")


class Demonstration:
    """The steps. Each can be done again: what is there already is used."""

    def __init__(self, prisma: AsyncPrisma) -> None:
        self._prisma = prisma

    async def run(self) -> str:
        """Takes the sample through all steps; returns a sentence that proves it by a search."""
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
            await self._indexed(data)
        return await self._proof(data, run)

    async def _import(self) -> Dataset:
        about = "Docstrings of the standard library of the running Python."
        try:
            data = await self._prisma.datasets.create(DATASET, dataset_id=DATASET, description=about)
        except AlreadyExists:
            data = await self._prisma.datasets.get(DATASET)
        documents = await asyncio.to_thread(lambda: list(sample.documents()))
        await data.add(documents)
        return data

    async def _train(self, data: Dataset) -> Run:
        """Trains the sample's run, and waits for its end; one that is trained already is used."""
        try:
            run = await self._prisma.runs.create(data.id, run_id=RUN)
        except AlreadyExists:
            run = await self._prisma.runs.get(RUN)
        if run.message.state != run.message.STATE_TRAINED:
            await run.train()
        return run

    async def _indexed(self, data: Dataset) -> None:
        """Waits until the index has reached what the owners have."""
        for _ in range(int(INDEX_SECONDS * 10)):
            status = await data.index_status()
            if status.current and {"documents", "vectors", "codes", "labels"} <= {each.kind for each in status.streams}:
                return
            await asyncio.sleep(0.1)
        raise StackError(f"the search index is not current after {INDEX_SECONDS:.0f} s; see the search's lines above")

    async def _proof(self, data: Dataset, run: Run) -> str:
        interpretation = await run.interpretation()
        answer = await data.search(QUERY, run=run, limit=5)
        first = [hit.key for hit in answer.hits]
        if EXPECTED not in first or interpretation.labelled_count != interpretation.live_count:
            raise StackError(
                f"searched {QUERY!r}: expected {EXPECTED} among {first}, and {interpretation.live_count} labels, "
                f"got {interpretation.labelled_count}"
            )
        shared = "; ".join(each.label for each in answer.hits[0].shared_features[:3])
        metrics = run.message.metrics
        return (
            f"{run.message.row_count:,} texts, {interpretation.latent_count:,} latents of which "
            f"{interpretation.labelled_count:,} have a label, {interpretation.family_count} families, held-out FVU "
            f"{metrics.held_out_fvu:.3f}\n“{QUERY}” finds {first[0]} in {answer.milliseconds:.0f} ms: "
            f"they share the features {shared}"
        )


def _invitation(address: str) -> str:
    return (
        f"\nPRISMA is up: {address}\n"
        "Three things to try:\n"
        f"  {address}/runs/{RUN}/features           what is in there? sort, filter, open a feature\n"
        f"  {address}/runs/{RUN}/search?q=timeout   search, and see which features hits share with the query\n"
        f'  prisma explain {RUN} "Open a TLS socket"     which features are active in a text\n'
        "Ctrl-C stops all."
    )
