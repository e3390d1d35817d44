"""The command for the reports of imports."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prisma.embedder.v1.embedder_service_pb2 import Import
from prisma_client.cli import output
from prisma_client.cli.arguments import DatasetId
from prisma_client.cli.connection import connected
from prisma_client.errors import NotFound
from prisma_client.imports import Rejection

app = typer.Typer(rich_markup_mode=None)
_LAST = "last"


@app.command(epilog="Example: prisma imports reviews last --rejections rejected.csv")
def imports(
    dataset: DatasetId,
    import_id: Annotated[
        str | None, typer.Argument(metavar="[IMPORT]", help="Id of one import, or `last`.", show_default=False)
    ] = None,
    rejections: Annotated[
        Path | None, typer.Option(help="Write the rejected items to this file: CSV, or JSON lines (.jsonl).")
    ] = None,
) -> None:
    """List what imports did, or show one.

    With --rejections, the items that it rejected are written to a file.
    """
    if rejections is not None and import_id is None:
        raise typer.BadParameter("--rejections needs an import: its id, or `last`")
    with connected() as prisma:
        data = prisma.datasets.get(dataset)
        stored = data.imports()
        if import_id is None:
            output.show(stored, _IMPORT_COLUMNS, empty=f"nothing was imported into {dataset} yet")
            return
        record = next((one for one in stored if import_id == _LAST or one.name.endswith(f"/{import_id}")), None)
        if record is None:
            raise NotFound(f"{data.name} has no import {import_id!r}", code="NOT_FOUND")
        output.show_one(record, _import_lines(record))
        if rejections is not None:
            data.save_rejections(record.name, rejections, json_lines=rejections.suffix == ".jsonl")
            output.warn(f"{rejections}: {record.stored_rejection_count:,} rejected items")


def _import_state(message: Import) -> str:
    return Import.State.Name(message.state).removeprefix("STATE_").lower()


_IMPORT_COLUMNS: output.Columns = {
    "import": lambda message: message.name.rpartition("/")[2],
    "time": lambda message: message.create_time.ToDatetime().strftime("%Y-%m-%d %H:%M"),
    "file": lambda message: message.file_name,
    "state": _import_state,
    "added": lambda message: f"{message.added_count:,}",
    "updated": lambda message: f"{message.updated_count:,}",
    "skipped": lambda message: f"{message.skipped_count:,}",
    "rejected": lambda message: f"{message.rejected_count:,}",
}


def _import_lines(message: Import) -> list[str]:
    """What an import did, for people."""
    lines = [f"{title}: {cell(message)}" for title, cell in _IMPORT_COLUMNS.items() if cell(message)]
    reasons = [f"  {Rejection.Reason.Name(count.reason)}: {count.count:,}" for count in message.rejection_counts]
    lines += [reason.replace("REASON_", "").lower().replace("_", " ") for reason in reasons]
    if message.stored_rejection_count < message.rejected_count:
        lines.append(f"the first {message.stored_rejection_count:,} rejections are stored")
    lines += [f"error: {message.error.message}"] if message.HasField("error") else []
    return [*lines, *(f"note: {note}" for note in message.notes)]
