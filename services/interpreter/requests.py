"""What requests may hold: each function returns checked values, or raises InvalidArgument that names the field."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from google.protobuf.message import Message

from prisma.interpreter.v1 import interpreter_service_pb2 as pb2
from prisma.interpreter.v1 import resources_pb2
from prisma_common.label_texts import MAX_DESCRIPTION, MAX_MODEL, MAX_TEXT, clean_line, clean_text
from prisma_common.words import is_blank
from services.chassis import context as call_context
from services.chassis import names
from services.chassis.errors import InvalidArgument
from services.chassis.feature_filters import FIELDS
from services.chassis.filters import Filter, parse_filter
from services.chassis.history import check_position
from services.chassis.idempotency import Call
from services.chassis.paging import Page
from services.chassis.table_files import FileOptions
from services.chassis.table_options import file_options
from services.interpreter import families
from services.interpreter.evidence import DECILES
from services.interpreter.examples import MAX_EXAMPLES, ExampleKind
from services.interpreter.features import DENSEST_FIRST, ORDERS, Order
from services.interpreter.label_import import ImportRequest, OnDuplicate
from services.interpreter.label_judge import (
    DOCUMENT_COUNT,
    MAX_DOCUMENT_COUNT,
    MAX_QUESTIONS,
    MIN_DOCUMENT_COUNT,
    QUESTIONS,
    Judgement,
)
from services.interpreter.label_scoring import ScoringOptions
from services.interpreter.labels import (
    KEYWORDS,
    Draft,
    Options,
    Source,
)
from services.interpreter.matrices import Kind

MAX_ANALYZED_BYTES = 128 << 10
"""UTF-8 bytes of a text to analyse: embedding models read far less."""
MAX_INDICES = 100_000
MAX_PROMPT = 20_000
MAX_STOP_WORDS = 1000
MAX_STOP_WORD = 100
"""Characters of a system prompt."""
DEFAULT_COSINE = 0.9
_MODEL = re.compile(r"keywords|[a-z0-9_-]{1,50}/[\w.:/-]{1,200}")
_EXAMPLE_KINDS = {
    pb2.ListExamplesRequest.KIND_UNSPECIFIED: ExampleKind.STRONGEST,
    pb2.ListExamplesRequest.KIND_STRONGEST: ExampleKind.STRONGEST,
    pb2.ListExamplesRequest.KIND_DECILE: ExampleKind.DECILE,
    pb2.ListExamplesRequest.KIND_NEAR_MISS: ExampleKind.NEAR_MISS,
    pb2.ListExamplesRequest.KIND_RANDOM: ExampleKind.RANDOM,
}
_ON_DUPLICATE = {
    pb2.ImportLabelsRequest.ON_DUPLICATE_UNSPECIFIED: OnDuplicate.REPLACE,
    pb2.ImportLabelsRequest.ON_DUPLICATE_REJECT: OnDuplicate.REJECT,
    pb2.ImportLabelsRequest.ON_DUPLICATE_SKIP: OnDuplicate.SKIP,
    pb2.ImportLabelsRequest.ON_DUPLICATE_REPLACE: OnDuplicate.REPLACE,
}
_KINDS = {
    resources_pb2.FeatureMatrix.KIND_UNSPECIFIED: Kind.CO_OCCURRENCE,
    resources_pb2.FeatureMatrix.KIND_DECODER_COSINE: Kind.DECODER_COSINE,
    resources_pb2.FeatureMatrix.KIND_CO_OCCURRENCE: Kind.CO_OCCURRENCE,
    resources_pb2.FeatureMatrix.KIND_ACTIVATION_COSINE: Kind.ACTIVATION_COSINE,
}


@dataclass(frozen=True, kw_only=True)
class FeatureListing:
    """Which features to list."""

    run: str
    condition: Filter
    query: str
    order: Order
    page: Page
    full: bool
    """Whether with their neighbours."""


@dataclass(frozen=True, kw_only=True)
class FeatureExport:
    """Which features to write to a file."""

    run: str
    condition: Filter
    query: str
    order: Order
    file: FileOptions


@dataclass(frozen=True, kw_only=True)
class FeaturePage:
    """A page of something that belongs to one feature."""

    run: str
    index: int
    page: Page


@dataclass(frozen=True, kw_only=True)
class ExampleListing(FeaturePage):
    """A page of a feature's examples."""

    kind: ExampleKind
    decile: int | None
    """None for all deciles."""


