"""`prisma import-v2`: takes over what an installation of PRISMA v2 has."""

from __future__ import annotations

import itertools
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from prisma_client.cli import output
from prisma_client.cli.connection import connected, following
from prisma_client.cli.v2_labels import add_missing
from prisma_client.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    JobFailed,
    NotFound,
    SomeDocumentsRejected,
    rejection_summary,
)
from prisma_client.imports import FileOptions, rejected_count
from prisma_client.prisma_v2 import Installation, V2Dataset, V2Document, V2Run
from prisma_client.sync import Prisma
from prisma_client.sync.datasets import Dataset
from prisma_client.sync.runs import Run
from prisma_common.label_texts import shorten

app = typer.Typer()
_MAX_NAME, _MAX_DESCRIPTION = 200, 10_000
"""Characters of a dataset's name and of its description."""
_VECTORS = FileOptions(vector_field="vector")
_UNREADABLE = "unreadable"
_REFUSALS = (AlreadyExists, FailedPrecondition, InvalidArgument, JobFailed, NotFound)
"""Errors that concern what is imported, not the import."""


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
    without a vector are left out, and counted. Names and texts that are too long are cut. The same command again adds
    what is missing. Exits with 1 where something could not be imported.
    """
    with connected() as prisma, closing(Installation(folder)) as installation:
        rows = [row for dataset in installation.datasets() for row in _import_dataset(prisma, installation, dataset)]
    output.show(rows, _COLUMNS, empty=f"{folder} has no datasets")
    if any(row["count"] < row["expected"] for row in rows):
        raise typer.Exit(1)


def _import_dataset(prisma: Prisma, installation: Installation, original: V2Dataset) -> Iterator[dict[str, Any]]:
    """Imports a dataset with its runs; yields what there was and what is here."""
    try:
        data = _dataset(prisma, original)
    except _REFUSALS as error:
        yield _row(original.name, "documents", expected=original.embedded_count, count=0, note=str(error))
        return
    vectorless = Counter(original.vectorless)
    notes = _add_documents(data, _with_vectors(installation.documents(original), vectorless))
    if vectorless:
        states = ", ".join(f"{count:,} {state}" for state, count in sorted(vectorless.items()))
        notes.insert(0, f"without a vector, left out: {states}")
    expected = original.embedded_count - vectorless[_UNREADABLE]
    count = data.refresh().message.embedded_count
    yield _row(data.id, "documents", expected=expected, count=count, note="; ".join(notes))
    for run in installation.runs(original):
        yield from _import_run(prisma, installation, data, run)


def _with_vectors(documents: Iterable[V2Document], vectorless: Counter[str]) -> Iterator[dict[str, Any]]:
    """Documents as they are imported; counts those whose vector cannot be read."""
    for document in documents:
        if document.vector is None:
            vectorless[_UNREADABLE] += 1
        else:
            yield {"id": document.key, "text": document.text, "vector": document.vector}


def _add_documents(data: Dataset, documents: Iterator[dict[str, Any]]) -> list[str]:
    """Imports those that are missing; returns what was refused."""
    first = next(documents, None)
    if first is None:
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SomeDocumentsRejected)  # the note says the same
        try:
            report = data.add(itertools.chain([first], documents), options=_VECTORS, on_duplicate="skip")
        except InvalidArgument as error:
            return [error.message]
    return [rejection_summary(report)] if rejected_count(report) else []


def _dataset(prisma: Prisma, original: V2Dataset) -> Dataset:
    """The dataset that an earlier import made, or a new one."""
    model, name = f"given/{original.model}", shorten(original.name, _MAX_NAME)
    for data in prisma.datasets.list():
        if (data.message.display_name, data.message.embedding_model) == (name, model):
            return data
    description = shorten(original.description, _MAX_DESCRIPTION)
    return prisma.datasets.create(name, description=description, embedding_model=model)


def _import_run(prisma: Prisma, installation: Installation, data: Dataset, original: V2Run) -> Iterator[dict[str, Any]]:
    """Imports a run with its labels; yields what there was and what is here."""
    labels = list(installation.labels(original))
    run_id = f"{data.id[:100]}-v2-{original.key}"
    try:
        run = _run(prisma, data, original, run_id)
    except (*_REFUSALS, WeightsMissing) as error:
        yield _row(data.id, "run", expected=1, count=0, run=run_id, note=str(error))
        yield _row(data.id, "labels", expected=len(labels), count=0, run=run_id)
        return
    yield _row(data.id, "run", expected=1, count=1, run=run_id)
    outcome = add_missing(run.features, labels)
    yield _row(data.id, "labels", expected=len(labels), count=outcome.count, run=run_id, note=outcome.note)


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


def _row(dataset: str, what: str, *, expected: int, count: int, run: str = "", note: str = "") -> dict[str, Any]:
    return {"dataset": dataset, "run": run, "what": what, "expected": expected, "count": count, "note": note}
