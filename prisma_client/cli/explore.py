"""Commands for features: statistics, labels, families, search, explanations."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from prisma.interpreter.v1.analyses_pb2 import AnalyzedFeature
from prisma.interpreter.v1.interpreter_service_pb2 import ListExamplesResponse
from prisma.interpreter.v1.resources_pb2 import Analysis, Example, Family, Feature, Label, LabelTest, Reliability, Trust
from prisma.search.v1.search_service_pb2 import DocumentHit
from prisma_client.choices import ExampleKind, SearchMode
from prisma_client.cli import exports, output
from prisma_client.cli.arguments import DatasetId, Detach, Limit, RequestId, RunId, check_suffix, run_id
from prisma_client.cli.connection import connected, finish, following
from prisma_client.cli.units import counted, unit_of
from prisma_client.errors import UnknownFamily
from prisma_client.sync.datasets import SearchOptions
from prisma_client.sync.runs import Run

app = typer.Typer(rich_markup_mode=None)
_FEATURE_COLUMNS: output.Columns = {
    "index": lambda feature: feature.index,
    "density": lambda feature: f"{feature.precise_density:.2%}",
    "max": lambda feature: f"{feature.max_activation:.3g}",
    "trust": lambda feature: trust_word(feature.trust),
    "score": lambda feature: score_text(feature.label),
    "label": lambda feature: "(dead)" if feature.dead else feature.label.text or _without_label(feature),
}


def trust_word(value: Trust) -> str:
    """How far a feature can be relied on: `trusted`, `open`, `doubtful` or `unnamed`."""
    return Trust.Name(value).removeprefix("TRUST_").lower()


def score_text(label: Label | Reliability | Analysis.ActiveFeature | AnalyzedFeature) -> str:
    """A label's score with its interval; empty where it was not tested."""
    return f"{label.score:.2f} ({label.score_low:.2f}-{label.score_high:.2f})" if label.HasField("score") else ""


def _without_label(feature: Feature) -> str:
    """Why a feature has no label."""
    if not feature.HasField("label"):
        return ""
    return "(dense)" if feature.dense else "(not named)"


@app.command(epilog="Example: prisma compute-stats first")
def compute_stats(run: RunId, detach: Detach = False) -> None:
    """Compute the statistics of all features again."""
    with connected() as prisma:
        job = prisma.runs.get(run).compute_statistics(wait=False)
        finish(prisma, job, title="statistics", detach=detach)


@app.command(epilog="Example: prisma label first")
def label(
    run: RunId,
    model: Annotated[str, typer.Option(help="`keywords`, or `<provider>/<model>`.")] = "keywords",
    feature: Annotated[list[int] | None, typer.Option(help="Index of a feature; repeat the option.")] = None,
    limit: Annotated[int | None, typer.Option(help="Maximum number of features. Default: all.", min=1)] = None,
    relabel: Annotated[bool, typer.Option("--relabel", help="Also relabel labelled features.")] = False,
    text: Annotated[str | None, typer.Option(help="Write this label; needs exactly one --feature.")] = None,
    stop_word: Annotated[
        list[str] | None, typer.Option(help="A word that labels by keywords leave out; repeat the option.")
    ] = None,
    request_id: RequestId = None,
    detach: Detach = False,
) -> None:
    """Label features by keywords or a language model.

    With --text, one feature is labelled by hand. Earlier labels stay in the history.
    """
    indices = feature or []
    if text is not None and len(indices) != 1:
        raise typer.BadParameter("--text needs exactly one --feature")
    with connected() as prisma:
        owner = prisma.runs.get(run)
        if text is not None:
            created = owner.features.set_label(indices[0], text, request_id=request_id)
            output.show_one(created, [f"{created.name}: {created.text}"])
            return
        job = owner.label(
            model,
            indices=indices,
            limit=limit,
            relabel=relabel,
            request_id=request_id,
            wait=False,
            stop_words=stop_word or [],
        )
        finish(prisma, job, title=model, detach=detach)
        if not detach and output.on_terminal():
            typer.echo(_trust_counts(owner))


