"""Commands for documents: import, list, embed, delete."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from prisma.embedder.v1.embedder_service_pb2 import ImportDocumentsResponse
from prisma.embedder.v1.resources_pb2 import Document, FileLayout
from prisma_client import imports, sources
from prisma_client import sample as samples
from prisma_client.cli import output
from prisma_client.cli.arguments import DatasetId, Detach, Limit, NewModel
from prisma_client.cli.connection import connected, finish, following
from prisma_client.cli.input_file import InputFile, reads_a_file
from prisma_client.cli.units import counted, unit_of
from prisma_client.errors import AlreadyExists, FilterNotice, NotFound, PrismaError, SomeDocumentsRejected
from prisma_client.imports import OnDuplicate
from prisma_client.statistics import text_lines
from prisma_client.sync import Prisma
from prisma_client.sync.datasets import Dataset
from prisma_client.sync.runs import Run
from prisma_common.names import GIVEN_MODEL
from prisma_common.structs import plain_struct

app = typer.Typer(rich_markup_mode=None)
SHOWN_ITEMS = 5
"""Rejected items that are named for a reason."""
SHOWN_DOCUMENTS = 10
_ID_SOURCES = {FileLayout.ID_SOURCE_TEXT: "a digest of the text", FileLayout.ID_SOURCE_ROW: "the row's number"}


@app.command(epilog="Example: prisma ingest reviews reviews.csv --text-field body")
@reads_a_file
def ingest(
    dataset: DatasetId,
    file: InputFile,
    model: NewModel = None,
    query_model: Annotated[
        str | None, typer.Option(help="Model that embeds queries, for a new dataset of your own vectors.")
    ] = None,
    vectors: Annotated[
        Path | None,
        typer.Option(
            help="NumPy array (.npy) of your own vectors, one for each document.", dir_okay=False, exists=True
        ),
    ] = None,
    on_duplicate: Annotated[
        OnDuplicate, typer.Option(help="What to do with documents whose ids the dataset has already.")
    ] = "reject",
    passages: Annotated[
        int | None,
        typer.Option(
            min=0, help="Split texts of a new dataset into passages of so many tokens at most; 0: the model's limit."
        ),
    ] = None,
    overlap: Annotated[int, typer.Option(min=0, help="Tokens that a passage repeats of the one before, at most.")] = 0,
    validate_only: Annotated[bool, typer.Option("--validate-only", help="Check the file; import nothing.")] = False,
) -> None:
    """Import documents into a dataset.

    The dataset is created if it does not exist. Rejected documents are listed with their reasons. Exits with 2 if none
    could be imported; a new dataset is then not kept.
    """
    with connected() as prisma, warnings.catch_warnings():
        warnings.simplefilter("ignore", SomeDocumentsRejected)  # the summary below says the same
        if model is None and (vectors or file.has_vectors):
            model = GIVEN_MODEL
        data, created = _get_or_create(
            prisma, dataset, model, query_model=query_model, passages=passages, overlap=overlap
        )
        try:
            with _interruption_reported(data, vectors_alone=file.path.suffix == ".npy"):
                report = data.add_chunks(
                    file.chunks(),
                    id_field=file.id_field,
                    text_field=file.text_field,
                    options=file.options,
                    vectors=None if vectors is None else sources.chunks(vectors),
                    file_name=file.name,
                    on_duplicate=on_duplicate,
                    validate_only=validate_only,
                )
        except BaseException:
            if data.report is not None:
                _show_report(data.report, validate_only=validate_only)
            raise
        finally:
            if created:
                data.delete_if_empty()
        _show_report(report, validate_only=validate_only)


@app.command(epilog="Example: prisma preview reviews.csv")
@reads_a_file
def preview(file: InputFile) -> None:
    """Show how `ingest` would read a file; import nothing.

    It shows the format, the fields and the first documents.
    """
    with connected() as prisma:
        response = prisma.datasets.preview_chunks(
            file.chunks(), id_field=file.id_field, text_field=file.text_field, options=file.options
        )
    layout = response.layout
    lines = [f"{name}: {value}" for name, value in layout_values(layout) if value]
    lines += ["", *(f"note: {note}" for note in response.notes), ""]
    for document in response.documents[:SHOWN_DOCUMENTS]:
        metadata = plain_struct(document.metadata)
        fields = ", ".join(f"{name}: {value}" for name, value in metadata.items())
        lines.append(f"{document.key}: {' '.join(document.text.split())[:120]}")
        lines += [f"    {fields[:160]}"] if fields else []
    lines += [f"item {rejection.item} would be rejected: {rejection.message}" for rejection in response.rejections]
    output.show_one(response, lines)


@app.command(epilog="Example: prisma sample")
def sample(
    dataset: DatasetId = "python-stdlib",
) -> None:
    """Create a dataset of about 6,000 texts to try PRISMA on.

    They are the docstrings of this Python's standard library.
    """
    with connected() as prisma:
        data, _ = _get_or_create(prisma, dataset, None, samples.DESCRIPTION)
        with _interruption_reported(data):
            report = data.add(samples.documents(), progress=False)
        lines = [f"{report.imported_count:,} documents imported into {data.name}, {report.rejected_count:,} existed"]
        output.show_one(report, lines)


@app.command(epilog="Example: prisma datasets")
def datasets() -> None:
    """List datasets."""
    columns: output.Columns = {
        "dataset": lambda dataset: dataset.name.removeprefix("datasets/"),
        "documents": lambda dataset: f"{dataset.document_count:,}",
        "passages": lambda dataset: f"{dataset.passages.passage_count:,}" if dataset.HasField("passages") else "",
        "embedded": lambda dataset: f"{dataset.embedded_count:,}",
        "failed": lambda dataset: f"{dataset.failed_count:,}",
        "model": lambda dataset: dataset.embedding_model,
    }
    with connected() as prisma:
        listed = (dataset.message for dataset in prisma.datasets.list())
        output.show(listed, columns, empty="there are no datasets: `prisma ingest DATASET FILE` creates one")


@app.command(epilog="Example: prisma documents reviews --filter 'state = FAILED'")
def documents(
    dataset: DatasetId,
    filter: Annotated[
        str | None, typer.Option(help="For example `metadata.year >= 1999 AND NOT state = FAILED`.")
    ] = None,
    limit: Limit = 20,
) -> None:
    """List documents with their state."""
    columns: output.Columns = {
        "document": lambda document: document.key,
        "state": lambda document: Document.State.Name(document.state).removeprefix("STATE_").lower(),
        "text": lambda document: " ".join((document.error.message or document.text).split())[:90],
    }
    with connected() as prisma:
        empty = f"no document of {dataset} matches {filter}" if filter else f"{dataset} has no documents"
        documents = prisma.datasets.get(dataset).documents(filter, limit)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FilterNotice)
            output.show(documents, columns, empty=empty)
        for notice in documents.notices:
            output.warn(notice)


@app.command(epilog="Example: prisma statistics reviews")
def statistics(dataset: DatasetId) -> None:
    """Show what a dataset consists of.

    Lengths, languages and duplicates of its texts, norms and effective rank of its vectors. They are computed if they
    are missing, or if the dataset has changed since.
    """
    with connected() as prisma:
        data = prisma.datasets.get(dataset)
        with following("computing statistics", transient=True) as progress:
            computed = data.statistics(progress=progress)
        output.show_one(computed.message, text_lines(computed.message))


@app.command(epilog="Example: prisma delete-documents reviews --filter 'state = FAILED'")
def delete_documents(
    dataset: DatasetId,
    filter: Annotated[str, typer.Option(help='Which documents, such as `state = FAILED`; "*" for all.')],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which documents match.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    detach: Detach = False,
) -> None:
    """Delete the documents that match a filter.

    Vectors, codes and index follow.
    """
    with connected() as prisma:
        data = prisma.datasets.get(dataset)
        matches = data.delete_documents(filter, validate_only=True)
        for notice in matches.notices:
            output.warn(notice)
        count = f"{matches.document_count:,} of {data.message.document_count:,} documents"
        if dry_run:
            names = [name.rpartition("/")[2] for name in matches.sample]
            output.show_one(matches, [f"{count} of {dataset} match", *(f"  {name}" for name in names)])
            return
        if not matches.document_count:
            output.warn(f"no document of {dataset} matches {filter}")
            return
        if not yes:
            typer.confirm(f"Delete {count} of {data.name}?", abort=True)
        response = data.delete_documents(filter, wait=False)
        finish(prisma, response.job, title="deleting", detach=detach)


@app.command(epilog="Example: prisma embed reviews")
def embed(
    dataset: DatasetId,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Also retry failed documents.")] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Also embed documents whose vectors are missing or damaged.")
    ] = False,
    detach: Detach = False,
) -> None:
    """Embed all pending documents."""
    with connected() as prisma:
        data = prisma.datasets.get(dataset)
        if not (data.message.pending_count or retry_failed or again):
            output.warn(f"no {unit_of(data.message)} of {dataset} waits to be embedded")
        job = data.retry_failed(wait=False) if retry_failed else data.embed(again=again, wait=False)
        finish(prisma, job, title="embedding", detach=detach)
        if not detach and (failed := data.refresh().message.failed_count):
            failures = counted(failed, unit_of(data.message))
            output.warn(f"{failures} failed: `prisma documents {dataset} --filter 'state = FAILED'` says why")


@app.command(epilog="Example: prisma delete reviews")
def delete(
    name: Annotated[str, typer.Argument(help="A dataset or run: its id, datasets/<dataset> or runs/<run>.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
) -> None:
    """Delete a dataset or a run, and what is derived from it."""
    with connected() as prisma:
        resource = _resource(prisma, name)
        derived = "its weights, codes and labels"
        if isinstance(resource, Dataset):
            derived = "its documents, vectors, runs, labels and index"
        if not yes:
            typer.confirm(f"Delete {resource.name}? This also deletes {derived}.", abort=True)
        resource.delete()
        output.show_one({"deleted": resource.name}, [f"{resource.name} was deleted"])


def _get_or_create(
    prisma: Prisma,
    dataset: str,
    model: str | None,
    description: str | None = None,
    *,
    passages: int | None = None,
    overlap: int = 0,
    query_model: str | None = None,
) -> tuple[Dataset, bool]:
    """Returns the dataset, and whether it was created. passages: None for whole texts, 0 for the model's limit."""
    try:
        created = prisma.datasets.create(
            dataset,
            dataset_id=dataset,
            embedding_model=model,
            query_model=query_model,
            description=description,
            passages=passages == 0 or passages or False,
            overlap=overlap,
        )
    except AlreadyExists:
        existing = prisma.datasets.get(dataset)
        if passages is not None and not existing.message.HasField("passages"):
            raise typer.BadParameter(
                f"{dataset} exists, and its texts are not split; create another dataset", param_hint="--passages"
            ) from None
        return existing, False
    return created, True


