"""Checks of requests: everything that a request may hold is checked here, and reported by field."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from prisma.common.v1.block_pb2 import VectorEncoding
from prisma.embedder.v1 import embedder_service_pb2 as pb2
from prisma.embedder.v1 import resources_pb2, statistics_pb2
from prisma_common.names import GIVEN_MODEL, is_given
from prisma_common.words import is_blank
from services.chassis import names
from services.chassis.errors import InvalidArgument
from services.chassis.filters import Comparison, Filter, leaves, parse_filter
from services.chassis.history import check_position
from services.chassis.masks import changed_fields, check_lengths
from services.chassis.metadata_filters import METADATA, OPERATORS, check_literals
from services.chassis.metadata_schema import MAX_FIELDS, MAX_KEY_BYTES
from services.chassis.metadata_terms import Type
from services.chassis.paging import InvalidPageToken, Page
from services.embedder.documents import NewDataset, OnDuplicate, Passages, State
from services.embedder.files.csv import DELIMITERS
from services.embedder.files.formats import FileOptions, Format
from services.embedder.imports import Chunk, FileReuse, ImportPlan
from services.embedder.items import FieldOptions, IdSource
from services.embedder.messages import DOCUMENT_FIELDS
from services.embedder.passages import MAX_TOKENS, MIN_TOKENS
from services.embedder.providers import EmbeddingModels, Purpose
from services.embedder.statistics.methods import MapMethod
from services.embedder.streams import Selection

MAX_TEXTS = 256
"""Texts that EmbedTexts takes."""
MAX_BATCH = 1000
"""Documents that BatchGetDocuments returns."""
MAX_FILE_NAME = 500
"""Characters of the name of an imported file."""
MAX_MODEL_NAME = 200
"""Characters of the name of the model that made given vectors."""
_PURPOSES = {
    pb2.EmbedTextsRequest.PURPOSE_UNSPECIFIED: Purpose.DOCUMENT,
    pb2.EmbedTextsRequest.PURPOSE_DOCUMENT: Purpose.DOCUMENT,
    pb2.EmbedTextsRequest.PURPOSE_QUERY: Purpose.QUERY,
}
_LIMITS = {"display_name": 200, "description": 10_000}
_FILTER_OPERATORS = {"state": "= !=", "key": "= != :", "text": ":", METADATA: OPERATORS}
_UPDATABLE = ("display_name", "description", "embedding_model", "query_model")


def dataset_id(name: str, field: str = "name") -> str:
    """The id in `datasets/{dataset}`. Raises InvalidArgument."""
    return names.parse("datasets/{dataset}", name, field)[0]


def document_ids(name: str, field: str = "name") -> tuple[str, str]:
    """The ids in `datasets/{dataset}/documents/{document}`. Raises InvalidArgument."""
    dataset, document = names.parse("datasets/{dataset}/documents/{document}", name, field)
    return dataset, document


def statistics_dataset_id(name: str) -> str:
    """The id in `datasets/{dataset}/statistics`. Raises InvalidArgument."""
    return names.parse("datasets/{dataset}/statistics", name, "name")[0]


def map_dataset_id(name: str) -> str:
    """The id in `datasets/{dataset}/map`. Raises InvalidArgument."""
    return names.parse("datasets/{dataset}/map", name, "name")[0]


def map_method(method: statistics_pb2.DatasetMap.Method) -> MapMethod:
    """How to draw a map. Raises InvalidArgument."""
    methods = statistics_pb2.DatasetMap.Method
    if method not in methods.values():
        raise InvalidArgument.field("method", f"expected one of {', '.join(methods.keys())}; got {method}")
    return MapMethod(methods.Name(method).removeprefix("METHOD_")) if method else MapMethod.PCA


def import_ids(name: str, field: str = "name") -> tuple[str, str]:
    """The ids in `datasets/{dataset}/imports/{import}`. Raises InvalidArgument."""
    dataset, uid = names.parse("datasets/{dataset}/imports/{import}", name, field)
    return dataset, uid


def imports_page(request: pb2.ListImportsRequest) -> Page:
    """The requested page of imports. Raises InvalidArgument, InvalidPageToken."""
    return Page.keyset(
        request.page_size,
        request.page_token,
        columns=(datetime, str),
        bound_to=(request.parent,),
        default=50,
        maximum=MAX_BATCH,
    )


def rejections_format(request: pb2.DownloadRejectionsRequest) -> pb2.DownloadRejectionsRequest.Format:
    """How rejections are written. Raises InvalidArgument."""
    if request.format not in pb2.DownloadRejectionsRequest.Format.values():
        expected = ", ".join(pb2.DownloadRejectionsRequest.Format.keys())
        raise InvalidArgument.field("format", f"expected one of {expected}; got {request.format}")
    return request.format


def new_dataset(request: pb2.CreateDatasetRequest) -> tuple[NewDataset, str | None]:
    """The dataset to create, and its model of queries. Raises InvalidArgument."""
    check_lengths(request.dataset, "dataset", _LIMITS)
    _check_model(request.dataset.embedding_model)
    if request.dataset.query_model and not is_given(request.dataset.embedding_model):
        raise InvalidArgument.field(
            "dataset.query_model", "expected none: only given vectors have one, others are made by the embedding model"
        )
    if request.dataset.HasField("passages") and is_given(request.dataset.embedding_model):
        raise InvalidArgument.field("dataset.passages", "expected none: each given vector is that of a whole document")
    new = NewDataset(
        id=names.check_id(request.dataset_id, "dataset_id") if request.dataset_id else None,
        display_name=request.dataset.display_name or None,
        description=request.dataset.description,
        embedding_model=EmbeddingModels.full_id(request.dataset.embedding_model),
        passages=_passages(request.dataset) if request.dataset.HasField("passages") else None,
    )
    return new, request.dataset.query_model or None


def _check_model(model: str) -> None:
    """Raises InvalidArgument for given vectors whose model has no name, or a long one."""
    if is_given(model) and model != GIVEN_MODEL and not 1 <= len(model.partition("/")[2].strip()) <= MAX_MODEL_NAME:
        raise InvalidArgument.field(
            "dataset.embedding_model",
            f"expected `given`, or `given/` and the name of the model that made the vectors, of 1 to {MAX_MODEL_NAME} "
            "characters",
        )


def _passages(dataset: resources_pb2.Dataset) -> Passages:
    """How the texts of a new dataset are split. Raises InvalidArgument."""
    passages = Passages(dataset.passages.max_tokens, dataset.passages.overlap_tokens)
    if passages.max_tokens and not MIN_TOKENS <= passages.max_tokens <= MAX_TOKENS:
        raise InvalidArgument.field(
            "dataset.passages.max_tokens",
            f"expected {MIN_TOKENS} to {MAX_TOKENS:,}, or 0 for the model's own limit; got {passages.max_tokens}",
        )
    return passages


def datasets_page(request: pb2.ListDatasetsRequest) -> Page:
    """The requested page of datasets. Raises InvalidArgument, InvalidPageToken."""
    page = Page.of(
        request.page_size, request.page_token, bound_to=(request.show_deleted,), default=50, maximum=MAX_BATCH
    )
    match page.after:
        case None:
            return page
        case [str(moment), str()] if _is_moment(moment):
            return page
        case _:
            raise InvalidPageToken("page_token: it is damaged; start again without a token")


def documents_page(request: pb2.ListDocumentsRequest) -> Page:
    """The requested page of documents. Raises InvalidArgument, InvalidPageToken."""
    bound = (request.parent, request.filter)
    page = Page.of(request.page_size, request.page_token, bound_to=bound, default=50, maximum=MAX_BATCH)
    match page.after:
        case None | [int(), int()]:
            return page
        case _:
            raise InvalidPageToken("page_token: it is damaged; start again without a token")


def changes(request: pb2.UpdateDatasetRequest) -> dict[str, str]:
    """Columns and values that an update changes. Raises InvalidArgument."""
    check_lengths(request.dataset, "dataset", _LIMITS)
    changed = changed_fields(request.dataset, request.update_mask, _UPDATABLE)
    _check_model(changed.get("embedding_model", ""))
    return changed


def document_filter(text: str) -> Filter:
    """A filter of documents. Raises InvalidFilter."""
    condition = parse_filter(text, _FILTER_OPERATORS)
    for leaf in leaves(condition):
        if isinstance(leaf, Comparison) and leaf.field == "state":
            leaf.one_of(list(State))
    check_literals(condition)
    return condition


def deletion_filter(text: str) -> Filter:
    """Which documents to delete; `*` for all (AIP-165). Raises InvalidArgument, InvalidFilter."""
    if not text.strip():
        raise InvalidArgument.field("filter", "expected a filter of the documents to delete; `*` deletes all of them")
    return document_filter("" if text.strip() == "*" else text)


def batch_ids(request: pb2.BatchGetDocumentsRequest) -> tuple[str, list[str]]:
    """The dataset's id, and the ids of the documents requested by name. Raises InvalidArgument."""
    parent = dataset_id(request.parent, "parent")
    if len(request.names) + len(request.rows) > MAX_BATCH:
        raise InvalidArgument.field("names", f"expected at most {MAX_BATCH} names and rows together")
    ids: list[str] = []
    for name in request.names:
        dataset, document = document_ids(name, "names")
        if dataset != parent:
            raise InvalidArgument.field("names", f"expected documents of {request.parent}, got {name!r}")
        ids.append(document)
    return parent, ids