@app.command(epilog="Example: prisma score-labels first --judge ollama/qwen2.5:7b")
def score_labels(
    run: RunId,
    judge: Annotated[str | None, typer.Option(help="A language model that judges too: `<provider>/<model>`.")] = None,
    judge_documents: Annotated[
        int | None, typer.Option(help="Documents per label that activate its feature. Default: 20.", min=10, max=100)
    ] = None,
    max_questions: Annotated[int | None, typer.Option(help="Questions to the judge. Default: 2000.", min=1)] = None,
    feature: Annotated[list[int] | None, typer.Option(help="Index of a feature; repeat the option.")] = None,
    limit: Annotated[int | None, typer.Option(help="Maximum number of labels. Default: all.", min=1)] = None,
    rescore: Annotated[bool, typer.Option("--rescore", help="Also score labels again that have a score.")] = False,
    request_id: RequestId = None,
    detach: Detach = False,
) -> None:
    """Score labels on documents that they were not made with.

    Labels of people and language models are scored, too; `prisma feature` shows the scores.
    """
    if judge is None and (judge_documents or max_questions):
        raise typer.BadParameter("--judge-documents and --max-questions need --judge")
    with connected() as prisma:
        owner = prisma.runs.get(run)
        job = owner.score_labels(
            judge=judge,
            judge_documents=judge_documents,
            max_questions=max_questions,
            indices=feature or [],
            limit=limit,
            rescore=rescore,
            request_id=request_id,
            wait=False,
        )
        finish(prisma, job, title="scores", detach=detach)
        if not detach and output.on_terminal():
            for line in prisma.jobs.get(job.name).log:
                typer.echo(line.text)
            typer.echo(_trust_counts(owner))


def _trust_counts(run: Run) -> str:
    counts = run.interpretation().trust_counts
    return (
        f"features: {counts.trusted:,} trusted, {counts.open:,} open, {counts.doubtful:,} doubtful, "
        f"{counts.unnamed:,} unnamed"
    )


@app.command(epilog="Example: prisma carry-labels second first")
def carry_labels(
    run: RunId,
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="Id of the run to copy labels from.", callback=run_id)
    ],
    min_cosine: Annotated[float, typer.Option(help="Minimum cosine at which two features match.")] = 0.9,
    request_id: RequestId = None,
) -> None:
    """Copy labels to a run from matching features of another.

    Labels written by people stay.
    """
    with connected() as prisma:
        carried = prisma.runs.get(run).carry_labels(source, min_cosine, request_id=request_id)
    lines = [f"{carried.carried_count:,} labels copied; {carried.matched_count:,} features match"]
    output.show_one(carried, lines)


@app.command(epilog="Example: prisma features first --filter 'trust = TRUSTED'")
def features(
    run: RunId,
    query: Annotated[str | None, typer.Argument(help="Words of the label, or an index.")] = None,
    filter: Annotated[str | None, typer.Option(help="For example `density > 0.01 AND trust = TRUSTED`.")] = None,
    order_by: Annotated[str | None, typer.Option(help="For example `max_activation desc`, or `trust`.")] = None,
    limit: Limit = 20,
) -> None:
    """List features with label, trust, score and density."""
    with connected() as prisma:
        listed = prisma.runs.get(run).features.list(query=query, filter=filter, order_by=order_by, limit=limit)
        conditions = " and ".join(condition for condition in (query and f"{query!r}", filter) if condition)
        empty = f"no feature of {run} matches {conditions}" if conditions else f"{run} has no features"
        output.show(listed, _FEATURE_COLUMNS, empty=empty)