@contextmanager
def _interruption_reported(data: Dataset, *, vectors_alone: bool = False) -> Generator[None]:
    """Says after Ctrl-C what an import has left behind: it is committed in batches.

    vectors_alone: whether the file is an array of vectors, whose documents have no ids by which they are known again.
    """
    try:
        yield
    except KeyboardInterrupt:
        try:
            count = data.refresh().message.document_count
            outcome = f"{data.name} has {count:,} documents now" if count else "no document was imported"
        except PrismaError:
            outcome = f"what was imported stays in {data.name}"
        advice = "the same command imports the rest, each document once"
        if vectors_alone:
            advice = "the same command adds all vectors once more: import the rest of them, or into another dataset"
        output.warn(f"interrupted. {outcome}; {advice}")
        raise typer.Exit(output.INTERRUPTED) from None


def layout_values(layout: FileLayout) -> list[tuple[str, str]]:
    """How a file is read: names and values, which may be empty."""
    return [
        ("format", FileLayout.Format.Name(layout.format).removeprefix("FORMAT_").lower().replace("_", "-")),
        ("encoding", layout.encoding),
        ("delimiter", {"\t": "tab"}.get(layout.delimiter, layout.delimiter)),
        ("sheet", layout.sheet),
        ("columns", ", ".join(layout.columns)),
        ("id", layout.id_field or _ID_SOURCES.get(layout.id_source, "")),
        ("text", ", ".join(layout.text_fields)),
        ("metadata", "none" if layout.no_metadata else ", ".join(layout.metadata_fields)),
        ("vectors", layout.vector_field),
    ]


