"""`prisma import-v2`: takes over what an installation of PRISMA v2 has."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from prisma_client.cli import output
from prisma_client.cli.connection import connected, following
from prisma_client.errors import FailedPrecondition, InvalidArgument, NotFound, SomeDocumentsRejected
from prisma_client.prisma_v2 import Installation, V2Dataset, V2Run
from prisma_client.sync import Prisma
from prisma_client.sync.datasets import Dataset
from prisma_client.sync.runs import Run

app = typer.Typer()


class WeightsMissing(Exception):
    """A run of PRISMA v2 without its file of weights."""


_COLUMNS: output.Columns = {
    "dataset": lambda row: row["dataset"],
    "run": lambda row: row["run"],
    "in PRISMA v2": lambda row: f"{row['expected']:,} {row['what']}",
    "here": lambda row: f"{row['count']:,}",
    "": lambda row: row["note"],
}


@app.command(epilog="Example: prisma import-v2 prisma-v2")
def import_v2(
    folder: Annotated[Path, typer.Argument(help="Folder of the installation, with db.sqlite3 and media.")],
) -> None:
    """Import an installation of PRISMA v2.

    Its datasets with their vectors, its runs and labels are imported, without any model; it is only read. Documents
    without a vector are left out, and counted. The same command again adds what is missing. Exits with 1 where
    something could not be imported.
    """
    with connected() as prisma, closing(Installation(folder)) as installation:
        rows = [row for dataset in installation.datasets() for row in _import_dataset(prisma, installation, dataset)]
    output.show(rows, _COLUMNS, empty=f"{folder} has no datasets")
    if any(row["count"] < row["expected"] for row in rows):
        raise typer.Exit(1)


def _import_dataset(prisma: Prisma, installation: Installation, original: V2Dataset) -> Iterator[dict[str, Any]]:
    """Imports a dataset with its runs; yields what there was and what is here."""
    data = _dataset(prisma, original)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SomeDocumentsRejected)  # the counts below say the same
        if original.embedded_count:
            data.add(installation.documents(original), on_duplicate="skip")
    left_out = [f"{count:,} {state}" for state, count in sorted(original.vectorless.items())]
    note = f"without a vector, left out: {', '.join(left_out)}" if left_out else ""
    count = data.refresh().message.embedded_count
    yield _row(data, "documents", expected=original.embedded_count, count=count, note=note)
    for run in installation.runs(original):
        yield from _import_run(prisma, installation, data, run)


def _dataset(prisma: Prisma, original: V2Dataset) -> Dataset:
    """The dataset that an earlier import made, or a new one."""
    model = f"given/{original.model}"
    for data in prisma.datasets.list():
        if (data.message.display_name, data.message.embedding_model) == (original.name, model):
            return data
    return prisma.datasets.create(original.name, description=original.description, embedding_model=model)


def _import_run(prisma: Prisma, installation: Installation, data: Dataset, original: V2Run) -> Iterator[dict[str, Any]]:
    """Imports a run with its labels; yields what there was and what is here."""
    labels = list(installation.labels(original))
    run_id = f"{data.id[:100]}-v2-{original.key}"
    try:
        run = _run(prisma, data, original, run_id)
    except (FailedPrecondition, InvalidArgument, WeightsMissing) as error:
        yield _row(data, "run", expected=1, count=0, run=run_id, note=str(error))
        yield _row(data, "labels", expected=len(labels), count=0, run=run_id)
        return
    yield _row(data, "run", expected=1, count=1, run=run_id)
    for ordinal, label in enumerate(labels):
        run.features.set_label(
            label.index,
            label.text,
            label.description,
            model=f"prismadb/{label.model}",
            request_id=f"import-v2/{run.message.uid}/{ordinal}",
        )
    count = sum(len(run.features.labels(index)) for index in sorted({label.index for label in labels}))
    yield _row(data, "labels", expected=len(labels), count=count, run=run_id)


def _run(prisma: Prisma, data: Dataset, original: V2Run, run_id: str) -> Run:
    """The run that an earlier import made, or a new one, with codes and statistics. Raises WeightsMissing."""
    try:
        run = prisma.runs.get(run_id)
    except NotFound:
        if original.weights is None:
            raise WeightsMissing(f"the file of weights of run {original.key} is not there") from None
        name = f"PRISMA v2, run {original.key}"
        run = prisma.runs.import_weights(data.id, original.weights, run_id=run_id, name=name)
    with following("encoding") as progress:
        if run.message.state != run.message.STATE_TRAINED:
            run.train(progress=progress)
        if not run.interpretation().statistics_revision:
            run.compute_statistics(progress=progress)
    return run


def _row(data: Dataset, what: str, *, expected: int, count: int, run: str = "", note: str = "") -> dict[str, Any]:
    return {"dataset": data.id, "run": run, "what": what, "expected": expected, "count": count, "note": note}