@app.command(epilog="Example: prisma feature first 12 --examples decile")
def feature(
    run: RunId,
    index: Annotated[int, typer.Argument(min=0, help="Index of the feature.")],
    examples: Annotated[ExampleKind, typer.Option(help="Which documents to show.")] = ExampleKind.STRONGEST,
    limit: Limit = 5,
) -> None:
    """Show a feature: label, statistics, neighbours, documents.

    It also shows how well the label fits each tenth of the activations.
    """
    with connected() as prisma:
        owner = prisma.runs.get(run)
        details = owner.features.get(index)
        lines = [
            f"{details.name}  {details.label.text or '(no label)'}",
            f"{trust_word(details.trust)}{_measured(details)}",
            *(f"  {missed.explanation}" for missed in details.missed_conditions),
            details.label.description,
            f"density {details.precise_density:.2%} (with its tail {details.density:.2%})   "
            f"max {details.max_activation:.3g}   mean {details.mean_activation:.3g}",
            "similar direction: " + _neighbors(details.decoder_neighbors),
            "active together:   " + _neighbors(details.coactive_neighbors),
        ]
        if output.on_terminal():
            lines += _scorers(owner.features.labels(index))
            lines += [_decile(decile) for decile in owner.features.deciles(index)]
            documents = owner.features.examples(index, kind=examples.value, limit=limit)
            lines += [f"{document.activation:6.2f}  {document.key}{_span(document)}" for document in documents]
        output.show_one(details, lines)


def _reliable(
    labelled: Feature.Neighbor | Family.Member | DocumentHit.SharedFeature | DocumentHit.SteeringFeature,
) -> str:
    """A label with its trust."""
    return f"{labelled.label} ({trust_word(labelled.reliability.trust)})" if labelled.label else str(labelled.index)


def _neighbors(neighbors: Sequence[Feature.Neighbor]) -> str:
    return ", ".join(f"{neighbor.index} {_reliable(neighbor)}" for neighbor in neighbors[:5])


def _span(document: Example) -> str:
    """Of a passage, where it stands in its document."""
    passage = document.passage
    return f"  {passage.start}:{passage.end}" if passage.count > 1 else ""


def _decile(decile: ListExamplesResponse.Decile) -> str:
    """Where the activations of a tenth lie, and how well the label fits there."""
    score = f"label fits {decile.score:.2f}" if decile.HasField("score") else "label not tested"
    return f"decile {decile.decile:>2}   {decile.max_activation:.3g} to {decile.min_activation:.3g}   {score}"


def _scorers(labels: Sequence[Label]) -> list[str]:
    """What each scorer of ScoreLabels measured of the active label, one line each."""
    lines: list[str] = []
    for measured in (measured for label in labels if label.active for measured in label.test.measurements):
        name = LabelTest.Scorer.Name(measured.scorer).removeprefix("SCORER_").lower()
        parts = [f"{name:9}"]
        parts += [f"similar {_interval(measured.hard)}"] if measured.HasField("hard") else []
        parts += [f"random {_interval(measured.random)}"] if measured.HasField("random") else []
        parts += [f"different label {measured.floor:.2f}"] if measured.HasField("floor") else []
        parts += [f"correlation {measured.correlation.value:.2f}"] if measured.HasField("correlation") else []
        parts += [f"{measured.unusable_count} unusable answers"] if measured.unusable_count else []
        parts += [measured.model] if measured.model else []
        lines.append("   ".join(parts))
    return lines


def _interval(score: LabelTest.Score) -> str:
    return f"{score.value:.2f} ({score.low:.2f}-{score.high:.2f})"


def _measured(feature: Feature) -> str:
    """Score, stability and threshold of a feature, as far as they are known."""
    parts = [f"score {score_text(feature.label)}"] if feature.label.HasField("score") else []
    parts += [f"stability {feature.stability:.2f}"] if feature.HasField("stability") else []
    parts += [f"precise from an activation of {feature.threshold:.3g}"] if feature.HasField("threshold") else []
    return "".join(f"   {part}" for part in parts)