def _show_report(report: ImportDocumentsResponse, *, validate_only: bool) -> None:
    summary = _summary(report, validate_only=validate_only)
    rejected = imports.rejected_count(report)
    output.show_one(report, [summary, *(f"  {note}" for note in report.notes)])
    if not output.on_terminal():
        if rejected or imports.unchanged_count(report):
            output.warn(summary)
        return
    if not rejected:
        return
    for line in rejection_lines(report):
        typer.echo(f"  {line}", err=True)
    if not validate_only:
        dataset = report.dataset.name.removeprefix("datasets/")
        typer.echo(f"  `prisma imports {dataset} last --rejections FILE.csv` writes all", err=True)


def rejection_lines(report: ImportDocumentsResponse) -> Iterator[str]:
    """A line for each reason, the most frequent first: its first items and what the first was rejected for."""
    for reason in report.rejection_counts:
        rejections = [rejection for rejection in report.rejections if rejection.reason == reason.reason]
        items = ", ".join(str(rejection.item) for rejection in rejections[:SHOWN_ITEMS])
        rest = reason.count - min(len(rejections), SHOWN_ITEMS)
        if not rejections:
            name = ImportDocumentsResponse.Rejection.Reason.Name(reason.reason).removeprefix("REASON_")
            yield f"{reason.count:,} later items: {name}"
        elif reason.count == 1:
            yield f"item {items}: {rejections[0].message}"
        else:
            yield f"items {items}{f' and {rest:,} more' if rest else ''}: {rejections[0].message}"


