"""The verbs: what can be done with documents, runs and features from the command line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf import json_format

from prisma.common.v1.job_pb2 import Job
from prisma.embedder.v1.resources_pb2 import Document
from prisma.interpreter.v1.resources_pb2 import Analysis
from prisma.trainer.v1.resources_pb2 import Run as RunMessage
from prisma_client import sample as samples
from prisma_client.cli import output
from prisma_client.errors import AlreadyExists, PrismaError
from prisma_client.sync import Prisma
from prisma_client.sync.runs import Run

app = typer.Typer()
DatasetId = Annotated[str, typer.Argument(metavar="DATASET", help="A dataset's id.")]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="A run's id.")]
Limit = Annotated[int, typer.Option(help="How many at most.", min=1)]
Detach = Annotated[bool, typer.Option("--detach", help="Start the job and return; `prisma jobs` follows it.")]


@contextmanager
def connected() -> Generator[Prisma]:
    """A client; errors of the server end the command with a code that means something."""
    try:
        with Prisma() as prisma:
            yield prisma
    except PrismaError as error:
        raise output.fail(error) from None
    except OSError as error:
        typer.echo(f"prisma: {error}", err=True)
        raise typer.Exit(1) from None


@app.command()
def ingest(
    dataset: DatasetId,
    file: Annotated[Path, typer.Argument(help="A JSON list or JSON lines of documents; - for standard input.")],
    id_field: Annotated[str, typer.Option(help="Which field is the id.")] = "id",
    text_field: Annotated[str, typer.Option(help="Which field is the text.")] = "text",
    model: Annotated[str, typer.Option(help="The embedding model of a new dataset.")] = "builtin",
    validate_only: Annotated[bool, typer.Option("--validate-only", help="Say what would be imported.")] = False,
) -> None:
    """Import documents into a dataset, which is made if it isn't there. What is rejected is told, item by item."""
    with connected() as prisma:
        try:
            data = prisma.datasets.create(dataset, dataset_id=dataset, embedding_model=model)
        except AlreadyExists:
            data = prisma.datasets.get(dataset)
        source = Path("/dev/stdin") if str(file) == "-" else file
        report = data.add(source, id_field=id_field, text_field=text_field, validate_only=validate_only)
        lines = [f"{report.imported_count:,} imported, {report.rejected_count:,} rejected"]
        lines += [f"  item {each.item}: {each.message}" for each in report.rejections[:20]]
        output.show_one(report, lines)


@app.command()
def sample(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="The dataset to make.")] = "python-stdlib",
) -> None:
    """Make a dataset of the docstrings of this Python's standard library: about 6,000 texts."""
    with connected() as prisma:
        try:
            data = prisma.datasets.create(
                dataset, dataset_id=dataset, description="Docstrings of the standard library of the running Python."
            )
        except AlreadyExists:
            data = prisma.datasets.get(dataset)
        report = data.add(samples.documents())
        output.show_one(
            report, [f"{report.imported_count:,} imported into {data.name}, {report.rejected_count:,} there already"]
        )


@app.command()
def datasets() -> None:
    """List the datasets."""
    with connected() as prisma:
        columns: output.Columns = {
            "dataset": lambda each: each.name.removeprefix("datasets/"),
            "documents": lambda each: f"{each.document_count:,}",
            "embedded": lambda each: f"{each.embedded_count:,}",
            "failed": lambda each: f"{each.failed_count:,}",
            "model": lambda each: each.embedding_model,
        }
        output.show((each.message for each in prisma.datasets.list()), columns)


@app.command()
def documents(
    dataset: DatasetId,
    filter: Annotated[str, typer.Option(help='Such as `state = FAILED AND text : "heart"`.')] = "",
    limit: Limit = 20,
) -> None:
    """List documents with their state."""
    with connected() as prisma:
        columns: output.Columns = {
            "document": lambda each: each.key,
            "state": lambda each: Document.State.Name(each.state).removeprefix("STATE_").lower(),
            "text": lambda each: " ".join((each.error.message or each.text).split())[:90],
        }
        output.show(prisma.datasets.get(dataset).documents(filter, limit), columns)


@app.command()
def embed(
    dataset: DatasetId,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Those too that have failed.")] = False,
    detach: Detach = False,
) -> None:
    """Embed all documents that wait."""
    with connected() as prisma, output.bar("embedding") as bar:
        data = prisma.datasets.get(dataset)
        start = data.retry_failed if retry_failed else data.embed
        _told(start(wait=not detach, progress=bar), detach)


