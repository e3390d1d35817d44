"""The SQL of documents above passages: each function works within the caller's transaction.

Passages are rows of `documents` like any other; what is known of the document above them is a row of `whole_documents`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, exists, func, insert, select, update

from services.chassis.metadata_terms import Described
from services.chassis.moments import utc_now
from services.embedder import metadata, queries, sql_rows
from services.embedder.documents import Document, NewDocument, State
from services.embedder.fingerprints import document_digest, passage_digest
from services.embedder.tables import DOCUMENTS, LIVING, WHOLE_DOCUMENTS

_ROWS = 10_000
"""The parameters of one statement at most: SQLite takes 32,766."""


def add(
    connection: Connection,
    documents: Sequence[NewDocument],
    described: Sequence[Described],
    *,
    uid: str,
    first_row: int,
    revision: int,
) -> Counter[str]:
    """Adds documents with their passages, in rows from `first_row` on; returns the differences of the counters.

    described: the metadata of each.
    """
    wholes: list[dict[str, Any]] = []
    passages: list[dict[str, Any]] = []
    for document, whole in zip(documents, described, strict=True):
        number = first_row + len(passages)
        wholes.append(sql_rows.new_whole(document, whole, uid=uid, number=number, revision=revision))
        passages += sql_rows.new_passages(document, uid=uid, number=number, first_row=number, revision=revision)
    connection.execute(insert(WHOLE_DOCUMENTS), wholes)
    connection.execute(insert(DOCUMENTS), passages)
    return Counter(
        next_row=len(passages),
        pending_count=len(passages),
        whole_count=len(wholes),
        text_bytes=sum(whole["text_bytes"] for whole in wholes),
    )


def remove(
    connection: Connection, uid: str, wholes: Sequence[Row[Any]], *, model: str, revision: int
) -> tuple[Counter[str], int]:
    """Deletes documents, and leaves tombstones of their passages.

    Returns what is to be taken from the dataset's counters, and from the sum of digests. model: the dataset's.
    """
    digests = 0
    removed = Counter(whole_count=len(wholes), text_bytes=sum(whole.text_bytes for whole in wholes))
    for whole in wholes:
        passages = connection.execute(queries.passages_of(uid, whole.number)).all()
        remove_passages(connection, uid, [passage.row for passage in passages], revision)
        removed.update(sql_rows.COUNTERS[State(passage.state)] for passage in passages)
        digests += digest(whole, passages, model)
    numbers = [whole.number for whole in wholes]
    connection.execute(queries.delete_wholes(uid, numbers))
    return removed, digests


def digest(whole: Row[Any], passages: Sequence[Row[Any]], model: str) -> int:
    """The digests of a document and of those of these passages that have vectors. model: the dataset's."""
    embedded = (passage for passage in passages if State(passage.state) is State.EMBEDDED)
    vectors = sum(passage_digest(whole.key, passage.text, model) for passage in embedded)
    return document_digest(whole.key, whole.text, None) + vectors


def digests_of_passages(connection: Connection, uid: str, passages: Sequence[Row[Any]], model: str) -> int:
    """What passages add to the sum of digests by their vectors. model: the dataset's."""
    wholes = of_passages(connection, uid, passages)
    return sum(passage_digest(wholes[passage.whole_number].key, passage.text, model) for passage in passages)


def remove_passages(connection: Connection, uid: str, rows: Sequence[int], revision: int) -> None:
    """Leaves tombstones of passages."""
    for start in range(0, len(rows), _ROWS):
        connection.execute(queries.make_tombstones(uid, rows[start : start + _ROWS], revision))


def follow_rows(connection: Connection, uid: str, rows: Sequence[int], revision: int) -> None:
    """Gives the documents of passages that have changed what follows from these."""
    numbers = select(DOCUMENTS.c.whole_number).where(DOCUMENTS.c.dataset_uid == uid, DOCUMENTS.c.row.in_(rows))
    follow_passages(connection, uid, list(connection.execute(numbers.distinct()).scalars()), revision)


def follow_passages(connection: Connection, uid: str, numbers: Sequence[int], revision: int) -> None:
    """Gives documents what follows from their passages."""
    own = (DOCUMENTS.c.dataset_uid == uid, DOCUMENTS.c.whole_number == WHOLE_DOCUMENTS.c.number, LIVING)
    connection.execute(
        update(WHOLE_DOCUMENTS)
        .where(WHOLE_DOCUMENTS.c.dataset_uid == uid, WHOLE_DOCUMENTS.c.number.in_(numbers))
        .values(
            # In the order of the alphabet: one pending passage makes it PENDING, else one failed passage FAILED.
            state=select(func.max(DOCUMENTS.c.state)).where(*own).scalar_subquery(),
            embedding_truncated=exists(select(DOCUMENTS.c.row).where(*own, DOCUMENTS.c.embedding_truncated)),
            revision=revision,
            update_time=utc_now(),
        )
    )


def of_passages(connection: Connection, uid: str, rows: Sequence[Row[Any]]) -> Mapping[int, Row[Any]]:
    """Id, key and count of passages of the documents above these rows, by their numbers."""
    numbers = sorted({row.whole_number for row in rows if row.whole_number is not None})
    if not numbers:
        return {}
    table = WHOLE_DOCUMENTS.c
    query: queries.Statement = select(table.number, table.id, table.key, table.passage_count)
    stored = connection.execute(query.where(table.dataset_uid == uid, table.number.in_(numbers)))
    return {int(whole.number): whole for whole in stored}


def shortened_metadata(connection: Connection, uid: str, numbers: Sequence[int]) -> Mapping[int, Mapping[str, Any]]:
    """The metadata of those of some documents whose passages have a part of it only, by their numbers."""
    table = WHOLE_DOCUMENTS.c
    query: queries.Statement = select(table.number, table.metadata)
    stored = connection.execute(query.where(table.dataset_uid == uid, table.number.in_(numbers)))
    return {int(number): whole for number, whole in stored if metadata.is_shortened(whole)}


def find(connection: Connection, uid: str, ids: Sequence[str], *, with_passages: bool) -> list[Document]:
    """The documents of these ids, in no order."""
    rows = connection.execute(queries.wholes_by_id(uid, ids)).all()
    failures = _failures(connection, uid, rows)
    return [
        sql_rows.whole_document(
            row,
            failure=failures.get(row.number),
            passages=connection.execute(queries.passages_of(uid, row.number)).all() if with_passages else (),
        )
        for row in rows
    ]


def documents(
    connection: Connection, uid: str, rows: Sequence[Row[Any]], characters: int | None = None
) -> list[Document]:
    """The documents of rows; of their texts at most so many characters."""
    failures = _failures(connection, uid, rows)
    return [sql_rows.whole_document(row, characters, failure=failures.get(row.number)) for row in rows]


def _failures(connection: Connection, uid: str, rows: Sequence[Row[Any]]) -> dict[int, Any]:
    """Of failed documents, the failure of one of their passages, by number."""
    numbers = [row.number for row in rows if row.state == State.FAILED]
    if not numbers:
        return {}
    query = select(DOCUMENTS.c.whole_number, DOCUMENTS.c.failure).where(
        DOCUMENTS.c.dataset_uid == uid, DOCUMENTS.c.whole_number.in_(numbers), LIVING, DOCUMENTS.c.failure.is_not(None)
    )
    return {number: failure for number, failure in connection.execute(query)}
