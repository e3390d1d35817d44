"""What the command line writes: tables on a terminal, JSON lines when piped, each error as one line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import typer
from google.protobuf import json_format
from google.protobuf.message import Message
from rich.console import Console
from rich.table import Table
from rich.text import Text

from prisma.trainer.v1.resources_pb2 import Metrics
from prisma_client.cli import INTERRUPTED as INTERRUPTED
from prisma_client.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    JobFailed,
    NotFound,
    PermissionDenied,
    PrismaError,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)
from prisma_common.structs import plain_number

USAGE = 2
UNAVAILABLE = 6
EXIT_CODES: Mapping[type[PrismaError], int] = {
    InvalidArgument: USAGE,
    NotFound: 3,
    AlreadyExists: 4,
    FailedPrecondition: 4,
    JobFailed: 5,
    ResourceExhausted: UNAVAILABLE,
    Unavailable: UNAVAILABLE,
    Unauthenticated: 7,
    PermissionDenied: 7,
}
EXIT_CODE_HELP = (
    "Exit codes: 0 success; 1 any other error; 2 invalid command or request, or no document of a file was imported; "
    "3 not found; 4 not possible in the current state; 5 a job failed or was cancelled; 6 a service is unreachable or "
    "a limit is reached; 7 API key missing or not sufficient; 130 interrupted."
)

Columns = Mapping[str, Callable[[Any], object]]
"""Column titles, and the cell of each for a row."""


def held_out_fvu(metrics: Metrics) -> str:
    """The held-out FVU with three digits; a dash where it was not measured, as with fewer than two held-out rows."""
    return f"{metrics.held_out_fvu:.3f}" if metrics.HasField("held_out_fvu") else "–"


def on_terminal() -> bool:
    """Whether standard output is a terminal."""
    return sys.stdout.isatty()


def show(rows: Iterable[Message | Mapping[str, Any]], columns: Columns, *, empty: str | None = None) -> None:
    """Prints a table of the columns on a terminal; each row in full as a JSON line when piped.

    empty: the sentence on standard error where there are no rows.
    """
    if on_terminal():
        count = _show_table(rows, columns)
    else:
        count = 0
        for count, row in enumerate(rows, 1):  # noqa: B007 - the count is used below
            typer.echo(json.dumps(to_json(row), ensure_ascii=False))
    if not count and empty is not None:
        warn(empty)


def _show_table(rows: Iterable[Message | Mapping[str, Any]], columns: Columns) -> int:
    """Prints a table, unless it is empty; returns the number of rows."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell(row))) for cell in columns.values()))
    if table.row_count:
        Console().print(table)
    return table.row_count


def show_one(row: Message | Mapping[str, Any], lines: Sequence[str]) -> None:
    """Prints some lines on a terminal; the row as one JSON line when piped."""
    if on_terminal():
        for line in lines:
            typer.echo(line)
    else:
        typer.echo(json.dumps(to_json(row), ensure_ascii=False))


def to_json(row: Message | Mapping[str, Any]) -> Mapping[str, Any]:
    """Converts a message to JSON; 64-bit integers become strings, as in proto3's JSON."""
    if isinstance(row, Message):
        return whole_numbers(json_format.MessageToDict(row, always_print_fields_with_no_presence=True))
    return row


def whole_numbers(value: Any) -> Any:
    """The same JSON with 7 in place of 7.0: metadata travels as doubles."""
    if isinstance(value, dict):
        return {key: whole_numbers(member) for key, member in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [whole_numbers(member) for member in cast("list[Any]", value)]
    return plain_number(value) if isinstance(value, float) else value


def warn(message: str) -> None:
    """Prints a line on standard error."""
    typer.echo(f"prisma: {message}", err=True)


def fail(error: PrismaError) -> typer.Exit:
    """Prints an error on standard error and returns the exit that stands for it."""
    warn(error.message)
    for field, description in error.violations:
        if description not in error.message:
            typer.echo(f"  {field}: {description}", err=True)
    return typer.Exit(next((code for kind, code in EXIT_CODES.items() if isinstance(error, kind)), 1))