@app.command()
def train(
    dataset: DatasetId,
    run: Annotated[str, typer.Option(help="The run's id; of an existing one, to go on.")] = "",
    expansion: Annotated[int | None, typer.Option(help="Latents for each dimension (4).")] = None,
    k: Annotated[int | None, typer.Option(help="Active latents for each text (32).")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the vectors (20).")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Adam's step.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Vectors for each step.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of all that is random.")] = None,
    architecture: Annotated[str | None, typer.Option(help="top-k, batch-top-k or matryoshka (top-k).")] = None,
    auto: Annotated[bool, typer.Option("--auto", help="Choose what is left out for the dataset's size.")] = False,
    detach: Detach = False,
) -> None:
    """Train a sparse autoencoder on a dataset's vectors."""
    wanted = {
        "architecture": architecture and f"ARCHITECTURE_{architecture.replace('-', '_').upper()}",
        "auto": auto or None,
        "expansion": expansion,
        "k": k,
        "epochs": epochs,
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "seed": seed,
    }
    config = {name: value for name, value in wanted.items() if value is not None}
    with connected() as prisma:
        try:
            made = prisma.runs.create(dataset, run_id=run, config=config)
        except AlreadyExists:
            made = prisma.runs.get(run)
        with output.bar(made.id) as bar:
            job = made.train(wait=not detach, progress=bar)
        _told(job, detach)
        metrics = made.refresh().message.metrics
        if not detach and output.on_terminal():
            typer.echo(
                f"{made.name}: held-out FVU {metrics.held_out_fvu:.3f}, L0 {metrics.l0:.1f}, "
                f"{metrics.dead_count} dead, {metrics.samples_per_second:,.0f} samples/s"
            )


@app.command()
def runs(dataset: Annotated[str, typer.Option(help="Those of one dataset.")] = "") -> None:
    """List the runs."""
    with connected() as prisma:
        columns: output.Columns = {
            "run": lambda each: each.name.removeprefix("runs/"),
            "dataset": lambda each: each.dataset.removeprefix("datasets/"),
            "state": lambda each: RunMessage.State.Name(each.state).removeprefix("STATE_").lower(),
            "latents": lambda each: f"{each.latent_count:,}",
            "k": lambda each: each.config.k,
            "FVU": lambda each: f"{each.metrics.held_out_fvu:.3f}" if each.HasField("metrics") else "",
        }
        output.show((each.message for each in prisma.runs.list(dataset)), columns)


@app.command()
def stats(run: RunId, detach: Detach = False) -> None:
    """Compute the statistics of all features anew."""
    with connected() as prisma, output.bar("statistics") as bar:
        _told(prisma.runs.get(run).compute_statistics(wait=not detach, progress=bar), detach)


@app.command()
def label(
    run: RunId,
    model: Annotated[str, typer.Option(help="`keywords`, or `ollama/<model>`.")] = "keywords",
    feature: Annotated[list[int] | None, typer.Option(help="Only these features.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many; 0 for all.")] = 0,
    relabel: Annotated[bool, typer.Option("--relabel", help="Those too that have a label.")] = False,
    text: Annotated[str, typer.Option(help="Write this label yourself; needs one --feature.")] = "",
    detach: Detach = False,
) -> None:
    """Label features by keywords or a language model, or one by hand. Old labels stay in the history."""
    with connected() as prisma:
        found = prisma.runs.get(run)
        if text:
            if len(feature or ()) != 1:
                raise typer.BadParameter("--text needs exactly one --feature")
            output.show_one(made := found.features.set_label((feature or [0])[0], text), [f"{made.name}: {made.text}"])
            return
        with output.bar(model) as bar:
            _told(
                found.label(model, indices=feature or (), limit=limit, relabel=relabel, wait=not detach, progress=bar),
                detach,
            )


@app.command()
def features(
    run: RunId,
    query: Annotated[str, typer.Argument(help="Words of the label, or an index.")] = "",
    filter: Annotated[str, typer.Option(help="Such as `density > 0.01 AND labelled = true`.")] = "",
    order_by: Annotated[str, typer.Option(help="Such as `max_activation desc`.")] = "",
    limit: Limit = 20,
) -> None:
    """List features with label, density and strongest activation."""
    with connected() as prisma:
        found = prisma.runs.get(run).features.list(query=query, filter=filter, order_by=order_by, limit=limit)
        output.show(found, _FEATURE)


