"""Datasets and documents, as rows of the SQL tables and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row

from services.chassis import metadata_schema
from services.chassis.metadata_terms import Described
from services.chassis.moments import utc_now
from services.embedder.documents import (
    Counts,
    Dataset,
    Document,
    Failure,
    NewDocument,
    PassagePlace,
    Passages,
    QueryModel,
    State,
    document_id,
    passage_id,
)
from services.embedder.fingerprints import document_digest, vector_digest
from services.embedder.metadata import passage_metadata
from services.embedder.outcomes import Outcome
from services.embedder.vector_store import Shard

COUNTERS: Mapping[State, str] = {
    State.PENDING: "pending_count",
    State.EMBEDDED: "embedded_count",
    State.FAILED: "failed_count",
}
"""The column of a dataset that counts the documents in a state."""

_OF_ROWS = frozenset({"row", "deleted", "shard", "position", "vector_digest"})
"""Columns of rows that documents with passages lack."""


def new_documents(
    documents: Sequence[NewDocument],
    described: Sequence[Described],
    *,
    uid: str,
    first_row: int,
    revision: int,
    shard: Shard | None = None,
    positions: Mapping[str, int] | None = None,
) -> list[dict[str, Any]]:
    """The rows of new documents, numbered from `first_row`.

    described: the metadata of each. shard: the file of given vectors; positions: of the documents' vectors in it, by
    key.
    """
    moment = utc_now()
    return [
        {
            "dataset_uid": uid,
            "row": row,
            "id": document_id(document.key),
            "key": document.key,
            "text": document.text,
            "text_bytes": len(document.text.encode()),
            "metadata": dict(document.metadata),
            "terms": metadata.terms,
            "state": State.PENDING if shard is None else State.EMBEDDED,
            "shard": None if shard is None else shard.blob.path,
            "position": None if positions is None else positions[document.key],
            "vector_digest": None if document.vector is None else vector_digest(document.vector),
            "embedding_truncated": False,
            "revision": revision,
            "create_time": moment,
            "update_time": moment,
            "deleted": False,
        }
        for row, (document, metadata) in enumerate(zip(documents, described, strict=True), start=first_row)
    ]


def new_passages(
    document: NewDocument, *, uid: str, number: int, first_row: int, revision: int
) -> list[dict[str, Any]]:
    """The rows of a new document's passages. number: the document's."""
    shared = passage_metadata(document.metadata)
    passages = [NewDocument("", document.text[start:end], shared) for start, end in document.spans]
    unfiltered = [Described([], set()) for _passage in passages]  # filters of lists are about documents
    rows = new_documents(passages, unfiltered, uid=uid, first_row=first_row, revision=revision)
    for index, (row, span) in enumerate(zip(rows, document.spans, strict=True)):
        place = {"passage_index": index, "passage_start": span.start, "passage_end": span.end}
        row |= {**passage_names(row["row"]), "whole_number": number, **place}
    return rows


def passage_names(row: int) -> dict[str, Any]:
    """What a passage has of its row."""
    return {"row": row, "id": passage_id(row), "key": passage_id(row)}


def moved_passage(row: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of `queries.move_passages` beside the row: what else a passage has of its document."""
    return {name: row[name] for name in ("metadata", "passage_index", "passage_start", "passage_end")}


def new_whole(document: NewDocument, metadata: Described, *, uid: str, number: int, revision: int) -> dict[str, Any]:
    """The row of a new document with passages. metadata: the document's."""
    (row,) = new_documents([document], [metadata], uid=uid, first_row=number, revision=revision)
    own = {name: value for name, value in row.items() if name not in _OF_ROWS}
    return own | {"number": number, "passage_count": len(document.spans)}


def passage_place(row: Row[Any], whole: Row[Any]) -> PassagePlace:
    """Where a passage stands in its document."""
    return PassagePlace(
        row=row.row,
        document_id=whole.id,
        index=row.passage_index,
        count=whole.passage_count,
        start=row.passage_start,
        end=row.passage_end,
    )