async def import_plan(
    messages: AsyncIterator[pb2.ImportDocumentsRequest], max_text_bytes: int
) -> tuple[ImportPlan, AsyncIterator[Chunk]]:
    """What an import is to do, from its first message, and the chunks of its files. Raises InvalidArgument."""
    config = await _config(messages)
    if config.file_token:
        raise InvalidArgument.field("config.file_token", "expected none: an import gets the file itself")
    return _plan(config, dataset_id(config.dataset, "config.dataset"), max_text_bytes), _chunks(messages)


async def preview_plan(
    messages: AsyncIterator[pb2.PreviewDocumentsRequest], max_text_bytes: int
) -> tuple[ImportPlan, bool, FileReuse, AsyncIterator[Chunk]]:
    """What an import would do, whether the file is only a beginning, how previews share it, and its chunks.

    Raises InvalidArgument.
    """
    config = await _config(messages)
    plan = _plan(config, "", max_text_bytes)
    return plan, config.is_partial, FileReuse(config.file_token or None, config.keep_file), _chunks(messages)


async def _config(
    messages: AsyncIterator[pb2.ImportDocumentsRequest] | AsyncIterator[pb2.PreviewDocumentsRequest],
) -> pb2.ImportDocumentsRequest.Config:
    first = await anext(messages, None)
    if first is None or first.WhichOneof("message") != "config":
        raise InvalidArgument.field("config", "expected the first message of an import to be its config")
    return first.config