@dataclass(frozen=True, kw_only=True)
class FamilyListing:
    """Which families to list."""

    run: str
    query: str
    page: Page


@dataclass(frozen=True, kw_only=True)
class SampleRequest:
    """How much of a run to draw."""

    run: str
    row_count: int
    feature_count: int


@dataclass(frozen=True, kw_only=True)
class MatrixRequest:
    """Which features to compare, and by what."""

    run: str
    kind: Kind
    condition: Filter
    feature_count: int
    include_tail: bool
    """Whether activations below the features' thresholds count too."""


def run_name(name: str, field: str = "run") -> str:
    """`name` if it is that of a run."""
    names.parse("runs/{run}", name, field)
    return name


def interpretation_run(request: pb2.GetInterpretationRequest) -> str:
    """The name of the run whose interpretation is requested."""
    return f"runs/{names.parse('runs/{run}/interpretation', request.name, 'name')[0]}"


def feature_name(name: str, field: str = "name") -> tuple[str, int]:
    """The run's name and the index in `runs/{run}/features/{index}`."""
    run, index = names.parse("runs/{run}/features/{index}", name, field)
    return f"runs/{run}", _whole_number(index, name, field)


def label_name(name: str) -> tuple[str, int, int]:
    """The run's name, the feature's index and the revision in a label's name."""
    run, index, revision = names.parse("runs/{run}/features/{index}/labels/{revision}", name, "name")
    return f"runs/{run}", _whole_number(index, name, "name"), _whole_number(revision, name, "name")


def feature_listing(request: pb2.ListFeaturesRequest) -> FeatureListing:
    """Which features to list. Raises InvalidFilter, InvalidPageToken."""
    binding = (request.parent, request.query, request.filter, request.order_by)
    return FeatureListing(
        run=run_name(request.parent, "parent"),
        condition=parse_filter(request.filter, FIELDS),
        query=request.query,
        order=_order(request.order_by),
        page=Page.offset(request.page_size, request.page_token, bound_to=binding, default=50, maximum=1000),
        full=request.view == resources_pb2.FEATURE_VIEW_FULL,
    )


def feature_export(request: pb2.ExportFeaturesRequest) -> FeatureExport:
    """Which features to write to a file. Raises InvalidFilter."""
    return FeatureExport(
        run=run_name(request.run),
        condition=parse_filter(request.filter, FIELDS),
        query=request.query,
        order=_order(request.order_by or "index"),
        file=file_options(request),
    )


def example_listing(request: pb2.ListExamplesRequest) -> ExampleListing:
    """Whose examples to list, and which. Raises InvalidPageToken, InvalidArgument."""
    run, index = feature_name(request.parent, "parent")
    if request.kind not in _EXAMPLE_KINDS:
        kinds = ", ".join(pb2.ListExamplesRequest.Kind.keys())
        raise InvalidArgument.field("kind", f"expected one of {kinds}, got {request.kind}")
    if request.decile > DECILES:
        raise InvalidArgument.field("decile", f"expected 1 to {DECILES}, got {request.decile}")
    if request.decile and request.kind != pb2.ListExamplesRequest.KIND_DECILE:
        raise InvalidArgument.field("decile", "expected none unless the kind is KIND_DECILE")
    binding = (request.parent, request.kind, request.decile)
    page = Page.offset(request.page_size, request.page_token, bound_to=binding, default=10, maximum=MAX_EXAMPLES)
    kind = _EXAMPLE_KINDS[request.kind]
    return ExampleListing(run=run, index=index, page=page, kind=kind, decile=request.decile or None)