@app.command(epilog="Example: prisma families first")
def families(
    run: RunId,
    query: Annotated[str | None, typer.Argument(help="Words of a label.")] = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Build them again.")] = False,
    threshold: Annotated[
        float | None, typer.Option(help="How alike joined features are at least. Default: 0.16.")
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(help="Rounds; each divides the families of the one before. Default: 3.")
    ] = None,
    include_tail: Annotated[
        bool, typer.Option("--include-tail", help="Build: also count activations below thresholds.")
    ] = False,
    limit: Limit = 20,
) -> None:
    """List families of features, the most trusted first.

    They are built if there are none yet.
    """
    columns: output.Columns = {
        "family": lambda family: family.name.rpartition("/")[2],
        "features": lambda family: family.member_count,
        "trusted": lambda family: sum(member.reliability.trust == Trust.TRUST_TRUSTED for member in family.members),
        "name": lambda family: family.display_name,
        "trust": lambda family: trust_word(family.reliability.trust),
        "score": lambda family: score_text(family.reliability),
        "members": lambda family: "; ".join(_reliable(member) for member in family.members[:3]),
    }
    with connected() as prisma:
        owner = prisma.runs.get(run)
        if rebuild or not owner.interpretation().HasField("families_time"):
            with following("families") as progress:
                owner.build_families(threshold=threshold, rounds=rounds, include_tail=include_tail, progress=progress)
        empty = f"no family of {run} matches {query!r}" if query else f"{run} has no families"
        output.show(islice(owner.families(query), limit), columns, empty=empty)


@app.command(epilog='Example: prisma search reviews "heart failure" --run first --boost 12=2')
def search(
    dataset: DatasetId,
    query: Annotated[str, typer.Argument(help="Text to search for.")],
    mode: Annotated[SearchMode, typer.Option(help="How documents are ranked.")] = SearchMode.HYBRID,
    run: Annotated[str | None, typer.Option(help="Run whose features explain the hits.", callback=run_id)] = None,
    filter: Annotated[str | None, typer.Option(help='For example `metadata.module = "asyncio"`.')] = None,
    boost: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FEATURES=WEIGHT",
            help="Move documents with a feature of the run up (to 3) or down (to -3), or with several that count as "
            "one: 12=2, 12,40=2, families/1-12=2; repeat the option.",
        ),
    ] = None,
    include_tail: Annotated[
        bool, typer.Option("--include-tail", help="Also show features below their threshold, and let them boost.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option(help="Maximum number of rows. Default: 10, or 1000 with --output.", min=1, max=1000)
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--output",
            metavar="FILE",
            help="Write the hits with their metadata to a file: .csv, .jsonl, .parquet or .arrow.",
            dir_okay=False,
            writable=True,
        ),
    ] = None,
) -> None:
    """Search documents.

    Each hit says which features it shares with the query, and how boosts have moved it.
    """
    boosts = _boosts(boost or [], run)
    if boosts and run is None:
        raise typer.BadParameter("--boost needs --run")
    if file is not None:
        check_suffix(file, None)
    options: SearchOptions = {
        "mode": mode.value,
        "run": run,
        "filter": filter,
        "boost": boosts,
        "include_tail": include_tail,
    }
    columns: dict[str, Callable[[Any], object]] = {
        "score": lambda hit: f"{hit.score:.3f}",
        **(_STEERING_COLUMNS if boosts else {}),
        "document": lambda hit: hit.key,
        "text": lambda hit: " ".join(hit.snippet.split())[:80],
        "shares": lambda hit: "; ".join(_reliable(shared) for shared in hit.shared_features[:2]),
    }
    with connected() as prisma:
        data = prisma.datasets.get(dataset)
        try:
            if file is not None:
                exports.show(file, lambda: data.export_hits(file, query, limit=limit or 1000, **options))
                return
            response = data.search(query, limit=limit or 10, **options)
        except UnknownFamily as error:
            raise typer.BadParameter(_unknown_family(error.family)) from None
        for notice in response.notices:
            output.warn(notice)
        if any(hit.HasField("passage") for hit in response.hits):
            columns |= _PASSAGE_COLUMNS
        empty = f"no {unit_of(data.message)} of {dataset} matches {query!r}{_with(filter)}"
        output.show(response.hits, columns, empty=empty)


def _with(filter: str | None) -> str:
    return f" with {filter}" if filter else ""


