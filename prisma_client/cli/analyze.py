"""Commands for analyses that are based on a run's features; on a terminal a summary and a table, else one JSON line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any

import typer
from google.protobuf.message import Message

from prisma.interpreter.v1.analyses_pb2 import AnalyzedFeature, MetadataAssociations, SentenceAttribution
from prisma_client.choices import MetadataKind
from prisma_client.cli import output
from prisma_client.cli.arguments import Limit, RunId, dataset_id
from prisma_client.cli.connection import connected
from prisma_client.cli.explore import score_text, trust_word

app = typer.Typer(
    help="Answer questions about texts and documents by features.", no_args_is_help=True, rich_markup_mode=None
)
_TEXT_HELP = "A text, or a document's name: datasets/<dataset>/documents/<document>."
_SET_HELP = 'A filter, for example `metadata.section = "games"`'
FeatureFilter = Annotated[
    str | None,
    typer.Option(
        "--features", help="Which features count, for example `dead = false` for all. Default: `trust = TRUSTED`."
    ),
]
IncludeTail = Annotated[
    bool, typer.Option("--include-tail", help="Also count activations below a feature's threshold.")
]
MaxQ = Annotated[float | None, typer.Option(help="Maximum share of false discoveries. Default: 0.05.")]


@app.command(epilog='Example: prisma analyze sentences first "One sentence. Another one."')
def sentences(
    run: RunId,
    text: Annotated[str, typer.Argument(help=f"{_TEXT_HELP} - for standard input.")],
    feature: Annotated[list[int] | None, typer.Option(help="Index of a feature; repeat the option.")] = None,
    features: FeatureFilter = None,
    include_tail: IncludeTail = False,
    limit: Limit = 10,
) -> None:
    """Show which sentences of a text carry its features.

    The measure is what a feature loses when a sentence is left out.
    """
    with connected() as prisma:
        answer = (
            prisma.runs.get(run)
            .analyses.attribute_sentences(
                sys.stdin.read() if text == "-" else text,
                indices=feature or [],
                limit=limit,
                features=features,
                include_tail=include_tail,
            )
            .message
        )
    columns: output.Columns = {
        "activation": lambda entry: f"{entry.activation:.2f}",
        "loses": lambda entry: f"{entry.contributions[entry.strongest]:.2f}" if entry.HasField("strongest") else "",
        "without the sentence": lambda entry: _strongest_sentence(answer, entry),
        "remainder": lambda entry: f"{entry.remainder:.2f}",
        **_feature_columns(lambda entry: entry.feature),
    }
    notices = ["the embedding model read only the start of the text"] if answer.embedding_truncated else []
    _show(answer, answer.attributions, columns, notices=notices, empty=f"no feature of {run} that counts is active")


@app.command(epilog='Example: prisma analyze similarity first "a text" "another text"')
def similarity(
    run: RunId,
    first: Annotated[str, typer.Argument(help=_TEXT_HELP)],
    second: Annotated[str, typer.Argument(help="The other one.")],
    features: FeatureFilter = None,
    include_tail: IncludeTail = False,
    limit: Limit = 20,
) -> None:
    """Show why two texts are similar.

    Their cosine is the sum of what features contribute, and a remainder.
    """
    with connected() as prisma:
        answer = (
            prisma.runs.get(run)
            .analyses.explain_similarity(first, second, limit=limit, features=features, include_tail=include_tail)
            .message
        )
    columns: output.Columns = {
        "contribution": lambda entry: f"{entry.contribution:+.3f}",
        "first": lambda entry: f"{entry.first_activation:.2f}",
        "second": lambda entry: f"{entry.second_activation:.2f}",
        **_feature_columns(lambda entry: entry.feature),
    }
    listed = sum(entry.contribution for entry in answer.contributions)
    summary = (
        f"cosine {answer.similarity:.3f} = listed features {listed:+.3f}, other features {answer.other_features:+.3f}, "
        f"baseline {answer.baseline:+.3f}, unexplained {answer.unexplained:+.3f}"
    )
    _show(answer, answer.contributions, columns, summary=[summary])


@app.command(epilog="Example: prisma analyze metadata first rating")
def metadata(
    run: RunId,
    key: Annotated[str, typer.Argument(help="Key of the documents' metadata.")],
    kind: Annotated[
        MetadataKind | None, typer.Option(help="How values are read. Default: what the values suggest.")
    ] = None,
    max_q: MaxQ = None,
    features: FeatureFilter = None,
    include_tail: IncludeTail = False,
    limit: Limit = 20,
) -> None:
    """Show which features go with metadata.

    Half of the documents discovers, the other half confirms.
    """
    with connected() as prisma:
        answer = (
            prisma.runs.get(run)
            .analyses.associate_metadata(
                key,
                kind=kind.value if kind else None,
                max_q=max_q,
                limit=limit,
                features=features,
                include_tail=include_tail,
            )
            .message
        )
    columns: output.Columns = {
        "confirmed": lambda entry: "yes" if entry.confirmed else "no",
        "category": lambda entry: entry.category,
        "effect": lambda entry: _interval(entry.effect, entry.effect_low, entry.effect_high),
        **_feature_columns(lambda entry: entry.feature),
    }
    kind_name = MetadataAssociations.Kind.Name(answer.kind).removeprefix("KIND_").lower()
    summary = (
        f"{key} ({kind_name}): {answer.test_count:,} tests, {answer.discovered_count:,} discovered, of which "
        f"{answer.confirmed_count:,} are confirmed"
    )
    _show(answer, answer.associations, columns, summary=[summary], notices=answer.notices)


@app.command(epilog="Example: prisma analyze compare first 'metadata.rating = 5'")
def compare(
    run: RunId,
    first: Annotated[str | None, typer.Argument(help=f"{_SET_HELP}. Default: all documents.")] = None,
    second: Annotated[str | None, typer.Option(help="A filter. Default: all other documents.")] = None,
    first_dataset: Annotated[
        str | None, typer.Option(help="Id of a dataset. Default: that of the run.", callback=dataset_id)
    ] = None,
    second_dataset: Annotated[
        str | None, typer.Option(help="Id of a dataset. Default: that of the run.", callback=dataset_id)
    ] = None,
    max_q: MaxQ = None,
    features: FeatureFilter = None,
    include_tail: IncludeTail = False,
    limit: Limit = 20,
) -> None:
    """Show which features a set of documents has more often.

    It is compared with another set, or with all other documents.
    """
    with connected() as prisma:
        answer = (
            prisma.runs.get(run)
            .analyses.compare_datasets(
                first,
                second,
                first_dataset=first_dataset,
                second_dataset=second_dataset,
                max_q=max_q,
                limit=limit,
                features=features,
                include_tail=include_tail,
            )
            .message
        )
    columns: output.Columns = {
        "first": lambda entry: f"{entry.first_share:.1%}",
        "second": lambda entry: f"{entry.second_share:.1%}",
        "difference": lambda entry: _interval(entry.difference, entry.difference_low, entry.difference_high),
        "q": lambda entry: f"{entry.q_value:.2g}",
        **_feature_columns(lambda entry: entry.feature),
    }
    summary = (
        f"{answer.first_document_count:,} and {answer.second_document_count:,} documents: "
        f"{answer.significant_count:,} of {answer.feature_count:,} features differ"
    )
    _show(answer, answer.differences, columns, summary=[summary], notices=answer.notices)


@app.command(epilog="Example: prisma analyze correlations first")
def correlations(
    run: RunId,
    max_label_similarity_rank: Annotated[
        float | None,
        typer.Option(help="Share of pairs that may have less similar labels. Default: 0.5; 1 for all pairs."),
    ] = None,
    max_q: MaxQ = None,
    features: FeatureFilter = None,
    include_tail: IncludeTail = False,
    limit: Limit = 20,
) -> None:
    """Show features that occur together.

    Pairs whose labels are alike are left out.
    """
    with connected() as prisma:
        answer = (
            prisma.runs.get(run)
            .analyses.correlate_features(
                max_label_similarity_rank=max_label_similarity_rank,
                max_q=max_q,
                limit=limit,
                features=features,
                include_tail=include_tail,
            )
            .message
        )
    columns: output.Columns = {
        "odds ratio": lambda entry: _interval(entry.odds_ratio, entry.odds_ratio_low, entry.odds_ratio_high),
        "shared": lambda entry: f"{entry.shared_count:,}",
        "by chance": lambda entry: f"{entry.expected_count:.1f}",
        "q": lambda entry: f"{entry.q_value:.2g}",
        "first": lambda entry: _named(entry.first),
        "second": lambda entry: _named(entry.second),
    }
    summary = (
        f"{answer.document_count:,} different documents, {answer.feature_count:,} features: "
        f"{answer.significant_count:,} pairs occur together, of which {answer.explained_count:,} have similar labels"
    )
    _show(answer, answer.correlations, columns, summary=[summary], notices=answer.notices)


@app.command(epilog='Example: prisma analyze concept first "late delivery" --negative "on time"')
def concept(
    run: RunId,
    positives: Annotated[list[str], typer.Argument(metavar="TEXT", help=f"Has the concept. {_TEXT_HELP}")],
    negative: Annotated[
        list[str] | None,
        typer.Option(help="A text or document without it; repeat the option. Default: documents at random."),
    ] = None,
    features: FeatureFilter = None,
    include_tail: IncludeTail = False,
    limit: Limit = 20,
) -> None:
    """Show the features of a concept.

    They tell texts that have the concept from texts that do not.
    """
    with connected() as prisma:
        answer = (
            prisma.runs.get(run)
            .analyses.find_features(
                positives, negative or [], limit=limit, features=features, include_tail=include_tail
            )
            .message
        )
    columns: output.Columns = {
        "area": lambda entry: _interval(entry.area, entry.area_low, entry.area_high),
        "q": lambda entry: f"{entry.q_value:.2g}",
        "positive": lambda entry: f"{entry.positive_count} of {answer.positive_total}",
        "negative": lambda entry: f"{entry.negative_count} of {answer.negative_total}",
        **_feature_columns(lambda entry: entry.feature),
    }
    empty = f"no feature of {run} that counts is active in the texts"
    _show(answer, answer.separations, columns, notices=answer.notices, empty=empty)


@app.command(epilog="Example: prisma analyze classifier first 'metadata.rating = 5'")
def classifier(
    run: RunId,
    positive: Annotated[str, typer.Argument(help=f"{_SET_HELP}.")],
    negative: Annotated[str | None, typer.Option(help="A filter. Default: all other documents.")] = None,
    feature_count: Annotated[
        int | None, typer.Option(help="Maximum number of features. Default: 5.", min=1, max=32)
    ] = None,
    features: FeatureFilter = None,
    include_tail: IncludeTail = False,
) -> None:
    """Fit a classifier on a few features.

    It tells documents apart, and is measured on documents that were not used for it.
    """
    with connected() as prisma:
        answer = (
            prisma.runs.get(run)
            .analyses.fit_classifier(
                positive, negative, feature_count=feature_count, features=features, include_tail=include_tail
            )
            .message
        )
    columns: output.Columns = {
        "weight": lambda term: f"{term.weight:+.3f}",
        "threshold": lambda term: f"{term.threshold:.3g}",
        "area": lambda term: f"{term.area:.2f}",
        **_feature_columns(lambda term: term.feature),
    }
    summary = [
        f"area under the curve {_interval(answer.area, answer.area_low, answer.area_high)} on "
        f"{answer.held_out_positive_count:,} and {answer.held_out_negative_count:,} held-out documents",
        f"log odds = {answer.intercept:.3f} + sum of weight * activation",
    ]
    _show(answer, answer.terms, columns, summary=summary, notices=answer.notices)


def _show(
    answer: Message,
    rows: Iterable[Message],
    columns: output.Columns,
    *,
    summary: Sequence[str] = (),
    notices: Iterable[str] = (),
    empty: str | None = None,
) -> None:
    """Prints the summary and a table on a terminal, the answer as one JSON line when piped; notices on stderr.

    empty: the sentence on standard error where the table has no rows.
    """
    for notice in notices:
        output.warn(notice)
    output.show_one(answer, summary)
    if output.on_terminal():
        output.show(rows, columns, empty=empty)


def _feature_columns(feature_of: Callable[[Any], AnalyzedFeature]) -> output.Columns:
    """The columns that say which feature a row is about, and how far it can be relied on."""
    return {
        "index": lambda row: feature_of(row).index,
        "trust": lambda row: trust_word(feature_of(row).trust),
        "score": lambda row: score_text(feature_of(row)),
        "label": lambda row: feature_of(row).label,
    }


def _named(feature: AnalyzedFeature) -> str:
    """A feature's index and label with its trust."""
    return f"{feature.index} {feature.label} ({trust_word(feature.trust)})"


def _interval(value: float, low: float, high: float) -> str:
    """A value with its interval: two decimals, none from 100 on."""
    numbers = [f"{number:.2f}" if abs(number) < 100 else f"{number:.0f}" for number in (value, low, high)]
    return f"{numbers[0]} ({numbers[1]} to {numbers[2]})"


def _strongest_sentence(answer: SentenceAttribution, entry: SentenceAttribution.Attribution) -> str:
    """The start of the sentence with the largest contribution; empty where no sentence has any."""
    if not entry.HasField("strongest"):
        return ""
    return " ".join(answer.sentences[entry.strongest].text.split())[:60]