def _plan(config: pb2.ImportDocumentsRequest.Config, dataset_id: str, max_text_bytes: int) -> ImportPlan:
    if len(config.file_name) > MAX_FILE_NAME:
        raise InvalidArgument.field("config.file_name", f"expected at most {MAX_FILE_NAME} characters")
    return ImportPlan(
        dataset_id=dataset_id,
        file=_file_options(config),
        fields=_field_options(config),
        max_text_bytes=max_text_bytes,
        validate_only=config.validate_only,
        request_id=config.request_id,
        request=config.SerializeToString(deterministic=True),
        file_name=config.file_name,
        on_duplicate=_on_duplicate(config),
        metadata_types=_metadata_types(config.metadata_types),
    )


def _field_options(config: pb2.ImportDocumentsRequest.Config) -> FieldOptions:
    """Which fields are what. Raises InvalidArgument."""
    sources = resources_pb2.FileLayout.IdSource
    if config.id_source not in sources.values():
        raise InvalidArgument.field(
            "config.id_source", f"expected one of {', '.join(sources.keys())}; got {config.id_source}"
        )
    if config.no_metadata and config.metadata_fields:
        raise InvalidArgument.field("config.metadata_fields", "expected none together with no_metadata")
    id_source = IdSource(sources.Name(config.id_source).removeprefix("ID_SOURCE_")) if config.id_source else None
    options = FieldOptions(
        id_field=config.id_field or None,
        text_fields=tuple(config.text_fields),
        metadata_fields=() if config.no_metadata else tuple(config.metadata_fields) or None,
        vector_field=config.vector_field or None,
        id_source=id_source,
    )
    if options.id_field is not None and options.has_no_id_field:
        raise InvalidArgument.field(
            "config.id_field", f"expected none together with id_source {sources.Name(config.id_source)}"
        )
    return options


def _on_duplicate(config: pb2.ImportDocumentsRequest.Config) -> OnDuplicate:
    """What to do with documents that the dataset has already. Raises InvalidArgument."""
    choices = pb2.ImportDocumentsRequest.OnDuplicate
    if config.on_duplicate not in choices.values():
        expected = ", ".join(choices.keys())
        raise InvalidArgument.field("config.on_duplicate", f"expected one of {expected}; got {config.on_duplicate}")
    if not config.on_duplicate:
        return OnDuplicate.REJECT
    return OnDuplicate(choices.Name(config.on_duplicate).removeprefix("ON_DUPLICATE_"))


def _metadata_types(entries: Sequence[str]) -> dict[str, Type]:
    """Types of fields, each as `key=TYPE`. Raises InvalidArgument."""
    types: dict[str, Type] = {}
    if len(entries) > MAX_FIELDS:
        raise InvalidArgument.field("config.metadata_types", f"expected at most {MAX_FIELDS:,}, got {len(entries):,}")
    for entry in entries:
        key, _, name = entry.rpartition("=")
        if len(key.encode()) > MAX_KEY_BYTES:
            raise InvalidArgument.field(
                "config.metadata_types", f"expected keys of at most {MAX_KEY_BYTES:,} bytes, got {len(key.encode()):,}"
            )
        if not key or name not in tuple(Type):
            raise InvalidArgument.field(
                "config.metadata_types", f"expected <key>=<type> with one of {', '.join(Type)}; got {entry[:100]!r}"
            )
        types[key] = Type(name)
    return types


