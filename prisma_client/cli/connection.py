"""The connection of a command to the gateway, and the jobs that it follows."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from prisma.common.v1.job_pb2 import Job
from prisma_client.cli import output
from prisma_client.cli.processes import StackError
from prisma_client.cli.stack import configured_addresses, http_url
from prisma_client.errors import PrismaError
from prisma_client.libraries import MissingLibrary
from prisma_client.sync import Prisma
from prisma_client.sync.jobs import TERMINAL


@contextmanager
def connected() -> Generator[Prisma]:
    """Yields a client; errors end the command as `reported` says."""
    with reported(), Prisma(gateway_url()) as prisma:
        yield prisma


def gateway_url() -> str:
    """The gateway's address: PRISMA_URL, or where the local stack listens."""
    return os.environ.get("PRISMA_URL") or http_url(configured_addresses()["http"])


@contextmanager
def reported() -> Generator[None]:
    """Errors end the command with one line and the exit code that stands for them."""
    try:
        yield
    except StackError as error:
        output.warn(str(error))
        raise typer.Exit(1) from None
    except PrismaError as error:
        raise output.fail(error) from None
    except MissingLibrary as error:
        output.warn(str(error))
        raise typer.Exit(1) from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        output.warn(f"{error.filename}: {reason}" if error.filename else reason)
        raise typer.Exit(1) from None
    except UnicodeError:
        output.warn("an argument or option has bytes that are not UTF-8")
        raise typer.Exit(output.USAGE) from None
    except (TypeError, ValueError) as error:
        output.warn(str(error))
        raise typer.Exit(output.USAGE) from None


@contextmanager
def following(title: str, job: Job | None = None, *, transient: bool = False) -> Generator[Callable[[Job], None]]:
    """Yields a callback for a job's changes: a progress bar on a terminal, JSON lines when piped.

    A job that waits for an unreachable service is reported on standard error, with the reason. Ctrl-C ends the
    command, not the job; the message says how to follow or cancel it. job: as far as it is known already.
    transient: as for `Follower`.
    """
    follower = Follower(title, job, transient=transient)
    try:
        with follower.display():
            yield follower.update
    except KeyboardInterrupt:
        output.warn(follower.farewell())
        raise typer.Exit(output.INTERRUPTED) from None


class Follower:
    """Shows the progress of a job. transient: the bar vanishes at the end, and nothing is printed when piped."""

    def __init__(self, title: str, job: Job | None = None, *, transient: bool = False) -> None:
        self._title = title
        self._transient = transient
        self._job = job
        self._bar: Progress | None = None
        self._waiting_for: str | None = None

    @contextmanager
    def display(self) -> Generator[None]:
        """Shows the progress bar meanwhile, on a terminal."""
        if not output.on_terminal():
            yield
            return
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[message]}", markup=False),
        )
        with Progress(*columns, transient=self._transient) as self._bar:
            self._task = self._bar.add_task(self._title, total=None, message="")
            yield

    def update(self, job: Job) -> None:
        """Shows the job's current state."""
        self._job = job
        self._report_waiting(job)
        if self._bar is None:
            if self._transient:
                return
            typer.echo(json.dumps(output.to_json(job), ensure_ascii=False))
            return
        message = waiting_text(job) or (bottleneck_text(job) if job.state == Job.STATE_SUBMITTED else "")
        message = message or job.progress.message
        self._bar.update(
            self._task, total=job.progress.total or None, completed=job.progress.done, message=message[:80]
        )

    def farewell(self) -> str:
        """Returns what an interrupted user should know about the job."""
        if self._job is None:
            return "interrupted. A job that was started continues: `prisma jobs` lists it"
        name = self._job.name.removeprefix("jobs/")
        return (
            f"interrupted. The job continues: `prisma jobs {name}` follows it, `prisma jobs {name} --cancel` cancels it"
        )

    def _report_waiting(self, job: Job) -> None:
        reason = job.error.message if job.state == Job.STATE_WAITING else None
        if reason is not None and reason != self._waiting_for:
            output.warn(f"{job.kind} is waiting: {reason}")
        self._waiting_for = reason


def waiting_text(job: Job) -> str | None:
    """Returns what a WAITING job waits for and when it is tried next; None for a job in any other state."""
    if job.state != Job.STATE_WAITING:
        return None
    text = f"waiting: {job.error.message}"
    if not job.HasField("retry_time"):
        return text
    seconds = (job.retry_time.ToDatetime(UTC) - datetime.now(UTC)).total_seconds()
    return f"{text}; next attempt in {max(0, round(seconds))} s"


def bottleneck_text(job: Job) -> str:
    """Returns why a job that has not ended takes its time; empty where nothing is known."""
    return "" if job.state in TERMINAL else job.bottleneck.explanation


def finish(prisma: Prisma, job: Job, *, title: str, detach: bool) -> None:
    """Follows a job to its end, and waits for the search index; says with `detach` that it has started.

    Raises JobFailed.
    """
    if detach:
        name = job.name.removeprefix("jobs/")
        output.show_one(job, [f"{job.name} has started; `prisma jobs {name}` follows it"])
        return
    with following(title, job) as progress:
        ended = prisma.jobs.wait(job.name, progress)
    try:
        is_indexed = prisma.jobs.wait_for_index(ended)
    except KeyboardInterrupt:
        output.warn("interrupted. The job has ended; the search index is still catching up with it")
        raise typer.Exit(output.INTERRUPTED) from None
    if not is_indexed:
        output.warn("the search index has not caught up yet; until then, searches say what is missing")
