"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DatasetId = Annotated[str, typer.Argument(metavar="DATASET", help="Id of the dataset.")]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="Id of the run.")]
Model = Annotated[str, typer.Option(help="Embedding model of a new dataset; `prisma models` lists them.")]
Limit = Annotated[int, typer.Option(help="Maximum number of rows.", min=1)]
Detach = Annotated[bool, typer.Option("--detach", help="Start the job and return; `prisma jobs ID` follows it.")]
RequestId = Annotated[
    str | None, typer.Option(help="Repeated with the same id, the command does its work once.", show_default=False)
]
OutputFile = Annotated[Path, typer.Argument(metavar="FILE", help="File to write.", dir_okay=False, writable=True)]