def _file_options(config: pb2.ImportDocumentsRequest.Config) -> FileOptions:
    """How to read a file. Raises InvalidArgument."""
    if config.format not in resources_pb2.FileLayout.Format.values():
        expected = ", ".join(resources_pb2.FileLayout.Format.keys())
        raise InvalidArgument.field("config.format", f"expected one of {expected}; got {config.format}")
    if config.delimiter and config.delimiter not in DELIMITERS:
        raise InvalidArgument.field(
            "config.delimiter", f"expected one of {list(DELIMITERS)}; got {config.delimiter!r:.20}"
        )
    name = resources_pb2.FileLayout.Format.Name(config.format).removeprefix("FORMAT_")
    return FileOptions(
        format=Format(name) if config.format else None,
        encoding=config.encoding or None,
        delimiter=config.delimiter or None,
        has_header=config.has_header if config.HasField("has_header") else None,
        sheet=config.sheet or None,
    )


def _is_moment(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


async def _chunks(
    messages: AsyncIterator[pb2.ImportDocumentsRequest] | AsyncIterator[pb2.PreviewDocumentsRequest],
) -> AsyncIterator[Chunk]:
    async for message in messages:
        match message.WhichOneof("message"):
            case "chunk":
                yield Chunk(message.chunk)
            case "vectors" if isinstance(message, pb2.ImportDocumentsRequest):
                yield Chunk(message.vectors, is_of_vectors=True)
            case _:
                raise InvalidArgument.field("chunk", "expected chunks of the file after the config")


def selection(request: pb2.ReadDocumentsRequest | pb2.ReadVectorsRequest) -> Selection:
    """What a stream is to return. Raises InvalidArgument."""
    if isinstance(request, pb2.ReadVectorsRequest) and request.rows_only and request.since_revision:
        raise InvalidArgument.field("since_revision", "expected 0 together with rows_only")
    if isinstance(request, pb2.ReadDocumentsRequest) and request.whole_documents and request.since_revision:
        raise InvalidArgument.field("since_revision", "expected 0 together with whole_documents")
    check_position(history=request.history, revision=request.since_revision)
    return Selection(
        history=request.history,
        since_revision=request.since_revision,
        ranges=[(rows.start, rows.end) for rows in request.row_ranges],
        start_row=request.start_row,
    )


def encoding(value: VectorEncoding) -> VectorEncoding:
    """How to pack vectors. Raises InvalidArgument."""
    if value not in VectorEncoding.values():
        raise InvalidArgument.field("encoding", f"expected one of {', '.join(VectorEncoding.keys())}; got {value}")
    return value


def with_vector(view: resources_pb2.DocumentView) -> bool:
    """Whether a view includes the vector."""
    return view == resources_pb2.DOCUMENT_VIEW_FULL


def read_fields(request: pb2.ReadDocumentsRequest) -> Sequence[str] | None:
    """The fields that a read mask names, None for all. Raises InvalidArgument."""
    for path in request.read_mask.paths:
        if path not in DOCUMENT_FIELDS:
            raise InvalidArgument.field("read_mask", f"expected some of {', '.join(DOCUMENT_FIELDS)}; got {path!r}")
    return list(request.read_mask.paths) or None


def texts(request: pb2.EmbedTextsRequest, max_bytes: int) -> list[str]:
    """The texts to embed. Raises InvalidArgument."""
    if not 1 <= len(request.texts) <= MAX_TEXTS:
        raise InvalidArgument.field("texts", f"expected 1 to {MAX_TEXTS} texts, got {len(request.texts)}")
    for index, text in enumerate(request.texts):
        if is_blank(text):
            raise InvalidArgument.field(f"texts[{index}]", "expected a text, got only blank or invisible characters")
        if len(text.encode()) > max_bytes:
            raise InvalidArgument.field(f"texts[{index}]", f"expected at most {max_bytes:,} bytes")
    return list(request.texts)


def purpose(request: pb2.EmbedTextsRequest) -> Purpose:
    """What the texts are embedded for. Raises InvalidArgument."""
    if request.purpose not in _PURPOSES:
        expected = ", ".join(pb2.EmbedTextsRequest.Purpose.keys())
        raise InvalidArgument.field("purpose", f"expected one of {expected}; got {request.purpose}")
    return _PURPOSES[request.purpose]
