"""Commands for the labels of a run as a file."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated

import typer

from prisma.interpreter.v1.interpreter_service_pb2 import ImportLabelsResponse
from prisma_client.choices import TableFormat
from prisma_client.cli import exports, output
from prisma_client.cli.arguments import OutputFile, RunId, check_suffix
from prisma_client.cli.connection import connected
from prisma_client.errors import SomeLabelsRejected
from prisma_client.imports import OnDuplicate

app = typer.Typer(help="Export and import the labels of a run.", no_args_is_help=True, rich_markup_mode=None)
_MAX_ROWS = 20
"""Changes and rejections on a terminal."""


@app.command("export", epilog="Example: prisma labels export first labels.csv")
def export_labels(
    run: RunId,
    file: OutputFile,
    format: Annotated[
        TableFormat | None, typer.Option(help="How the table is written; by default as the name of the file ends.")
    ] = None,
    history: Annotated[bool, typer.Option("--history", help="Also labels that are not active any more.")] = False,
    byte_order_mark: Annotated[
        bool, typer.Option("--byte-order-mark", help="Begin a CSV file with one, which Excel needs to read UTF-8.")
    ] = False,
    keep_formulas: Annotated[
        bool,
        typer.Option("--keep-formulas", help="Leave texts in a CSV file as they are that a spreadsheet would run."),
    ] = False,
) -> None:
    """Write the labels of a run to a file.

    It has a row for each label: index, label, description, who wrote it, trust, score, and which weights it is for. It
    is CSV, JSON lines, Parquet or Arrow, by its name. `prisma labels import` takes CSV and JSON lines.
    """
    check_suffix(file, format)
    with connected() as prisma:
        exports.show(
            file,
            lambda: prisma.runs.get(run).export_labels(
                file,
                format=format,
                include_history=history,
                byte_order_mark=byte_order_mark,
                keep_formulas=keep_formulas,
            ),
        )


@app.command("import", epilog="Example: prisma labels import first labels.csv --dry-run")
def import_labels(
    run: RunId,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV or JSON lines.", dir_okay=False, exists=True)],
    on_duplicate: Annotated[
        OnDuplicate, typer.Option(help="What to do with a label of a feature that has another one.")
    ] = "replace",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be written.")] = False,
    ignore_weights: Annotated[
        bool, typer.Option("--ignore-weights", help="Also take labels of a run with other latents, by index.")
    ] = False,
) -> None:
    """Write the labels of a file to the features of a run.

    The file is a table with the columns index and label, and where there are any description, source, model and author.
    The same file again changes nothing. Exits with 2 if all of its rows are rejected.
    """
    with connected() as prisma, warnings.catch_warnings():
        warnings.simplefilter("ignore", SomeLabelsRejected)  # the summary below says the same
        report = prisma.runs.get(run).import_labels(
            file, on_duplicate=on_duplicate, validate_only=dry_run, ignore_weights=ignore_weights
        )
    output.show_one(report, _lines(report, dry_run=dry_run))
    for rejection in report.rejections[:_MAX_ROWS]:
        output.warn(f"row {rejection.item}: {rejection.message}")
    if report.rejected_count > _MAX_ROWS:
        output.warn(f"… and {report.rejected_count - _MAX_ROWS:,} more rows")
    if report.added_count and not dry_run:
        output.warn(f"`prisma score-labels {run}` tests the new labels; until then no feature with one is trusted")
    if report.rejected_count and not (report.added_count or report.unchanged_count or report.skipped_count):
        raise typer.Exit(output.USAGE)


def _lines(report: ImportLabelsResponse, *, dry_run: bool) -> list[str]:
    """What an import did, for people."""
    verb = "would be written" if dry_run else "written"
    lines = [
        f"{report.added_count:,} labels {verb}, {report.unchanged_count:,} unchanged, "
        f"{report.skipped_count:,} left out, {report.rejected_count:,} rejected"
    ]
    lines += [f"note: {note}" for note in report.notes]
    for change in report.changes[:_MAX_ROWS]:
        before = f"   (was: {change.previous_text})" if change.previous_text else ""
        lines.append(f"{change.index:>7}  {change.text}{before}")
    if report.added_count > _MAX_ROWS:
        lines.append(f"      …  and {report.added_count - _MAX_ROWS:,} more")
    return lines
