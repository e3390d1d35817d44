"""Commands for runs: train, measure, compare, exchange weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from prisma.common.v1.job_pb2 import Job
from prisma.trainer.v1.resources_pb2 import Run as RunMessage
from prisma_client import choices, dataset_changes
from prisma_client.choices import Architecture, Goal, TableFormat
from prisma_client.cli import exports, output
from prisma_client.cli.arguments import (
    MAX_COUNT,
    DatasetId,
    Detach,
    OutputFile,
    RunId,
    check_suffix,
    dataset_id,
    run_id,
)
from prisma_client.cli.connection import connected, finish, following
from prisma_client.cli.units import counted, unit_of
from prisma_client.errors import AlreadyExists, FailedPrecondition, Unavailable
from prisma_client.sync import Prisma
from prisma_client.sync.runs import Run
from prisma_common import names

_T = TypeVar("_T")
_NOT_ENDED = "state != SUCCEEDED AND state != FAILED AND state != CANCELLED"
"""A filter for jobs."""
app = typer.Typer(rich_markup_mode=None)


class ExportKind(StrEnum):
    """What can be exported of a run."""

    TABLE = "table"
    FEATURES = "features"
    ACTIVATIONS = "activations"
    CODES = "codes"
    DECODER = "decoder"
    WEIGHTS = "weights"
    SAE_LENS = "sae-lens"


_TABLES = (ExportKind.TABLE, ExportKind.FEATURES)


@app.command(epilog="Example: prisma train reviews --run first")
def train(
    dataset: DatasetId,
    run: Annotated[str | None, typer.Option(help="Id of the run; an existing run is resumed.", callback=run_id)] = None,
    goal: Annotated[Goal | None, typer.Option(help="What the size is chosen for. Default: interpretable.")] = None,
    latents: Annotated[
        int | None, typer.Option(help="Number of latents. Default: chosen for the data.", min=1, max=MAX_COUNT)
    ] = None,
    expansion: Annotated[
        int | None, typer.Option(help="Latents per dimension, instead of --latents.", min=1, max=MAX_COUNT)
    ] = None,
    k: Annotated[
        int | None, typer.Option(help="Active latents per text. Default: 8, for faithful 32.", min=1, max=MAX_COUNT)
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the vectors. Default: chosen for the data.", min=1, max=MAX_COUNT)
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate of Adam.")] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Vectors per step. Default: 512.", min=1, max=MAX_COUNT)
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed. Default: 0.", min=0, max=2**63 - 1)] = None,
    architecture: Annotated[
        Architecture | None, typer.Option(help="How active latents are chosen. Default: top-k.")
    ] = None,
    siblings: Annotated[
        int | None,
        typer.Option(help="Trainings that tell which features are found again. Default: 2.", min=0, max=MAX_COUNT),
    ] = None,
    allow_pending: Annotated[
        bool, typer.Option("--allow-pending", help="Leave out documents that are not embedded yet.")
    ] = False,
    detach: Detach = False,
) -> None:
    """Train a sparse autoencoder on a dataset's vectors.

    Waits for an embedding job that is running. The same command resumes a training that was interrupted; a run that is
    trained already is left as it is.
    """
    config = {
        "architecture": architecture.value if architecture else None,
        "auto": True,
        "goal": goal.value if goal else None,
        "latent_count": latents,
        "siblings": siblings,
        "expansion": expansion,
        "k": k,
        "epochs": epochs,
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "seed": seed,
    }
    with connected() as prisma:
        new = _NewRun(dataset, run, config, allow_pending)
        created = _after_embedding(prisma, dataset, lambda: _create_or_get(prisma, new))
        if created.message.state == RunMessage.STATE_TRAINED:
            output.warn(f"{created.name} is trained already and stays as it is; another --run trains another one")
            _show_summary(created)
            return
        job = _after_embedding(
            prisma, dataset, lambda: created.train(wait=False, allow_pending_documents=allow_pending)
        )
        finish(prisma, job, title=created.id, detach=detach)
        if not detach:
            _show_summary(created.refresh())


@app.command(epilog="Example: prisma runs --dataset reviews")
def runs(
    dataset: Annotated[str | None, typer.Option(help="Only runs of this dataset.", callback=dataset_id)] = None,
) -> None:
    """List runs."""
    columns: output.Columns = {
        "run": lambda run: run.name.removeprefix("runs/"),
        "dataset": lambda run: run.dataset.removeprefix("datasets/"),
        "state": lambda run: state_of(run, training),
        "latents": lambda run: f"{run.latent_count:,}" if run.latent_count else "",
        "k": lambda run: run.config.k,
        "FVU": lambda run: output.held_out_fvu(run.metrics) if run.HasField("metrics") else "",
        "data": dataset_changes.counts,
    }
    with connected() as prisma:
        training = _active_jobs(prisma)
        empty = f"there are no runs{f' of {dataset}' if dataset else ''}: `prisma train DATASET` trains one"
        output.show((run.message for run in prisma.runs.list(dataset)), columns, empty=empty)


def _active_jobs(prisma: Prisma) -> list[Job]:
    """The jobs that have not ended; none while they cannot be looked up."""
    try:
        return prisma.jobs.list(1000, filter=_NOT_ENDED)
    except Unavailable:
        return []


def state_of(run: RunMessage, active_jobs: Sequence[Job]) -> str:
    """`created`, `trained`, or that a job trains the run."""
    for job in active_jobs:
        is_own = job.kind == names.TRAIN_RUN and run.name in job.resources
        if run.state != run.STATE_TRAINED and (is_own or job.name == run.job):
            return "training" if job.state == job.STATE_RUNNING else "waiting to be trained"
    return RunMessage.State.Name(run.state).removeprefix("STATE_").lower()


@app.command(epilog="Example: prisma pause first")
def pause(run: RunId) -> None:
    """Stop a run's training after a checkpoint.

    `prisma train DATASET --run RUN` resumes it.
    """
    with connected() as prisma:
        prisma.runs.get(run).pause()
        output.show_one({"paused": run}, [f"runs/{run} is paused; `prisma train DATASET --run {run}` resumes it"])


@app.command(epilog="Example: prisma sweep reviews --k 8 --k 32 --expansion 4")
def sweep(
    dataset: DatasetId,
    k: Annotated[list[int] | None, typer.Option(help="A value of k; repeat the option for more.")] = None,
    expansion: Annotated[list[int] | None, typer.Option(help="A value of the expansion; may be repeated.")] = None,
    learning_rate: Annotated[
        list[float] | None, typer.Option(help="A value of the learning rate; may be repeated.")
    ] = None,
    seed: Annotated[list[int] | None, typer.Option(help="A value of the seed; may be repeated.")] = None,
) -> None:
    """Train and evaluate a run for each combination of values."""
    columns: output.Columns = {
        "run": lambda run: run.name.removeprefix("runs/"),
        "settings": lambda run: run.display_name,
        "FVU": lambda run: f"{run.evaluation.fvu:.3f}",
        "L0": lambda run: f"{run.evaluation.l0:.1f}",
        "dead": lambda run: f"{run.evaluation.dead_share:.1%}",
        "kNN": lambda run: f"{run.evaluation.knn_overlap:.3f}",
        "nDCG": lambda run: f"{run.evaluation.ndcg:.3f}",
    }
    with connected() as prisma, following("sweep") as progress:
        swept = prisma.datasets.get(dataset).sweep(
            ks=k or [],
            expansions=expansion or [],
            learning_rates=learning_rate or [],
            seeds=seed or [],
            progress=progress,
        )
    output.show([run.message for run in swept], columns)


@app.command(epilog="Example: prisma evaluate first")
def evaluate(run: RunId) -> None:
    """Measure how well a run preserves held-out vectors."""
    with connected() as prisma, following("evaluating") as progress:
        evaluation = prisma.runs.get(run).evaluate(progress=progress)
    output.show_one(
        evaluation,
        [
            f"FVU {evaluation.fvu:.3f}, cosine {evaluation.cosine:.3f}, L0 {evaluation.l0:.1f}, "
            f"dead {evaluation.dead_share:.1%}, dense {evaluation.dense_share:.1%}",
            f"kNN overlap@10 {evaluation.knn_overlap:.3f}, nDCG@10 {evaluation.ndcg:.3f} "
            f"on {evaluation.row_count:,} vectors",
        ],
    )


@app.command(epilog="Example: prisma push first")
def push(run: RunId) -> None:
    """Copy a run's weights to the trainer's object store.

    It is configured on the trainer (PRISMA_TRAINER_PUSH_URL).
    """
    with connected() as prisma, following("pushing") as progress:
        job = prisma.runs.get(run).push(progress=progress)
    output.show_one(job, [line.text for line in job.log])


@app.command(epilog="Example: prisma compare first second")
def compare(first: RunId, second: RunId) -> None:
    """Compare the latents of two runs.

    It says how many match, and which are lost, gained, split or merged in the second.
    """
    with connected() as prisma:
        comparison = prisma.runs.get(first).compare(second)
    lines = [
        f"{len(comparison.matches):,} in both, {len(comparison.lost):,} lost, {len(comparison.gained):,} gained, "
        f"{len(comparison.split):,} split, {len(comparison.merged):,} merged",
        f"mean max cosine {comparison.mean_max_cosine:.3f}",
    ]
    output.show_one(comparison, lines)


@app.command(epilog="Example: prisma import-weights reviews sae.safetensors --run imported")
def import_weights(
    dataset: DatasetId,
    file: Annotated[
        Path,
        typer.Argument(
            help="A .safetensors of PRISMA, a .zip of SAELens or sparsify, or a .pt.", exists=True, dir_okay=False
        ),
    ],
    run: Annotated[str | None, typer.Option(help="Id of the new run.", callback=run_id)] = None,
    detach: Detach = False,
) -> None:
    """Create a run from existing weights, and write its codes."""
    with connected() as prisma:
        imported = prisma.runs.import_weights(dataset, file, run_id=run)
        finish(prisma, imported.train(wait=False), title="encoding", detach=detach)


@app.command(epilog="Example: prisma encode first other --run second")
def encode(
    run: RunId,
    dataset: DatasetId,
    new_run: Annotated[
        str | None, typer.Option("--run", help="Id of the run that the dataset gets.", callback=run_id)
    ] = None,
) -> None:
    """Encode another dataset with a trained run.

    It gets a run with the same features and their labels. Documents that are added to the run's own dataset are
    encoded without this.
    """
    with connected() as prisma, following("encoding") as progress:
        encoded = prisma.runs.get(run).encode_dataset(dataset, run_id=new_run, progress=progress)
        codes = counted(encoded.message.code_count, unit_of(prisma.datasets.get(dataset).message))
    output.show_one(encoded.message, [f"{encoded.name} has codes of {codes}"])


@app.command(epilog="Example: prisma export first table reviews.parquet --filter 'metadata.year > 2020'")
def export(
    run: RunId,
    what: Annotated[ExportKind, typer.Argument(help="What to export.")],
    file: OutputFile,
    format: Annotated[
        TableFormat | None, typer.Option(help="How the table is written; by default as the name of the file ends.")
    ] = None,
    filter: Annotated[str | None, typer.Option(help="Only documents that match: 'metadata.year > 2020'.")] = None,
    feature_filter: Annotated[
        str | None, typer.Option(help="Only features that match: 'score > 0.8'; in a table by default trusted ones.")
    ] = None,
    feature_count: Annotated[
        int | None, typer.Option(min=0, help="Columns of features at most; 200 by default.")
    ] = None,
    strongest: Annotated[
        int | None, typer.Option(min=0, help="Features that are named in the column `features`; 5 by default.")
    ] = None,
    include_tail: Annotated[
        bool, typer.Option("--include-tail", help="Also with activations below the features' thresholds.")
    ] = False,
    no_text: Annotated[bool, typer.Option("--no-text", help="Without the texts.")] = False,
    no_metadata: Annotated[bool, typer.Option("--no-metadata", help="Without the metadata.")] = False,
    metadata_key: Annotated[list[str] | None, typer.Option(help="Only this key of the metadata; repeatable.")] = None,
    byte_order_mark: Annotated[
        bool, typer.Option("--byte-order-mark", help="Begin a CSV file with one, which Excel needs to read UTF-8.")
    ] = False,
    keep_formulas: Annotated[
        bool,
        typer.Option("--keep-formulas", help="Leave texts in a CSV file as they are that a spreadsheet would run."),
    ] = False,
) -> None:
    """Write documents, features, codes or weights to a file.

    A table has a row for each document: id, text, metadata, its strongest features, and a column for the activations
    of each trusted feature. Features have a row for each: label, trust, score, statistics. Both are written as CSV,
    JSON lines, Parquet or Arrow, by the name of the file; activations as JSON lines, weights as safetensors, or as a
    zip for SAELens. Codes and decoder are arrays, for NumPy and SciPy (.npz, the decoder also .npy) or as Parquet
    (.parquet). `prisma export-vectors` writes the vectors of a dataset.
    """
    options: dict[str, Any] = {
        "format": format,
        "filter": filter,
        "feature_filter": feature_filter,
        "feature_count": feature_count,
        "strongest_count": strongest,
        "include_tail": include_tail or None,
        "text": False if no_text else None,
        "metadata": False if no_metadata else metadata_key or None,
        "keep_formulas": keep_formulas or None,
    }
    options = {name: value for name, value in options.items() if value is not None}
    if unusable := [name for name in options if not _takes(what, name)]:
        raise typer.BadParameter(f"{', '.join(map(_option_name, unusable))}: for a table only, not for {what}")
    if byte_order_mark and what not in _TABLES:
        raise typer.BadParameter("--byte-order-mark is for CSV: features and tables")
    if what in _TABLES:
        check_suffix(file, format)
    with connected() as prisma:
        exports.show(
            file,
            lambda: _export(prisma.runs.get(run), what, file, byte_order_mark=byte_order_mark, options=options),
        )


def _takes(what: ExportKind, option: str) -> bool:
    """Whether an option is for what is exported."""
    return what is ExportKind.TABLE or (
        what is ExportKind.FEATURES and option in ("format", "feature_filter", "keep_formulas")
    )


def _option_name(name: str) -> str:
    """The option that sets a keyword of `Run.table`."""
    names = {"strongest_count": "strongest", "text": "no-text", "metadata": "no-metadata, --metadata-key"}
    return f"--{names.get(name, name).replace('_', '-')}"


@dataclass(frozen=True)
class _NewRun:
    dataset: str
    run_id: str | None
    config: Mapping[str, Any]
    allow_pending: bool


def _create_or_get(prisma: Prisma, new: _NewRun) -> Run:
    """Creates the run, or returns the existing one of this id. Raises AlreadyExists where that is another one."""
    try:
        return prisma.runs.create(
            new.dataset, run_id=new.run_id, config=new.config, allow_pending_documents=new.allow_pending
        )
    except AlreadyExists as error:
        if new.run_id is None:
            raise
        run = prisma.runs.get(new.run_id)
        if differences := _differences(run.message, new):
            message = (
                f"{run.name} exists with another {', '.join(differences)}: resume it without, or choose another id"
            )
            raise AlreadyExists(message, code=error.code, reason=error.reason) from None
    return run


def _differences(run: RunMessage, new: _NewRun) -> list[str]:
    """What is requested of a new run and is not so in the existing one: its dataset, names of settings."""
    requested = choices.training_config(new.config)
    names = [
        field.name.replace("_", " ")
        for field, value in requested.ListFields()
        if field.name not in ("auto", "goal") and value != getattr(run.config, field.name)
    ]
    return names if run.dataset == f"datasets/{new.dataset}" else ["dataset", *names]


def _show_summary(run: Run) -> None:
    """Prints what a training has reached, on a terminal."""
    if not output.on_terminal():
        return
    message, metrics = run.message, run.message.metrics
    quality = message.quality
    lines = [
        f"{run.name}: {message.latent_count:,} latents, held-out FVU {output.held_out_fvu(metrics)}, "
        f"L0 {metrics.l0:.1f}, {message.dead_count} dead, {metrics.samples_per_second:,.0f} samples/s"
    ]
    if quality.sibling_count:
        lines.append(
            f"{quality.reproduced_count:,} of {quality.live_count:,} features were found again by "
            f"{quality.sibling_count} trainings on halves of the rows"
        )
    for line in [*lines, *(f"warning: {warning}" for warning in message.warnings)]:
        typer.echo(line)


def _export(run: Run, what: ExportKind, file: Path, *, byte_order_mark: bool, options: dict[str, Any]) -> int:
    match what:
        case ExportKind.TABLE:
            return run.export_table(file, byte_order_mark=byte_order_mark, **options)
        case ExportKind.FEATURES:
            filter = options.pop("feature_filter", None)
            return run.export_features(file, filter=filter, byte_order_mark=byte_order_mark, **options)
        case ExportKind.ACTIVATIONS:
            return run.export_activations(file)
        case ExportKind.CODES:
            return run.export_codes(file)
        case ExportKind.DECODER:
            return run.export_decoder(file)
        case _:
            return run.export_weights(file, sae_lens=what is ExportKind.SAE_LENS)


def _after_embedding(prisma: Prisma, dataset: str, call: Callable[[], _T]) -> _T:
    """Calls; if documents are still to be embedded, waits for the job that embeds them and calls again."""
    try:
        return call()
    except FailedPrecondition as error:
        if error.reason != "DOCUMENTS_PENDING":
            raise
        _wait_for_embedding(prisma, dataset, error)
    return call()


def _wait_for_embedding(prisma: Prisma, dataset: str, error: FailedPrecondition) -> None:
    """Waits for the dataset's embedding job. Raises FailedPrecondition where none is running."""
    conditions = [f'resource = "datasets/{dataset}"', f'kind = "{names.EMBED_DATASET}"', _NOT_ENDED]
    jobs = prisma.jobs.list(1, filter=" AND ".join(conditions))
    if not jobs:
        raise FailedPrecondition(
            f"{error.message}. Embed them first with `prisma embed {dataset}`, or leave them out with --allow-pending",
            code=error.code,
            reason=error.reason,
            metadata=error.metadata,
        )
    count = error.metadata.get("pending_count", "")
    pending = counted(int(count), unit_of(prisma.datasets.get(dataset).message)) if count.isdecimal() else "documents"
    output.warn(f"waiting for {pending} to be embedded before training")
    finish(prisma, jobs[0], title="embedding", detach=False)