def label_listing(request: pb2.ListLabelsRequest) -> FeaturePage:
    """Whose labels to list. Raises InvalidPageToken."""
    run, index = feature_name(request.parent, "parent")
    binding = (request.parent,)
    page = Page.offset(request.page_size, request.page_token, bound_to=binding, default=50, maximum=1000)
    return FeaturePage(run=run, index=index, page=page)


def family_listing(request: pb2.ListFamiliesRequest) -> FamilyListing:
    """Which families to list. Raises InvalidPageToken."""
    binding = (request.parent, request.query)
    page = Page.offset(request.page_size, request.page_token, bound_to=binding, default=50, maximum=1000)
    return FamilyListing(run=run_name(request.parent, "parent"), query=request.query, page=page)


def label_stream(request: pb2.ReadLabelsRequest) -> tuple[str, int, str]:
    """The run's name, and the revision and its history since which labels are read."""
    check_position(history=request.history, revision=request.since_revision)
    return run_name(request.run), request.since_revision, request.history


def sample(request: pb2.SampleActivationsRequest) -> SampleRequest:
    """How much of a run to draw."""
    return SampleRequest(
        run=run_name(request.run),
        row_count=_count(request, "row_count", default=1000, maximum=10_000),
        feature_count=_count(request, "feature_count", default=200, maximum=500),
    )


def matrix(request: pb2.GetFeatureMatrixRequest) -> MatrixRequest:
    """Which features to compare, and by what. Raises InvalidFilter."""
    if request.kind not in _KINDS:
        kinds = ", ".join(resources_pb2.FeatureMatrix.Kind.keys()[1:])
        raise InvalidArgument.field("kind", f"expected one of {kinds}, got {request.kind}")
    return MatrixRequest(
        run=run_name(request.run),
        kind=_KINDS[request.kind],
        condition=parse_filter(request.filter, FIELDS),
        feature_count=_count(request, "feature_count", default=100, maximum=300),
        include_tail=request.include_tail,
    )


def options(message: resources_pb2.LabelOptions) -> Options:
    """How labels are made, with the defaults filled in."""
    default = Options()
    model = message.model or default.model
    if not _MODEL.fullmatch(model):
        raise InvalidArgument.field(
            "options.model", f"expected `{KEYWORDS}` or `<provider>/<model>`; got {model[:200]!r}"
        )
    if len(message.system_prompt) > MAX_PROMPT:
        raise InvalidArgument.field("options.system_prompt", f"expected at most {MAX_PROMPT:,} characters")
    return Options(
        model=model,
        positive_count=int(_within(message, "positive_count", default.positive_count, limits=(1, 50))),
        negative_count=int(_within(message, "negative_count", default.negative_count, limits=(0, 50))),
        temperature=_within(message, "temperature", default.temperature, limits=(0, 2)),
        system_prompt=message.system_prompt or None,
        stop_words=_stop_words(message.stop_words),
    )


def _stop_words(words: Sequence[str]) -> tuple[str, ...]:
    if len(words) > MAX_STOP_WORDS or any(len(word) > MAX_STOP_WORD for word in words):
        limits = f"at most {MAX_STOP_WORDS:,} words of at most {MAX_STOP_WORD} characters"
        raise InvalidArgument.field("options.stop_words", f"expected {limits}")
    return tuple(words)


def statistics_job(request: pb2.ComputeStatisticsRequest) -> pb2.ComputeStatisticsRequest:
    """The request, if it can become a job."""
    run_name(request.run)
    return request


def label_job(request: pb2.LabelFeaturesRequest) -> tuple[pb2.LabelFeaturesRequest, str]:
    """The request, if it can become a job, and the model that labels."""
    run_name(request.run)
    _check_indices(request.indices)
    return request, options(request.options).model


def scoring_job(request: pb2.ScoreLabelsRequest) -> pb2.ScoreLabelsRequest:
    """The request, if it can become a job."""
    run_name(request.run)
    scoring_options(request)
    return request


