"""Arguments and options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from prisma_client.choices import TableFormat
from prisma_client.document_table import SUFFIXES
from prisma_common import names


def _id_in(collection: str) -> Callable[[str | None], str | None]:
    """Takes the id or the name of a resource, `id` or `collection/id`, and returns the id."""

    def check(value: str | None) -> str | None:
        key = value and value.removeprefix(f"{collection}/")
        if key is not None and not names.SEGMENT.fullmatch(key):
            raise typer.BadParameter(
                f"expected an id, or {collection}/ and an id: letters, digits and . _ ~ -, got {value!r}"
            )
        return key

    return check


dataset_id, run_id, job_id = _id_in("datasets"), _id_in("runs"), _id_in("jobs")
MAX_COUNT = 2**31 - 1
"""More than any setting of a training can be."""
DatasetId = Annotated[str, typer.Argument(metavar="DATASET", help="Id of the dataset.", callback=dataset_id)]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="Id of the run.", callback=run_id)]
NewModel = Annotated[
    str | None,
    typer.Option(help="Embedding model of a new dataset; `prisma models` lists them. Default: builtin, or given."),
]
Limit = Annotated[int, typer.Option(help="Maximum number of rows.", min=1)]
Detach = Annotated[bool, typer.Option("--detach", help="Start the job and return; `prisma jobs ID` follows it.")]
RequestId = Annotated[
    str | None, typer.Option(help="Repeated with the same id, the command does its work once.", show_default=False)
]


def check_suffix(file: Path, format: TableFormat | None) -> None:
    """Raises BadParameter where neither a format nor a file's name says how a table is written."""
    if format is None and file.suffix.lower() not in SUFFIXES:
        raise typer.BadParameter(
            f"the name of the file must end with one of {', '.join(SUFFIXES)}, or --format says how"
        )


OutputFile = Annotated[Path, typer.Argument(metavar="FILE", help="File to write.", dir_okay=False, writable=True)]
