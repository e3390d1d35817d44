"""`prisma demo`: takes the sample through every step, with the wall time of each."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import typer

from prisma_client import sample
from prisma_client.aio import AsyncPrisma
from prisma_client.aio.datasets import Dataset
from prisma_client.aio.runs import Run
from prisma_client.cli import output
from prisma_client.cli.processes import StackError
from prisma_client.cli.steps import interpret, on_own_stack, step
from prisma_client.errors import AlreadyExists

DATASET = "python-stdlib"
QUERY = "wait for a coroutine, but not longer than a timeout"
EXPECTED = "asyncio.tasks.wait_for"
"""A document that must be among the first hits of QUERY."""
INDEX_SECONDS = 60.0


async def run(data_dir: Path, *, leave: bool) -> None:
    """Starts the stack and takes the sample through it; then stays up, or with `leave` stops. Raises typer.Exit."""
    start = time.perf_counter()

    async def demonstrate(address: str) -> None:
        async with AsyncPrisma(address) as prisma:
            result = await _demonstrate(prisma)
        typer.echo(f"{result}\n{time.perf_counter() - start:.1f} s in total")
        if not leave:
            typer.echo(_invitation(address))

    await on_own_stack(data_dir, demonstrate, leave=leave)


async def _demonstrate(prisma: AsyncPrisma) -> str:
    """Takes the sample through all steps; returns a summary that a search has verified."""
    with step("import the sample"):
        data = await _import(prisma)
    run = await interpret(prisma, data)
    with step("wait for the search index"):
        await _wait_for_index(data)
    return await _verify(data, run)


async def _import(prisma: AsyncPrisma) -> Dataset:
    try:
        data = await prisma.datasets.create(DATASET, dataset_id=DATASET, description=sample.DESCRIPTION)
    except AlreadyExists:
        data = await prisma.datasets.get(DATASET)
    documents = await asyncio.to_thread(lambda: list(sample.documents()))
    await data.add(documents, progress=False)
    return data


async def _wait_for_index(data: Dataset) -> None:
    """Waits until the index covers documents, vectors, codes and labels. Raises StackError."""
    expected = {"documents", "vectors", "codes", "labels"}
    for _ in range(int(INDEX_SECONDS * 10)):
        status = await data.index_status()
        if status.current and expected <= {stream.kind for stream in status.streams}:
            return
        await asyncio.sleep(0.1)
    raise StackError(f"the search index is not current after {INDEX_SECONDS:.0f} s; see the search's output above")


async def _verify(data: Dataset, run: Run) -> str:
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
        f"  {address}/runs/{DATASET}/features           which features are there? sort, filter, open one\n"
        f"  {address}/runs/{DATASET}/search?q=timeout   search, and see which features hits share with the query\n"
        f'  prisma explain {DATASET} "Open a TLS socket"     which features are active in a text?'
    )