def scoring_options(request: pb2.ScoreLabelsRequest) -> ScoringOptions:
    """Which labels to score and how, with the defaults filled in."""
    _check_indices(request.indices)
    return ScoringOptions(
        indices=tuple(request.indices),
        limit=request.limit or None,
        rescore=request.rescore,
        judgement=judgement(request.judge) if request.HasField("judge") else None,
    )


def judgement(message: pb2.JudgeOptions) -> Judgement:
    """How a language model judges, with the defaults filled in."""
    if not _MODEL.fullmatch(message.model) or message.model == KEYWORDS:
        raise InvalidArgument.field("judge.model", f"expected `<provider>/<model>`; got {message.model[:200]!r}")
    documents, questions = message.document_count, message.max_questions
    if message.HasField("document_count") and not MIN_DOCUMENT_COUNT <= documents <= MAX_DOCUMENT_COUNT:
        raise InvalidArgument.field(
            "judge.document_count", f"expected {MIN_DOCUMENT_COUNT} to {MAX_DOCUMENT_COUNT}, got {documents}"
        )
    if message.HasField("max_questions") and not 1 <= questions <= MAX_QUESTIONS:
        raise InvalidArgument.field("judge.max_questions", f"expected 1 to {MAX_QUESTIONS:,}, got {questions:,}")
    return Judgement(
        model=message.model,
        document_count=documents if message.HasField("document_count") else DOCUMENT_COUNT,
        max_questions=questions if message.HasField("max_questions") else QUESTIONS,
    )


def family_job(request: pb2.BuildFamiliesRequest) -> pb2.BuildFamiliesRequest:
    """The request, if it can become a job."""
    run_name(request.run)
    if request.HasField("threshold") and not 0 < request.threshold <= 1:
        raise InvalidArgument.field("threshold", f"expected more than 0, at most 1; got {request.threshold}")
    if request.HasField("rounds") and not 1 <= request.rounds <= 10:
        raise InvalidArgument.field("rounds", f"expected 1 to 10, got {request.rounds}")
    return request


def family_options(request: pb2.BuildFamiliesRequest) -> families.Options:
    """How to build families, with the defaults filled in."""
    is_published = request.method == pb2.BuildFamiliesRequest.METHOD_PUBLISHED
    return families.Options(
        threshold=request.threshold if request.HasField("threshold") else None,
        rounds=request.rounds if request.HasField("rounds") else families.ROUNDS,
        method=families.Method.PUBLISHED if is_published else families.Method.CORRECTED,
    )


def written_label(request: pb2.CreateLabelRequest) -> tuple[str, Draft]:
    """The run's name, and the label that the caller wrote, or that a model wrote elsewhere. Raises InvalidArgument."""
    run, index = feature_name(request.parent, "parent")
    text, description = clean_line(request.label.text), clean_text(request.label.description)
    if not text or len(text) > MAX_TEXT:
        raise InvalidArgument.field(
            "label.text", f"expected 1 to {MAX_TEXT} characters that are not blank, got {len(text)}"
        )
    if len(description) > MAX_DESCRIPTION:
        raise InvalidArgument.field(
            "label.description", f"expected at most {MAX_DESCRIPTION:,} characters, got {len(description)}"
        )
    model = clean_line(request.label.model)
    if len(model) > MAX_MODEL:
        raise InvalidArgument.field("label.model", f"expected at most {MAX_MODEL} characters, got {len(model)}")
    return run, Draft(
        index=index,
        text=text,
        description=description,
        source=Source.MODEL if model else Source.HUMAN,
        model=model or None,
        author=call_context.user.get() or None,
    )