def whole_document(
    row: Row[Any],
    characters: int | None = None,
    *,
    failure: Sequence[Any] | None = None,
    passages: Sequence[Row[Any]] = (),
) -> Document:
    """The document of a row; of its text at most so many characters. failure: of one of its passages."""
    text_truncated = characters is not None and len(row.text) > characters
    return Document(
        id=row.id,
        key=row.key,
        row=row.number,
        text=row.text[:characters] if text_truncated else row.text,
        metadata=row.metadata,
        state=State(row.state),
        failure=Failure(*failure) if failure else None,
        embedding_truncated=row.embedding_truncated,
        revision=row.revision,
        create_time=row.create_time,
        update_time=row.update_time,
        text_truncated=text_truncated,
        passage_count=row.passage_count,
        passages=[passage_place(passage, row) for passage in passages],
    )


def outcome_values(outcome: Outcome, shard: Shard | None, revision: int) -> dict[str, Any]:
    """Parameters of `queries.store_outcomes`."""
    failure = outcome.failure
    return {
        "outcome_row": outcome.row,
        "state": State.EMBEDDED if failure is None else State.FAILED,
        "failure": None if failure is None else [failure.code, failure.reason, failure.message],
        "embedding_truncated": outcome.truncated,
        "shard": None if failure or shard is None else shard.blob.path,
        "position": outcome.position,
        "revision": revision,
        "update_time": utc_now(),
    }


def dataset(row: Row[Any], history: str) -> Dataset:
    """The dataset of a row."""
    return Dataset(
        uid=row.uid,
        id=row.id,
        display_name=row.display_name,
        description=row.description,
        embedding_model=row.embedding_model,
        dimension=row.dimension,
        revision=row.revision,
        history=history,
        next_row=row.next_row,
        fingerprint=row.fingerprint,
        counts=counts(row),
        schema=metadata_schema.from_json(row.metadata_fields),
        create_time=row.create_time,
        update_time=row.update_time,
        delete_time=row.delete_time,
        query_model=QueryModel(row.query_model, row.query_dimension) if row.query_model else None,
        is_half=row.is_half,
        passages=None if row.passage_tokens is None else Passages(row.passage_tokens, row.passage_overlap),
        whole_count=row.whole_count,
    )


def stored_digest(row: Row[Any], model: str) -> int:
    """The digest of a document's row. model: the dataset's."""
    vector = (row.vector_digest or model) if State(row.state) is State.EMBEDDED else None
    return document_digest(row.key, row.text, vector)


def digest_of_embedding(row: Row[Any], model: str) -> int:
    """What a pending document, of which key and text are enough, adds to the sum of digests with its vector."""
    return document_digest(row.key, row.text, model) - document_digest(row.key, row.text, None)


def digest_of_losing_its_vector(row: Row[Any], model: str) -> int:
    """What an embedded document adds to the sum of digests when it is pending again."""
    return document_digest(row.key, row.text, None) - stored_digest(row, model)


def counts(row: Row[Any]) -> Counts:
    """The counts of a dataset's row."""
    return Counts(
        pending=row.pending_count, embedded=row.embedded_count, failed=row.failed_count, text_bytes=row.text_bytes
    )


def document(
    row: Row[Any],
    characters: int | None = None,
    whole: Row[Any] | None = None,
    whole_metadata: Mapping[str, object] | None = None,
) -> Document:
    """The document of a row; of its text at most so many characters. whole: of a passage, its document's row.

    whole_metadata: of a passage that has a part of its document's metadata only, all of it.
    """
    text_truncated = characters is not None and len(row.text) > characters
    return Document(
        id=row.id,
        key=row.key if whole is None else whole.key,
        row=row.row,
        text=row.text[:characters] if text_truncated else row.text,
        metadata=row.metadata,
        state=State(row.state),
        failure=Failure(*row.failure) if row.failure else None,
        embedding_truncated=row.embedding_truncated,
        revision=row.revision,
        create_time=row.create_time,
        update_time=row.update_time,
        shard=row.shard,
        position=row.position,
        text_truncated=text_truncated,
        passage=None if whole is None else passage_place(row, whole),
        whole_metadata=whole_metadata,
    )