@app.command()
def feature(run: RunId, index: Annotated[int, typer.Argument(min=0)], limit: Limit = 5) -> None:
    """Show a feature: label, statistics, neighbours, strongest documents."""
    with connected() as prisma:
        owner = prisma.runs.get(run)
        found = owner.features.get(index)
        lines = [
            f"{found.name}  {found.label.text or '(no label)'}",
            found.label.description,
            f"density {found.density:.2%}   max {found.max_activation:.3g}   mean {found.mean_activation:.3g}",
            "close:    " + ", ".join(f"{each.index} {each.label}" for each in found.decoder_neighbors[:5]),
            "together: " + ", ".join(f"{each.index} {each.label}" for each in found.coactive_neighbors[:5]),
        ]
        if output.on_terminal():
            lines += [f"{each.activation:6.2f}  {each.key}" for each in owner.features.examples(index, limit=limit)]
        output.show_one(found, lines)


@app.command()
def families(
    run: RunId,
    query: Annotated[str, typer.Argument(help="Words of a label.")] = "",
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Build them anew.")] = False,
    threshold: Annotated[float | None, typer.Option(help="The least co-activation of an edge (0.1).")] = None,
    rounds: Annotated[int | None, typer.Option(help="How often parents are taken away (3).")] = None,
    limit: Limit = 20,
) -> None:
    """List families of features; they are built where there are none yet."""
    with connected() as prisma:
        found = prisma.runs.get(run)
        if rebuild or not found.interpretation().HasField("families_time"):
            with output.bar("families") as bar:
                found.build_families(threshold=threshold, rounds=rounds, progress=bar)
        columns: output.Columns = {
            "family": lambda each: each.name.rpartition("/")[2],
            "features": lambda each: each.member_count,
            "parent": lambda each: each.display_name,
            "children": lambda each: "; ".join(member.label for member in each.members[1:4]),
        }
        output.show(islice(found.families(query), limit), columns)


@app.command()
def search(
    dataset: DatasetId,
    query: Annotated[str, typer.Argument(help="What to look for.")],
    mode: Annotated[str, typer.Option(help="hybrid, full_text, semantic or sparse.")] = "hybrid",
    run: Annotated[str, typer.Option(help="Whose features explain the hits.")] = "",
    filter: Annotated[str, typer.Option(help='Such as `metadata.module = "asyncio"`.')] = "",
    limit: Limit = 10,
) -> None:
    """Search documents. Each hit says which features it shares with the query."""
    with connected() as prisma:
        if mode not in ("hybrid", "full_text", "semantic", "sparse"):
            raise typer.BadParameter(f"expected hybrid, full_text, semantic or sparse; got {mode!r}")
        answer = prisma.datasets.get(dataset).search(query, mode=mode, run=run or None, filter=filter, limit=limit)
        for notice in answer.notices:
            typer.echo(f"prisma: {notice}", err=True)
        columns: output.Columns = {
            "score": lambda each: f"{each.score:.3f}",
            "document": lambda each: each.key,
            "text": lambda each: " ".join(each.snippet.split())[:80],
            "shares": lambda each: "; ".join(shared.label for shared in each.shared_features[:2]),
        }
        output.show(answer.hits, columns)


@app.command()
def explain(
    run: RunId,
    text: Annotated[str, typer.Argument(help="A text; - for standard input.")] = "",
    document: Annotated[str, typer.Option(help="datasets/<dataset>/documents/<document>, in place of a text.")] = "",
    limit: Limit = 15,
) -> None:
    """Show which features are active in a text or a document."""
    if bool(text) == bool(document):
        raise typer.BadParameter("expected a text, or --document")
    with connected() as prisma:
        found = prisma.runs.get(run).explain(sys.stdin.read() if text == "-" else text, document=document)
        lines = [f"{len(found.features)} features explain {1 - found.unexplained_fraction:.0%}"]
        lines += [f"{each.activation:6.2f}  {each.index:>5}  {each.label}" for each in _first(found, limit)]
        output.show_one(found, lines)


@app.command()
def pause(run: RunId) -> None:
    """Stop a run's training after a checkpoint; `prisma train DATASET --run RUN` goes on."""
    with connected() as prisma:
        prisma.runs.get(run).pause()
        output.show_one({"paused": run}, [f"runs/{run} is paused; train it again to go on"])