def _boosts(options: Sequence[str], run: str | None) -> dict[int | str | tuple[int, ...], float]:
    """Weights by index, indices or name of a family, of options such as `12=2`. Raises BadParameter."""
    boosts: dict[int | str | tuple[int, ...], float] = {}
    for option in options:
        features, _, weight = option.partition("=")
        boosted = _boosted(features, run)
        try:
            number = float(weight)
        except ValueError:
            number = math.nan
        if boosted is None or math.isnan(number) or boosted in boosts:
            raise typer.BadParameter(
                "expected --boost FEATURES=WEIGHT such as 12=2, 12,40=2 or families/1-12=2, each once, got "
                f"{option!r}; `prisma features RUN WORDS` and `prisma families RUN WORDS` show the numbers"
            )
        boosts[boosted] = number
    return boosts


def _unknown_family(name: str) -> str:
    _, run, collection, family = name.split("/")
    return f"{run} has no {collection}/{family}; `prisma families {run}` shows the families that it has now"


def _boosted(features: str, run: str | None) -> int | str | tuple[int, ...] | None:
    """An index, several ones, or the name of a family; None for anything else."""
    if re.fullmatch(r"families/[^/\s]+", features):
        return f"runs/{(run or '').removeprefix('runs/')}/{features}"
    if not re.fullmatch(r"[0-9]{1,10}(,[0-9]{1,10})*", features):
        return None
    indices = [int(index) for index in features.split(",")]
    return tuple(indices) if len(indices) > 1 else indices[0]


_STEERING_COLUMNS: output.Columns = {
    "rank": lambda hit: f"{hit.rank} (was {hit.unsteered_rank})" if hit.unsteered_rank else f"{hit.rank} (new)",
    "moved by": lambda hit: "; ".join(f"{_reliable(feature)} {feature.contribution:+.2f}" for feature in hit.steering),
}
_PASSAGE_COLUMNS: output.Columns = {
    "passage": lambda hit: f"{hit.passage.index + 1} of {hit.passage.count}",
    "characters": lambda hit: f"{hit.passage.start}:{hit.passage.end}",
}


@app.command(epilog='Example: prisma explain first "Patients were randomised to two groups"')
def explain(
    run: RunId,
    text: Annotated[str | None, typer.Argument(help="Text; - for standard input.")] = None,
    document: Annotated[str | None, typer.Option(help="datasets/<dataset>/documents/<document>.")] = None,
    name_tail: Annotated[bool, typer.Option("--name-tail", help="Also name features below their threshold.")] = False,
    limit: Limit = 15,
) -> None:
    """Show which features are active in a text or a document.

    It also says whether the text is unlike the dataset.
    """
    if bool(text) == bool(document):
        raise typer.BadParameter("expected either a text or --document")
    with connected() as prisma:
        content = sys.stdin.read() if text == "-" else text
        encoder = prisma.runs.get(run)
        analysis = encoder.explain(content, document=document, name_tail=name_tail).message
        lines = [f"{len(analysis.features)} features explain {1 - analysis.unexplained_fraction:.0%} of the vector"]
        if analysis.HasField("familiarity"):
            unit = unit_of(prisma.datasets.get(encoder.message.dataset).message)
            lines += _familiarity(analysis.familiarity, unit)
        lines += [
            f"{active.activation:6.2f}  {active.index:>5}  {trust_word(active.trust):8}  {active.label}"
            f"{f'  {score_text(active)}' if active.label and active.HasField('score') else ''}"
            f"{'  (below its threshold)' if active.tail else ''}"
            for active in analysis.features[:limit]
        ]
        output.show_one(analysis, lines)


def _familiarity(place: Analysis.Familiarity, unit: str) -> list[str]:
    """How familiar a text is to the run, whose dataset has rows of this unit."""
    lines = [
        f"unexplained: {place.unexplained_percentile:.0%} of {counted(place.document_count, unit)} of similar length "
        f"({place.min_length} to {place.max_length} characters) have less"
    ]
    if place.out_of_distribution:
        lines.append(
            f"unlike the dataset: less similar than {1 - place.similarity_percentile:.0%} of them, with "
            f"{place.unknown_share:.0%} unknown letter sequences: the features may mean nothing here (at most "
            f"{place.false_alarm_rate:.0%} of new {unit}s get this warning by mistake)"
        )
    return lines
