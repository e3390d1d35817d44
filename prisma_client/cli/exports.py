"""Commands that write data to files."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import typer

from prisma_client.cli import output
from prisma_client.cli.arguments import DatasetId, OutputFile
from prisma_client.cli.connection import connected
from prisma_client.errors import ExportNotice

app = typer.Typer(rich_markup_mode=None)


@app.command(epilog="Example: prisma export-vectors reviews vectors.npy")
def export_vectors(dataset: DatasetId, file: OutputFile) -> None:
    """Write a dataset's vectors to a file.

    The file's name says how: .npy (the numbers, in the order of the documents), .npz (with their ids), or .parquet (id
    and vector). `prisma ingest` takes .npy and .parquet back.
    """
    with connected() as prisma:
        show(file, lambda: prisma.datasets.get(dataset).export_vectors(file))


def show(file: Path, export: Callable[[], int]) -> None:
    """Runs an export, which returns the size of its file, and prints what came of it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ExportNotice)
        size = export()
    output.show_one({"file": str(file), "bytes": size}, [f"{file}: {size:,} bytes"])
    for warning in caught:
        output.warn(str(warning.message))
