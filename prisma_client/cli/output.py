"""What the command line writes: tables and bars on a terminal, JSON lines when piped, errors as one line each."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from google.protobuf import json_format
from google.protobuf.message import Message
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from prisma.common.v1.job_pb2 import Job
from prisma_client.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    JobFailed,
    NotFound,
    PermissionDenied,
    PrismaError,
    Unauthenticated,
    Unavailable,
)

EXIT_CODES: Mapping[type[Exception], int] = {
    JobFailed: 5,
    InvalidArgument: 2,
    NotFound: 3,
    AlreadyExists: 4,
    FailedPrecondition: 4,
    Unavailable: 6,
    Unauthenticated: 7,
    PermissionDenied: 7,
}
"""1 any other error · 2 wrong use or request · 3 not found · 4 not in this state · 5 a job failed · 6 something does
not answer · 7 no key, or not allowed."""


Columns = Mapping[str, Callable[[Any], object]]
"""Titles of columns, and what stands in each for a row."""


def on_terminal() -> bool:
    """Whether people look on."""
    return sys.stdout.isatty()


def show(rows: Iterable[Message | Mapping[str, Any]], columns: Columns) -> None:
    """A table of the columns on a terminal; all of each row as a JSON line when piped."""
    if not on_terminal():
        for row in rows:
            typer.echo(json.dumps(plain(row), ensure_ascii=False))
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(str(pick(row)) for pick in columns.values()))
    Console().print(table)


def show_one(row: Message | Mapping[str, Any], lines: Sequence[str]) -> None:
    """Some lines on a terminal; all as one JSON line when piped."""
    if on_terminal():
        for line in lines:
            typer.echo(line)
    else:
        typer.echo(json.dumps(plain(row), ensure_ascii=False))


def plain(row: Message | Mapping[str, Any]) -> Mapping[str, Any]:
    """A message as JSON; long integers are strings, as proto3 JSON has them."""
    if isinstance(row, Message):
        return json_format.MessageToDict(row, always_print_fields_with_no_presence=True)
    return row


@contextmanager
def bar(title: str) -> Generator[Callable[[Job], None]]:
    """A progress bar on a terminal; when piped, a JSON line for each change."""
    if not on_terminal():
        yield lambda job: typer.echo(json.dumps(plain(job), ensure_ascii=False))
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[told]}"),
    )
    with Progress(*columns) as progress:
        task = progress.add_task(title, total=None, told="")

        def update(job: Job) -> None:
            now = job.progress
            progress.update(task, total=now.total or None, completed=now.done, told=now.message[:60])

        yield update


def fail(error: PrismaError) -> typer.Exit:
    """Says an error on standard error; returns the exit that means it."""
    typer.echo(f"prisma: {error.message}", err=True)
    for field, description in error.violations:
        typer.echo(f"  {field}: {description}", err=True)
    return typer.Exit(next((code for kind, code in EXIT_CODES.items() if isinstance(error, kind)), 1))