async def label_import(
    stream: AsyncIterator[pb2.ImportLabelsRequest],
) -> tuple[ImportRequest, AsyncIterator[bytes]]:
    """What an import of labels is to do, from its first message, and the chunks of its file. Raises InvalidArgument."""
    first = await anext(stream, None)
    if first is None or first.WhichOneof("message") != "config":
        raise InvalidArgument.field("config", "expected the first message of an import to be its config")
    config = first.config
    if config.on_duplicate not in _ON_DUPLICATE:
        kinds = ", ".join(pb2.ImportLabelsRequest.OnDuplicate.keys()[1:])
        raise InvalidArgument.field("config.on_duplicate", f"expected one of {kinds}, got {config.on_duplicate}")
    request = ImportRequest(
        run=run_name(config.run, "config.run"),
        on_duplicate=_ON_DUPLICATE[config.on_duplicate],
        validate_only=config.validate_only,
        ignore_weights=config.ignore_weights,
        user=call_context.user.get(),
    )
    return request, _chunks(stream)


async def _chunks(stream: AsyncIterator[pb2.ImportLabelsRequest]) -> AsyncIterator[bytes]:
    async for message in stream:
        if message.WhichOneof("message") != "chunk":
            raise InvalidArgument.field("chunk", "expected chunks of the file after the config")
        yield message.chunk


def min_cosine(request: pb2.CarryLabelsRequest) -> float:
    """The cosine from which features count as the same."""
    if not request.HasField("min_cosine"):
        return DEFAULT_COSINE
    if not 0 < request.min_cosine <= 1:
        raise InvalidArgument.field("min_cosine", f"expected above 0 and at most 1, got {request.min_cosine:g}")
    return request.min_cosine


def analyzed_text(text: str, field: str = "text") -> str:
    """The text, if it can be analysed."""
    if is_blank(text):
        raise InvalidArgument.field(field, "expected a text that is not blank")
    size = len(text.encode())
    if size > MAX_ANALYZED_BYTES:
        raise InvalidArgument.field(field, f"expected at most {MAX_ANALYZED_BYTES:,} bytes, got {size:,}")
    return text


def document_name(name: str, field: str = "document") -> str:
    """`name` if it is that of a document."""
    names.parse("datasets/{dataset}/documents/{document}", name, field)
    return name


def call_of(request: pb2.CreateLabelRequest | pb2.LabelFeatureRequest | pb2.CarryLabelsRequest) -> Call | None:
    """The call under its request id; None without one."""
    return Call.of(request.request_id, type(request).__name__.removesuffix("Request"), request)


def _order(text: str) -> Order:
    """An `order_by` (AIP-132)."""
    if not text.strip():
        return DENSEST_FIRST
    field, _, direction = text.strip().partition(" ")
    if field not in ORDERS or direction.strip() not in ("", "asc", "desc"):
        raise InvalidArgument.field(
            "order_by", f"expected one of {', '.join(ORDERS)}, optionally followed by ` desc`; got {text[:100]!r}"
        )
    return Order(field, descending=direction.strip() == "desc")


def _count(request: Message, field: str, *, default: int, maximum: int) -> int:
    count: int = getattr(request, field) or default
    if count > maximum:
        raise InvalidArgument.field(field, f"expected at most {maximum:,}, got {count:,}")
    return count


def _check_indices(indices: Sequence[int]) -> None:
    if len(indices) > MAX_INDICES:
        raise InvalidArgument.field("indices", f"expected at most {MAX_INDICES:,}; leave them out for all")


def _whole_number(text: str, name: str, field: str) -> int:
    if not text.isdecimal() or not text.isascii() or len(text) > 9:
        raise InvalidArgument.field(field, f"expected a whole number as the last part, got {name[:200]!r}")
    return int(text)


def _within(message: resources_pb2.LabelOptions, field: str, default: float, *, limits: tuple[float, float]) -> float:
    if not message.HasField(field):  # pyright: ignore[reportArgumentType] - names of optional fields
        return default
    value = getattr(message, field)
    lowest, highest = limits
    if not lowest <= value <= highest:
        raise InvalidArgument.field(f"options.{field}", f"expected {lowest:g} to {highest:g}, got {value:g}")
    return value