@app.command()
def sweep(
    dataset: DatasetId,
    k: Annotated[list[int] | None, typer.Option(help="Values of k; give it several times.")] = None,
    expansion: Annotated[list[int] | None, typer.Option(help="Values of expansion.")] = None,
    learning_rate: Annotated[list[float] | None, typer.Option(help="Values of the learning rate.")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Values of the seed.")] = None,
) -> None:
    """Train and evaluate a run for each combination of the values."""
    with connected() as prisma, output.bar("sweep") as bar:
        runs = prisma.datasets.get(dataset).sweep(
            ks=k or [], expansions=expansion or [], learning_rates=learning_rate or [], seeds=seed or [], progress=bar
        )
    output.show(
        [run.message for run in runs],
        {
            "run": lambda each: each.name.removeprefix("runs/"),
            "with": lambda each: each.display_name,
            "FVU": lambda each: f"{each.evaluation.fvu:.3f}",
            "L0": lambda each: f"{each.evaluation.l0:.1f}",
            "dead": lambda each: f"{each.evaluation.dead_share:.1%}",
            "kNN": lambda each: f"{each.evaluation.knn_overlap:.3f}",
            "nDCG": lambda each: f"{each.evaluation.ndcg:.3f}",
        },
    )


@app.command()
def evaluate(run: RunId) -> None:
    """Measure what a run keeps of held-out vectors."""
    with connected() as prisma, output.bar("evaluating") as bar:
        found = prisma.runs.get(run).evaluate(progress=bar)
    output.show_one(
        found,
        [
            f"FVU {found.fvu:.3f}, cosine {found.cosine:.3f}, L0 {found.l0:.1f}, dead {found.dead_share:.1%}, "
            f"dense {found.dense_share:.1%}",
            f"kNN overlap@10 {found.knn_overlap:.3f}, nDCG@10 {found.ndcg:.3f} on {found.row_count:,} vectors",
        ],
    )


@app.command()
def push(run: RunId) -> None:
    """Copy a run's weights to the object store that the server's operator chose."""
    with connected() as prisma, output.bar("pushing") as bar:
        job = prisma.runs.get(run).push(progress=bar)
    output.show_one(job, [line.text for line in job.log])


@app.command()
def compare(first: RunId, second: RunId) -> None:
    """Say which latents of a run are also in another, and which are lost, new, split and merged there."""
    with connected() as prisma:
        found = prisma.runs.get(first).compare(second)
    lines = [
        f"{len(found.matches):,} the same, {len(found.lost):,} lost, {len(found.gained):,} new, "
        f"{len(found.split):,} split, {len(found.merged):,} merged",
        f"mean max cosine {found.mean_max_cosine:.3f}",
    ]
    output.show_one(found, lines)


@app.command()
def carry_labels(
    run: RunId,
    source: Annotated[str, typer.Argument(help="The run that the labels come from.")],
    min_cosine: Annotated[float, typer.Option(help="Cosine from which two features are the same.")] = 0.9,
) -> None:
    """Give a run's features the labels of another run's that they resemble; labels by people stay."""
    with connected() as prisma:
        found = prisma.runs.get(run).carry_labels(source, min_cosine)
    lines = [f"{found.carried_count:,} labels carried; {found.matched_count:,} features match"]
    output.show_one(found, lines)


@app.command()
def import_weights(
    dataset: DatasetId,
    file: Annotated[Path, typer.Argument(help="A .safetensors of PRISMA, a .zip of SAELens or sparsify, or a .pt.")],
    run: Annotated[str, typer.Option(help="The new run's id.")] = "",
    detach: Detach = False,
) -> None:
    """Make a run of weights from elsewhere, and write its codes."""
    with connected() as prisma, output.bar("encoding") as bar:
        made = prisma.runs.import_weights(dataset, file, run_id=run)
        _told(made.train(wait=not detach, progress=bar), detach)


_EXPORTS: dict[str, Callable[[Run, Path], int]] = {
    "features": lambda run, file: run.export_features(file),
    "activations": lambda run, file: run.export_activations(file),
    "weights": lambda run, file: run.export_weights(file),
    "sae-lens": lambda run, file: run.export_weights(file, sae_lens=True),
}


@app.command()
def export(
    run: RunId,
    what: Annotated[str, typer.Argument(help=f"{', '.join(_EXPORTS)}.")],
    file: Annotated[Path, typer.Argument(help="Where to write.")],
) -> None:
    """Write features (CSV), activations (JSON lines), or weights (safetensors; a zip for SAELens) to a file."""
    if what not in _EXPORTS:
        raise typer.BadParameter(f"expected {', '.join(_EXPORTS)}, got {what!r}")
    with connected() as prisma:
        size = _EXPORTS[what](prisma.runs.get(run), file)
        output.show_one({"file": str(file), "bytes": size}, [f"{file}: {size:,} bytes"])


@app.command()
def delete(
    name: Annotated[str, typer.Argument(help="datasets/<dataset> or runs/<run>.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete a dataset or a run, with all that derives from it."""
    kind, _, key = name.partition("/")
    if kind not in ("datasets", "runs") or not key:
        raise typer.BadParameter(f"expected datasets/<dataset> or runs/<run>, got {name!r}")
    with connected() as prisma:
        found = prisma.datasets.get(key) if kind == "datasets" else prisma.runs.get(key)
        if not yes:
            goes = "its documents, vectors, runs, labels and index" if kind == "datasets" else "its weights and labels"
            typer.confirm(f"Delete {found.name}? Goes too: {goes}", abort=True)
        found.delete()
        output.show_one({"deleted": found.name}, [f"{found.name} is deleted"])


@app.command()
def jobs(
    job: Annotated[str, typer.Argument(help="One job's id, to follow it.")] = "",
    cancel: Annotated[bool, typer.Option("--cancel", help="Ask it to stop.")] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Start it again.")] = False,
    limit: Limit = 20,
) -> None:
    """List jobs, or follow, cancel or retry one."""
    with connected() as prisma:
        if not job:
            output.show(prisma.jobs.list(limit), _JOB)
        elif cancel or retry:
            changed = prisma.jobs.cancel(job) if cancel else prisma.jobs.retry(job)
            output.show([changed], _JOB)
        else:
            with output.bar(job) as bar:
                prisma.jobs.wait(job, bar)


@app.command()
def models() -> None:
    """List the models that embed and those that write labels, as their providers offer them now."""
    with connected() as prisma:
        embedding, labelling = prisma.embedding_models(), prisma.label_models()
        rows: list[dict[str, Any]] = [
            {"for": "embeddings", **json_format.MessageToDict(each)} for each in embedding.embedding_models
        ]
        rows += [{"for": "labels", **json_format.MessageToDict(each)} for each in labelling.label_models]
        columns: output.Columns = {
            "for": lambda each: each["for"],
            "model": lambda each: each["id"],
            "dimension": lambda each: each.get("dimension", ""),
        }
        output.show(rows, columns)
        for away in {each.provider: each for each in [*embedding.unreachable, *labelling.unreachable]}.values():
            typer.echo(f"prisma: {away.message}", err=True)


@app.command()
def status() -> None:
    """Show how all parts are. Exits with 6 when one is down."""
    with connected() as prisma:
        found = prisma.status()
        columns: output.Columns = {
            "part": lambda each: each["service"],
            "health": lambda each: each["health"].removeprefix("HEALTH_").lower(),
            "version": lambda each: each.get("version", ""),
            "jobs": lambda each: each.get("runningJobs", 0),
            "": lambda each: each.get("message", ""),
        }
        output.show(found["services"], columns)
        if found["health"] == "HEALTH_DOWN":
            raise typer.Exit(6)


_FEATURE: output.Columns = {
    "index": lambda each: each.index,
    "density": lambda each: f"{each.density:.2%}",
    "max": lambda each: f"{each.max_activation:.3g}",
    "label": lambda each: "(dead)" if each.dead else each.label.text,
}
_JOB: output.Columns = {
    "job": lambda each: each.name.removeprefix("jobs/"),
    "kind": lambda each: each.kind,
    "state": lambda each: Job.State.Name(each.state).removeprefix("STATE_").lower(),
    "done": lambda each: f"{each.progress.done:,}/{each.progress.total:,} {each.progress.unit}",
    "": lambda each: each.error.message,
}


def _told(job: Job, detached: bool) -> None:
    if detached:
        output.show_one(job, [f"{job.name} is started"])


def _first(analysis: Analysis, limit: int) -> list[Analysis.ActiveFeature]:
    return list(analysis.features[:limit])