def _summary(report: ImportDocumentsResponse, *, validate_only: bool) -> str:
    """What an import did, in a line."""
    rejected, unchanged = imports.rejected_count(report), imports.unchanged_count(report)
    if unchanged and not (report.imported_count or report.updated_count or rejected):
        advice = "" if report.skipped_count else "; `--on-duplicate replace` updates those that differ"
        return f"nothing is new: {report.dataset.name} has all {unchanged:,} documents already{advice}"
    parts = [f"{report.imported_count:,} {'can be imported' if validate_only else 'imported'}"]
    parts += [f"{report.updated_count:,} updated"] if report.updated_count else []
    parts += [f"{rejected:,} rejected"]
    parts += [f"{unchanged:,} existed already and stay as they are"] if unchanged else []
    return ", ".join(parts)


def _resource(prisma: Prisma, name: str) -> Dataset | Run:
    """Finds a dataset or a run. Raises NotFound; BadParameter where an id is both."""
    kind, _, key = name.rpartition("/")
    if kind not in ("", "datasets", "runs") or not key:
        raise typer.BadParameter(f"expected an id, datasets/<dataset> or runs/<run>; got {name!r}")
    matches: list[Dataset | Run] = []
    for prefix, get in (("datasets", prisma.datasets.get), ("runs", prisma.runs.get)):
        if kind in ("", prefix):
            try:
                matches.append(get(key))
            except NotFound:
                if kind:
                    raise
    if not matches:
        raise NotFound(f"there is no dataset and no run {key!r}", code="NOT_FOUND")
    if len(matches) > 1:
        raise typer.BadParameter(f"{key!r} is a dataset and a run: write datasets/{key} or runs/{key}")
    return matches[0]
