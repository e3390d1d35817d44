"""The steps from documents to named features, which `prisma demo` and `prisma try` share.

Each can be repeated: what exists already is used.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import typer

from prisma.common.v1.job_pb2 import Job
from prisma_client.aio import AsyncPrisma
from prisma_client.aio.datasets import Dataset
from prisma_client.aio.runs import Run
from prisma_client.cli import output
from prisma_client.cli.connection import Follower, reported
from prisma_client.cli.stack import Stack, http_url, interrupted, unless
from prisma_client.errors import AlreadyExists


@contextmanager
def step(name: str) -> Generator[Callable[[Job], None]]:
    """Prints a step's name and wall time when it ends; yields a callback that shows the progress of its job."""
    start = time.perf_counter()
    outcome = "failed"
    follower = Follower(name, transient=True)
    try:
        with follower.display():
            yield follower.update
        outcome = "done"
    finally:
        seconds = time.perf_counter() - start
        typer.echo(f"{outcome:<6} {name:<36} {seconds:6.1f} s", err=not output.on_terminal())


async def on_own_stack(data_dir: Path, work: Callable[[str], Awaitable[None]], *, leave: bool) -> None:
    """Starts a stack and awaits `work` on its address. The stack then runs until Ctrl-C; with `leave` it stops.

    Raises typer.Exit where something fails, or where Ctrl-C interrupts the work.
    """
    stack = Stack(data_dir, quiet=True)
    interrupt = asyncio.create_task(interrupted().wait())
    try:
        with reported():
            await _start(stack, interrupt)
            if not await unless(interrupt, work(http_url(stack.http))):
                output.warn("interrupted. What is done is kept: the same command continues from there")
                raise typer.Exit(output.INTERRUPTED)
            if not leave:
                typer.echo("\nCtrl-C stops PRISMA; `prisma up` starts it again with all of this.", err=True)
                await unless(interrupt, stack.run())
    finally:
        interrupt.cancel()
        await stack.stop()


async def _start(stack: Stack, interrupt: asyncio.Task[bool]) -> None:
    with step("start NATS and the five processes"):
        if not await unless(interrupt, stack.start()):
            raise typer.Exit(output.INTERRUPTED)


async def interpret(prisma: AsyncPrisma, data: Dataset) -> Run:
    """Embeds a dataset, and trains, labels and groups the features of a run of the same name; returns the run.

    Raises JobFailed and other PrismaErrors.
    """
    with step("embed") as progress:
        await data.embed(progress=progress)
    with step("train a sparse autoencoder") as progress:
        run = await _first_run(prisma, data)
        if run.message.state != run.message.STATE_TRAINED:
            await run.train(progress=progress)
    with step("compute statistics of its features") as progress:
        if not (await run.interpretation()).statistics_revision:
            await run.compute_statistics(progress=progress)
    with step("label them by keywords") as progress:
        await run.label(progress=progress)
    with step("group them into families") as progress:
        if not (await run.interpretation()).HasField("families_time"):
            await run.build_families(progress=progress)
    return run


async def _first_run(prisma: AsyncPrisma, data: Dataset) -> Run:
    """The dataset's first run; it is created if there is none, where possible with the dataset's id."""
    runs = await prisma.runs.list(data.id)
    if runs:
        return runs[-1]
    try:
        return await prisma.runs.create(data.id, run_id=data.id)
    except AlreadyExists:  # a run of another dataset
        return await prisma.runs.create(data.id)
