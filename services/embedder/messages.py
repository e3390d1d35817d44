"""Values of the domain as protobuf messages."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
from google.api.httpbody_pb2 import HttpBody
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from numpy.typing import NDArray

from prisma.common.v1.block_pb2 import (
    VECTOR_ENCODING_FLOAT16,
    VECTOR_ENCODING_FLOAT32,
    VECTOR_ENCODING_UNSPECIFIED,
    RowRange,
    VectorBlock,
    VectorEncoding,
)
from prisma.common.v1.job_pb2 import Job
from prisma.embedder.v1 import embedder_service_pb2 as service_pb2
from prisma.embedder.v1 import resources_pb2
from prisma_common import wire
from prisma_common.reasons import DOMAIN
from services.chassis.moments import stamp
from services.embedder import metadata
from services.embedder.comparing import RowComparison
from services.embedder.documents import (
    DEFAULT_MODEL,
    LISTED_CHARACTERS,
    Dataset,
    Document,
    Failure,
    MatchingDocuments,
    PassagePlace,
    State,
    passage_id,
)
from services.embedder.imports import Preview
from services.embedder.items import Rejection
from services.embedder.outcomes import Batch
from services.embedder.providers import Model
from services.embedder.reports import Report, StoredImport
from services.embedder.vector_store import VectorPage

DOCUMENT_FIELDS = ("key", "text", "metadata", "state")
"""Fields of a document that a read mask may name."""
REJECTION_COLUMNS = ("item", "key", "reason", "message", "table", "table_item")
"""Of a file of rejections."""
DocumentVector = tuple[Document, NDArray[np.float32] | None]
"""A document, and its vector (d,) if it was requested and exists."""
_STATES: Mapping[State, resources_pb2.Document.State] = {
    State.PENDING: resources_pb2.Document.STATE_PENDING,
    State.EMBEDDED: resources_pb2.Document.STATE_EMBEDDED,
    State.FAILED: resources_pb2.Document.STATE_FAILED,
}


def dataset(value: Dataset) -> resources_pb2.Dataset:
    """A dataset."""
    counts = value.counts
    return resources_pb2.Dataset(
        name=value.name,
        uid=value.uid,
        display_name=value.display_name,
        description=value.description,
        embedding_model=value.embedding_model,
        dimension=value.dimension,
        revision=value.revision,
        history=value.history,
        document_count=value.document_count,
        pending_count=counts.pending,
        embedded_count=counts.embedded,
        failed_count=counts.failed,
        text_bytes=counts.text_bytes,
        next_row=value.next_row,
        fingerprint=value.fingerprint,
        create_time=stamp(value.create_time),
        update_time=stamp(value.update_time),
        delete_time=stamp(value.delete_time) if value.delete_time else None,
        metadata_fields=[
            resources_pb2.MetadataField(
                key=key,
                type=f"TYPE_{field.type}",
                document_count=field.document_count,
                is_override=field.override is not None,
            )
            for key, field in sorted(value.schema.items())
        ],
        query_model=value.query_model.id if value.query_model else "",
        vector_encoding=encoding(value),
        passages=None
        if value.passages is None
        else resources_pb2.Passages(
            max_tokens=value.passages.max_tokens,
            overlap_tokens=value.passages.overlap_tokens,
            passage_count=counts.rows,
        ),
    )


def encoding(value: Dataset) -> VectorEncoding:
    """The smallest encoding that returns all vectors bit for bit."""
    if not value.dimension:
        return VECTOR_ENCODING_UNSPECIFIED
    return VECTOR_ENCODING_FLOAT16 if value.is_half else VECTOR_ENCODING_FLOAT32


def document(
    value: Document, dataset_id: str, mask: Sequence[str] | None = None, vector: NDArray[np.float32] | None = None
) -> resources_pb2.Document:
    """A document, with its vector (d,) if one is given; with a mask, only those fields, and name, row and revision.

    Metadata that a message cannot carry (an older version stored it) is left out and named.
    """
    message = resources_pb2.Document(
        name=f"datasets/{dataset_id}/documents/{value.id}", row=value.row, revision=value.revision
    )
    if value.passage is not None:
        message.passage.CopyFrom(passage(value.passage, dataset_id))
    message.passage_count = value.passage_count
    message.passages.extend(passage(place, dataset_id) for place in value.passages)
    fields = DOCUMENT_FIELDS if mask is None else mask
    if "key" in fields:
        message.key = value.key
    if "text" in fields:
        message.text = value.text
        message.text_truncated = value.text_truncated
    if "metadata" in fields:
        readable = metadata.readable(value.metadata)
        message.metadata.update(cast(dict[str, Any], readable))
        message.unreadable_metadata.extend(metadata.printable(name) for name in value.metadata if name not in readable)
    if "state" in fields:
        message.state = _STATES[value.state]
    if mask is None:
        message.embedding_truncated = value.embedding_truncated
        message.create_time.CopyFrom(stamp(value.create_time))
        message.update_time.CopyFrom(stamp(value.update_time))
        if value.failure is not None:
            message.error.CopyFrom(failure(value.failure))
    if vector is not None:
        message.vector.CopyFrom(wire.pack_vectors(vector[None, :]))
        message.vector.rows.append(value.row)
    return message


def passage(value: PassagePlace, dataset_id: str) -> resources_pb2.Passage:
    """Where a passage stands."""
    return resources_pb2.Passage(
        name=f"datasets/{dataset_id}/documents/{passage_id(value.row)}",
        document=f"datasets/{dataset_id}/documents/{value.document_id}",
        index=value.index,
        count=value.count,
        start=value.start,
        end=value.end,
        row=value.row,
    )


def failure(value: Failure) -> Status:
    """The reason for which a document has no vector, as a status."""
    status = Status(code=value.code, message=value.message)
    status.details.add().Pack(ErrorInfo(reason=value.reason, domain=DOMAIN))
    return status


def datasets(values: Sequence[Dataset], next_page_token: str) -> service_pb2.ListDatasetsResponse:
    """A page of datasets."""
    return service_pb2.ListDatasetsResponse(
        datasets=[dataset(value) for value in values], next_page_token=next_page_token
    )


def documents(matching: MatchingDocuments, dataset_id: str, next_page_token: str) -> service_pb2.ListDocumentsResponse:
    """A page of documents."""
    return service_pb2.ListDocumentsResponse(
        documents=[document(value, dataset_id) for value in matching.documents],
        total_size=matching.total,
        next_page_token=next_page_token,
        notices=matching.notices,
    )


def deletion(matching: MatchingDocuments, dataset_id: str, job: Job | None) -> service_pb2.DeleteDocumentsResponse:
    """How many documents match, the first of them, and the job that deletes them."""
    names = [f"datasets/{dataset_id}/documents/{document.id}" for document in matching.documents]
    return service_pb2.DeleteDocumentsResponse(
        document_count=matching.total, sample=names, notices=matching.notices, job=job
    )


def batch(
    request: service_pb2.BatchGetDocumentsRequest,
    dataset_id: str,
    by_id: Sequence[DocumentVector],
    by_row: Sequence[DocumentVector],
) -> service_pb2.BatchGetDocumentsResponse:
    """The documents of a batch, and the requested names and rows that do not exist."""
    existing = {f"{request.parent}/documents/{value.id}" for value, _vector in by_id}
    rows = {value.row for value, _vector in by_row}
    return service_pb2.BatchGetDocumentsResponse(
        documents=[document(value, dataset_id, vector=vector) for value, vector in (*by_id, *by_row)],
        missing=[
            *(name for name in request.names if name not in existing),
            *(str(row) for row in request.rows if row not in rows),
        ],
    )


async def document_blocks(
    pages: AsyncIterator[list[tuple[Document, bool]]], of: Dataset, mask: Sequence[str] | None
) -> AsyncIterator[service_pb2.ReadDocumentsResponse]:
    """Documents and tombstones in blocks of about 1 MiB; at least one block, which says what was reached."""
    block, size = _document_block(of), 0
    whole_ids: set[str] = set()  # of the block
    async for page in pages:
        for value, deleted in page:
            if deleted:
                block.deleted_rows.append(value.row)
                continue
            block.documents.append(document(value, of.id, mask))
            size += block.documents[-1].ByteSize()
            place = value.passage
            if place is not None and value.whole_metadata is not None and place.document_id not in whole_ids:
                whole_ids.add(place.document_id)
                block.whole_documents.append(_with_metadata(place.document_id, value.whole_metadata, of))
                size += block.whole_documents[-1].ByteSize()
            if size >= wire.BLOCK_BYTES:
                yield block
                block, size = _document_block(of), 0
                whole_ids.clear()
    yield block


def _with_metadata(document_id: str, of_document: Mapping[str, object], of: Dataset) -> resources_pb2.Document:
    """A document with its name and metadata only."""
    message = resources_pb2.Document(name=f"datasets/{of.id}/documents/{document_id}")
    message.metadata.update(cast(dict[str, Any], metadata.readable(of_document)))
    return message


def _document_block(of: Dataset) -> service_pb2.ReadDocumentsResponse:
    return service_pb2.ReadDocumentsResponse(revision=of.revision, dataset_uid=of.uid, history=of.history)


async def vector_blocks(
    pages: AsyncIterator[VectorPage], of: Dataset, encoding: VectorEncoding
) -> AsyncIterator[service_pb2.ReadVectorsResponse]:
    """Vectors and tombstones in blocks of about 1 MiB; at least one block, which says what was reached."""
    empty = True
    async for page in pages:
        for part in wire.blocks_of(len(page.rows), 4 * max(1, of.dimension)):
            block = wire.pack_vectors(page.vectors[part], page.rows[part], encoding)
            yield _vector_block(of, vectors=block)
            empty = False
        if page.deleted_rows:
            yield _vector_block(of, deleted_rows=page.deleted_rows)
            empty = False
    if empty:
        yield _vector_block(of)


def row_blocks(rows: NDArray[np.uint64], of: Dataset) -> Iterator[service_pb2.ReadVectorsResponse]:
    """Which rows have vectors, as ranges; at least one block, which says what was reached."""
    ranges = wire.ranges_of(rows)
    for part in list(wire.blocks_of(len(ranges), 16)) or [slice(0)]:
        yield _vector_block(of, row_ranges=ranges[part])


def _vector_block(
    of: Dataset,
    *,
    vectors: VectorBlock | None = None,
    deleted_rows: Sequence[int] = (),
    row_ranges: Sequence[RowRange] = (),
) -> service_pb2.ReadVectorsResponse:
    return service_pb2.ReadVectorsResponse(
        vectors=vectors,
        deleted_rows=deleted_rows,
        row_ranges=row_ranges,
        revision=of.revision,
        dataset_uid=of.uid,
        history=of.history,
        fingerprint=of.fingerprint,
    )


def row_comparison(value: RowComparison) -> service_pb2.CompareRowsResponse:
    """How a dataset has changed."""
    return service_pb2.CompareRowsResponse(
        added_count=value.added,
        deleted_count=value.deleted,
        changed_count=value.changed,
        fingerprint=value.fingerprint,
    )


def embedded_texts(batch: Batch, encoding: VectorEncoding) -> service_pb2.EmbedTextsResponse:
    """The vectors of texts."""
    return service_pb2.EmbedTextsResponse(
        vectors=wire.pack_vectors(batch.vectors, encoding=encoding),
        truncated=[outcome.truncated for outcome in batch.outcomes],
    )


def report(value: Report, after: Dataset | None, uid: str | None = None) -> service_pb2.ImportDocumentsResponse:
    """The result of an import, the dataset after it, and under which uid the report is stored."""
    response = service_pb2.ImportDocumentsResponse(
        imported_count=value.imported,
        updated_count=value.updated,
        skipped_count=value.skipped,
        rejected_count=value.counts.total(),
        dataset=None if after is None else dataset(after),
        layout=_layout(value),
        notes=value.notes,
        rejection_counts=_reason_counts(value),
        passage_count=value.passages,
    )
    if after is not None and uid is not None:
        response.import_name = f"{after.name}/imports/{uid}"
    response.rejections.extend(_rejections(value))
    return response


def stored_import(value: StoredImport, dataset_id: str) -> service_pb2.Import:
    """What an import did."""
    message = service_pb2.Import(
        name=f"datasets/{dataset_id}/imports/{value.uid}",
        state=f"STATE_{value.state}",
        create_time=stamp(value.create_time),
        end_time=stamp(value.end_time) if value.end_time else None,
        file_name=value.file_name,
        file_bytes=value.file_bytes,
        on_duplicate=f"ON_DUPLICATE_{value.on_duplicate}",
        stored_rejection_count=value.stored_rejections,
        error=None if value.failure is None else failure(value.failure),
    )
    if value.report is not None:
        message.layout.CopyFrom(_layout(value.report))
        message.notes.extend(value.report.notes)
        message.read_count = value.report.read
        message.added_count = value.report.imported
        message.updated_count = value.report.updated
        message.skipped_count = value.report.skipped
        message.rejected_count = value.report.counts.total()
        message.rejection_counts.extend(_reason_counts(value.report))
    return message


def imports(values: Sequence[StoredImport], dataset_id: str, next_page_token: str) -> service_pb2.ListImportsResponse:
    """A page of imports."""
    return service_pb2.ListImportsResponse(
        imports=[stored_import(value, dataset_id) for value in values], next_page_token=next_page_token
    )


async def rejection_parts(
    parts: AsyncIterator[Sequence[Rejection]], file_format: service_pb2.DownloadRejectionsRequest.Format
) -> AsyncIterator[HttpBody]:
    """Rejections as a file, part by part: at least one, which may be empty."""
    is_table = file_format != service_pb2.DownloadRejectionsRequest.FORMAT_JSON_LINES
    content_type = "text/csv; charset=utf-8" if is_table else "application/jsonl"
    yield HttpBody(content_type=content_type, data=_csv_rows([REJECTION_COLUMNS]) if is_table else b"")
    async for rejections in parts:
        rows = [_rejection_row(rejection) for rejection in rejections]
        data = _csv_rows(rows) if is_table else _json_lines(rows)
        yield HttpBody(content_type=content_type, data=data)


def _rejection_row(rejection: Rejection) -> tuple[object, ...]:
    """The values of REJECTION_COLUMNS."""
    where = (rejection.table or "", rejection.table_item or rejection.item)
    return (rejection.item, rejection.key, rejection.reason, rejection.message, *where)


def _csv_rows(rows: Sequence[Sequence[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _json_lines(rows: Sequence[Sequence[object]]) -> bytes:
    lines = (json.dumps(dict(zip(REJECTION_COLUMNS, row, strict=True)), ensure_ascii=False) for row in rows)
    return "".join(f"{line}\n" for line in lines).encode()


def _reason_counts(value: Report) -> list[service_pb2.ImportDocumentsResponse.ReasonCount]:
    return [
        service_pb2.ImportDocumentsResponse.ReasonCount(reason=f"REASON_{reason}", count=count)
        for reason, count in value.counts.most_common()
    ]


def preview(value: Preview) -> service_pb2.PreviewDocumentsResponse:
    """What an import would make of a file."""
    return service_pb2.PreviewDocumentsResponse(
        layout=_layout(value.report),
        notes=value.report.notes,
        columns=[
            service_pb2.PreviewDocumentsResponse.Column(name=name, kind=f"KIND_{kind}")
            for name, kind in value.columns.items()
        ],
        documents=[
            resources_pb2.Document(
                key=document.key,
                text=document.text[:LISTED_CHARACTERS],
                text_truncated=len(document.text) > LISTED_CHARACTERS,
                metadata=metadata.readable(document.metadata),
            )
            for document in value.documents
        ],
        rejections=_rejections(value.report),
        file_token=value.file_token,
    )


def _rejections(value: Report) -> list[service_pb2.ImportDocumentsResponse.Rejection]:
    return [
        service_pb2.ImportDocumentsResponse.Rejection(
            item=rejection.item,
            key=rejection.key,
            reason=f"REASON_{rejection.reason}",
            message=rejection.message,
            table=rejection.table,
            table_item=rejection.table_item or rejection.item,
        )
        for rejection in value.rejections
    ]


def _layout(value: Report) -> resources_pb2.FileLayout:
    layout, fields = value.layout, value.fields
    return resources_pb2.FileLayout(
        format=f"FORMAT_{layout.format}",
        encoding=layout.encoding,
        delimiter=layout.delimiter,
        has_header=layout.has_header,
        sheet=layout.sheet,
        columns=layout.columns,
        id_field=fields.id_field,
        text_fields=fields.text_fields,
        metadata_fields=fields.metadata_fields,
        vector_field=fields.vector_field,
        id_source=f"ID_SOURCE_{fields.id_source}",
        no_metadata=fields.metadata_fields is not None and not fields.metadata_fields,
    )


def serialized_report(value: Report, after: Dataset, uid: str | None) -> bytes:
    """`report`, as it is stored for repeated requests."""
    return report(value, after, uid).SerializeToString()


def models(available: Sequence[Model], unreachable: Mapping[str, str]) -> service_pb2.ListEmbeddingModelsResponse:
    """The available models, and the error of each unreachable provider."""
    response = service_pb2.ListEmbeddingModelsResponse()
    for model in available:
        response.embedding_models.add(
            id=model.id,
            display_name=model.display_name,
            dimension=model.dimension,
            max_tokens=model.max_tokens,
            is_default=model.id == DEFAULT_MODEL,
            description=model.description,
            error=model.error,
        )
    for provider, message in unreachable.items():
        response.unreachable.add(provider=provider, message=message)
    return response
