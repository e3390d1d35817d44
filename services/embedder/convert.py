"""Messages ↔ values of the domain. What a request may hold is checked here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from google.rpc.status_pb2 import Status

from prisma.embedder.v1 import embedder_service_pb2 as service_pb2
from prisma.embedder.v1 import resources_pb2
from prisma_common import wire
from services.chassis import names
from services.chassis.errors import PrismaError
from services.chassis.filters import InvalidFilter, Term, parse_filter
from services.chassis.masks import changed_fields, check_lengths
from services.chassis.moments import stamp
from services.embedder.documents import DEFAULT_MODEL, Dataset, Document, Failure, State
from services.embedder.imports import Report
from services.embedder.providers import Model
from services.embedder.store import Store

_LIMITS = {"display_name": 200, "description": 10_000}
_FIELDS = {"state": "= !=", "key": "= :", "text": ":"}
_UPDATABLE = ("display_name", "description", "embedding_model")
_STATES: Mapping[State, resources_pb2.Document.State] = {
    State.PENDING: resources_pb2.Document.STATE_PENDING,
    State.EMBEDDED: resources_pb2.Document.STATE_EMBEDDED,
    State.FAILED: resources_pb2.Document.STATE_FAILED,
}
_REASONS = service_pb2.ImportDocumentsResponse.Rejection.Reason


def dataset_id(name: str, field: str) -> str:
    """The id in `datasets/{dataset}`."""
    return names.parse("datasets/{dataset}", name, field)[0]


def document_ids(name: str, field: str = "name") -> tuple[str, str]:
    """Dataset and document in `datasets/{dataset}/documents/{document}`."""
    dataset, document = names.parse("datasets/{dataset}/documents/{document}", name, field)
    return dataset, document


def checked(message: resources_pb2.Dataset) -> resources_pb2.Dataset:
    """A dataset's own fields, if they hold what they may. Raises InvalidArgument."""
    check_lengths(message, "dataset", _LIMITS)
    return message


def changes(request: service_pb2.UpdateDatasetRequest) -> dict[str, str]:
    """Columns and values that an update changes. Raises InvalidArgument."""
    return changed_fields(checked(request.dataset), request.update_mask, _UPDATABLE)


def filter_terms(text: str) -> list[Term]:
    """The terms of a filter of documents. Raises InvalidFilter."""
    terms = parse_filter(text, _FIELDS)
    for term in terms:
        if term.field == "state" and term.value not in list(State):
            raise InvalidFilter(f"filter: state is one of {', '.join(State)}; got {term.value!r}")
    return terms


def dataset(value: Dataset) -> resources_pb2.Dataset:
    """A dataset as a message."""
    counts = value.counts
    return resources_pb2.Dataset(
        name=value.name,
        uid=value.uid,
        display_name=value.display_name,
        description=value.description,
        embedding_model=value.embedding_model,
        dimension=value.dimension,
        revision=value.revision,
        document_count=sum(counts.values()),
        pending_count=counts.get(State.PENDING, 0),
        embedded_count=counts.get(State.EMBEDDED, 0),
        failed_count=counts.get(State.FAILED, 0),
        text_bytes=value.text_bytes,
        next_row=value.next_row,
        create_time=stamp(value.create_time),
        update_time=stamp(value.update_time),
        delete_time=stamp(value.delete_time) if value.delete_time else None,
    )


def document(value: Document, dataset_id: str, mask: Sequence[str] | None = None) -> resources_pb2.Document:
    """A document as a message; with a mask, only those fields, and name, row and revision."""
    message = resources_pb2.Document(
        name=f"datasets/{dataset_id}/documents/{value.id}", row=value.row, revision=value.revision
    )
    wanted = mask if mask is not None else ("key", "text", "metadata", "state")
    if "key" in wanted:
        message.key = value.key
    if "text" in wanted:
        message.text = value.text
        message.text_truncated = value.text_truncated
    if "metadata" in wanted:
        message.metadata.update(dict(value.metadata))
    if "state" in wanted:
        message.state = _STATES[value.state]
    if mask is None:
        message.embedding_truncated = value.embedding_truncated
        message.create_time.CopyFrom(stamp(value.create_time))
        message.update_time.CopyFrom(stamp(value.update_time))
        if value.failure is not None:
            message.error.CopyFrom(failure(value.failure))
    return message


def full_document(value: Document, dataset_id: str, store: Store) -> resources_pb2.Document:
    """A document as a message, with its vector if it has one."""
    message = document(value, dataset_id)
    vector = store.vector(value)
    if vector is not None:
        message.vector.CopyFrom(wire.pack_vectors(vector[None, :]))
        message.vector.rows.append(value.row)
    return message


def failure(value: Failure) -> Status:
    """Why a document failed, as a status."""
    error = PrismaError(value.message)
    error.reason = value.reason
    status = error.to_status()
    status.code = value.code
    return status


def report(value: Report, after: Dataset) -> service_pb2.ImportDocumentsResponse:
    """What became of a file, as a message."""
    response = service_pb2.ImportDocumentsResponse(
        imported_count=value.imported, rejected_count=value.counts.total(), dataset=dataset(after)
    )
    for each in value.rejections:
        response.rejections.add(
            item=each.item, key=each.key, reason=_REASONS.Value(f"REASON_{each.reason}"), message=each.message
        )
    for reason, count in value.counts.most_common():
        response.rejection_counts.add(reason=_REASONS.Value(f"REASON_{reason}"), count=count)
    return response


def models(found: Sequence[Model], unreachable: Mapping[str, str]) -> service_pb2.ListEmbeddingModelsResponse:
    """Models at hand, as a message."""
    response = service_pb2.ListEmbeddingModelsResponse()
    for each in found:
        response.embedding_models.add(
            id=each.id,
            display_name=each.display_name,
            dimension=each.dimension,
            max_tokens=each.max_tokens,
            is_default=each.id == DEFAULT_MODEL,
        )
    for provider, message in unreachable.items():
        response.unreachable.add(provider=provider, message=message)
    return response
