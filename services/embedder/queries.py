"""The SQL statements that must stay fast at any number of documents. A test reads the plan of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Delete,
    Select,
    Table,
    Update,
    and_,
    bindparam,
    delete,
    func,
    literal,
    literal_column,
    not_,
    select,
    update,
)
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from services.chassis.filters import Comparison, Filter, Leaf, evaluate
from services.chassis.metadata_filters import is_metadata, metadata_test
from services.chassis.metadata_schema import Types
from services.chassis.moments import utc_now
from services.chassis.sql_filters import SQL, contains, has_term
from services.embedder.documents import State
from services.embedder.tables import DATASETS, DOCUMENTS, LIVING, WHOLE_DOCUMENTS

VECTOR_COLUMNS = (DOCUMENTS.c.row, DOCUMENTS.c.state, DOCUMENTS.c.shard, DOCUMENTS.c.position, DOCUMENTS.c.deleted)
"""What ReadVectors needs of a document."""
EXCERPT_CHARACTERS = 200
"""Characters of a text that stand for its document."""
_PLACE_COLUMNS = (DOCUMENTS.c.passage_index, DOCUMENTS.c.passage_start, DOCUMENTS.c.passage_end)
_REVISION = literal_column("+documents.revision", BigInteger)
"""The plus keeps SQLite from choosing the index of revisions, of which nearly all match."""

Statement = Select[*tuple[Any, ...]]


_LIVING_DATASET = select(DATASETS).where(DATASETS.c.id == bindparam("dataset_id"), DATASETS.c.delete_time.is_(None))


def living_dataset(dataset_id: str) -> Statement:
    """The dataset that has this id now."""
    return _LIVING_DATASET.params(dataset_id=dataset_id)


def known_keys(uid: str, keys: Sequence[str]) -> Statement:
    """Which of these keys living documents have."""
    return select(DOCUMENTS.c.key).where(DOCUMENTS.c.dataset_uid == uid, DOCUMENTS.c.key.in_(keys), LIVING)


def documents_by_key(uid: str, keys: Sequence[str]) -> Statement:
    """Living documents of these keys."""
    return select(DOCUMENTS).where(DOCUMENTS.c.dataset_uid == uid, DOCUMENTS.c.key.in_(keys), LIVING)


def known_whole_keys(uid: str, keys: Sequence[str]) -> Statement:
    """Which of these keys documents with passages have."""
    return select(WHOLE_DOCUMENTS.c.key).where(WHOLE_DOCUMENTS.c.dataset_uid == uid, WHOLE_DOCUMENTS.c.key.in_(keys))


def wholes_by_key(uid: str, keys: Sequence[str]) -> Statement:
    """Documents with passages, of these keys."""
    return select(WHOLE_DOCUMENTS).where(WHOLE_DOCUMENTS.c.dataset_uid == uid, WHOLE_DOCUMENTS.c.key.in_(keys))


def wholes_by_id(uid: str, ids: Sequence[str]) -> Statement:
    """Documents with passages, of these ids."""
    return select(WHOLE_DOCUMENTS).where(WHOLE_DOCUMENTS.c.dataset_uid == uid, WHOLE_DOCUMENTS.c.id.in_(ids))


def wholes_after(uid: str, after_number: int, limit: int) -> Statement:
    """Documents with passages behind a number."""
    query = select(WHOLE_DOCUMENTS).where(WHOLE_DOCUMENTS.c.dataset_uid == uid, WHOLE_DOCUMENTS.c.number > after_number)
    return query.order_by(WHOLE_DOCUMENTS.c.number).limit(limit)


def text_sizes(uid: str, *, after_row: int, before_row: int, limit: int, of_wholes: bool) -> Statement:
    """Row and bytes of the text of documents and tombstones between two rows; of documents with passages, by number."""
    table = _table(of_wholes=of_wholes)
    row = _row(table)
    query = select(row.label("row"), table.c.text_bytes).where(table.c.dataset_uid == uid, row > after_row)
    return query.where(row < before_row).order_by(row).limit(limit)


def texts(uid: str, *, after_row: int, last_row: int, of_wholes: bool) -> Statement:
    """The texts of living documents behind a row up to a last one; of documents with passages, by number."""
    table = _table(of_wholes=of_wholes)
    row = _row(table)
    living = [] if of_wholes else [LIVING]
    query = select(row.label("row"), table.c.text, table.c.embedding_truncated)
    return query.where(table.c.dataset_uid == uid, row > after_row, row <= last_row, *living).order_by(row)


def excerpts(uid: str, rows: Sequence[int], *, of_wholes: bool) -> Statement:
    """Row, id, key and the start of the text of living documents; with `of_wholes`, of those with passages by number.

    Of a text with U+0000, SQLite gives what is before it.
    """
    table = _table(of_wholes=of_wholes)
    living = [] if of_wholes else [LIVING]
    excerpt = func.substr(table.c.text, 1, EXCERPT_CHARACTERS, type_=table.c.text.type)
    query = select(_row(table), table.c.id, table.c.key, excerpt)
    return query.where(table.c.dataset_uid == uid, _row(table).in_(rows), *living)


def metadata_of_rows(uid: str, rows: Sequence[int]) -> Statement:
    """Row and metadata of living documents; of passages, what they have of their document's."""
    query = select(DOCUMENTS.c.row, DOCUMENTS.c.metadata)
    return query.where(DOCUMENTS.c.dataset_uid == uid, DOCUMENTS.c.row.in_(rows), LIVING)


def passages_of(uid: str, number: int) -> Statement:
    """The passages of a document, in the order of its text."""
    columns = (DOCUMENTS.c.row, DOCUMENTS.c.state, DOCUMENTS.c.text, *_PLACE_COLUMNS)
    return (
        select(*columns)
        .where(DOCUMENTS.c.dataset_uid == uid, DOCUMENTS.c.whole_number == number, LIVING)
        .order_by(DOCUMENTS.c.passage_index)
    )


def delete_wholes(uid: str, numbers: Sequence[int]) -> Delete:
    """Deletes the documents with passages of these numbers."""
    return delete(WHOLE_DOCUMENTS).where(WHOLE_DOCUMENTS.c.dataset_uid == uid, WHOLE_DOCUMENTS.c.number.in_(numbers))


def delete_wholes_between(uid: str, start: int, end: int) -> Delete:
    """Deletes the documents with passages of the numbers from `start` to before `end`."""
    numbers = WHOLE_DOCUMENTS.c.number
    return delete(WHOLE_DOCUMENTS).where(WHOLE_DOCUMENTS.c.dataset_uid == uid, numbers >= start, numbers < end)


def documents_by_id(uid: str, ids: Sequence[str]) -> Statement:
    """Living documents of these ids."""
    return select(DOCUMENTS).where(DOCUMENTS.c.dataset_uid == uid, DOCUMENTS.c.id.in_(ids), LIVING)


def documents_by_row(uid: str, rows: Sequence[int]) -> Statement:
    """Living documents of these rows."""
    return select(DOCUMENTS).where(DOCUMENTS.c.dataset_uid == uid, DOCUMENTS.c.row.in_(rows), LIVING)


def pending(uid: str, limit: int, *, start: int = 0, stop: int | None = None) -> Statement:
    """Row and text of the pending documents with the lowest rows, of those in [start, stop)."""
    query = _in_state(select(DOCUMENTS.c.row, DOCUMENTS.c.text), uid, State.PENDING)
    return _between(query, start, stop).limit(limit)


def pending_count(uid: str, start: int, stop: int) -> Statement:
    """How many pending documents have rows in [start, stop)."""
    query = select(func.count()).select_from(DOCUMENTS)
    query = query.where(DOCUMENTS.c.dataset_uid == uid, DOCUMENTS.c.state == State.PENDING, LIVING)
    return _between(query, start, stop)


def pending_counts(uid: str, width: int) -> Statement:
    """How many pending documents each range [number · width, (number + 1) · width) has that has any."""
    number = (DOCUMENTS.c.row // literal(width, BigInteger)).label("number")
    query = select(number, func.count().label("count"))
    query = query.where(DOCUMENTS.c.dataset_uid == uid, DOCUMENTS.c.state == State.PENDING, LIVING)
    return query.group_by(number)


def rows_in_state(uid: str, state: State, limit: int) -> Statement:
    """The lowest rows of living documents in a state."""
    return _in_state(select(DOCUMENTS.c.row), uid, state).limit(limit)


def embedded_rows(uid: str) -> Statement:
    """All rows of documents that have a vector, ascending."""
    return _in_state(select(DOCUMENTS.c.row, DOCUMENTS.c.revision), uid, State.EMBEDDED)


def still_pending(uid: str, rows: Sequence[int]) -> Statement:
    """Row, key and text of those of these rows that are still pending, and the numbers of passages' documents."""
    columns = (DOCUMENTS.c.row, DOCUMENTS.c.key, DOCUMENTS.c.text, DOCUMENTS.c.whole_number)
    return select(*columns).where(
        DOCUMENTS.c.dataset_uid == uid, DOCUMENTS.c.row.in_(rows), DOCUMENTS.c.state == State.PENDING, LIVING
    )


def passages_after(uid: str, after_row: int, limit: int) -> Statement:
    """Row, document's number and state of living passages behind a row."""
    query = select(DOCUMENTS.c.row, DOCUMENTS.c.whole_number, DOCUMENTS.c.state)
    return (
        query.where(DOCUMENTS.c.dataset_uid == uid, DOCUMENTS.c.row > after_row, LIVING)
        .order_by(DOCUMENTS.c.row)
        .limit(limit)
    )


def wholes_of_rows(uid: str, rows: Sequence[int]) -> Statement:
    """The numbers of these passages' documents; passages and documents may be deleted."""
    return select(DOCUMENTS.c.whole_number).where(DOCUMENTS.c.dataset_uid == uid, DOCUMENTS.c.row.in_(rows)).distinct()


def states_of_keys_of(uid: str, rows: Sequence[int]) -> Statement:
    """States of the living documents that have the keys of these rows' documents, deleted or not."""
    earlier = DOCUMENTS.alias("earlier")
    keys = select(earlier.c.key).where(earlier.c.dataset_uid == uid, earlier.c.row.in_(rows))
    return select(DOCUMENTS.c.state).where(DOCUMENTS.c.dataset_uid == uid, DOCUMENTS.c.key.in_(keys), LIVING)


def changed_rows(uid: str, since: int, until: int) -> Statement:
    """Rows of documents and tombstones changed in (since, until], in no order."""
    return select(DOCUMENTS.c.row).where(
        DOCUMENTS.c.dataset_uid == uid, DOCUMENTS.c.revision > since, DOCUMENTS.c.revision <= until
    )


def page(columns: Sequence[ColumnElement[Any]], uid: str, *, until: int, after_row: int, limit: int) -> Statement:
    """The documents and tombstones behind a row that have not changed after a revision."""
    return (
        select(*columns)
        .where(DOCUMENTS.c.dataset_uid == uid, DOCUMENTS.c.row > after_row, until >= _REVISION)
        .order_by(DOCUMENTS.c.row)
        .limit(limit)
    )


def present_page(
    columns: Sequence[ColumnElement[Any]], uid: str, *, before_row: int, after_row: int, limit: int
) -> Statement:
    """The documents and tombstones between two rows as they are now, also those that changed after a revision."""
    rows = (DOCUMENTS.c.row > after_row, DOCUMENTS.c.row < before_row)
    return select(*columns).where(DOCUMENTS.c.dataset_uid == uid, *rows).order_by(DOCUMENTS.c.row).limit(limit)


def page_of_rows(
    columns: Sequence[ColumnElement[Any]], uid: str, *, until: int | None, rows: Sequence[int]
) -> Statement:
    """The documents and tombstones of these rows that have not changed after a revision; None: as they are now."""
    query = select(*columns).where(DOCUMENTS.c.dataset_uid == uid, DOCUMENTS.c.row.in_(rows))
    query = query if until is None else query.where(until >= _REVISION)
    return query.order_by(DOCUMENTS.c.row)


def vector_runs(page: Statement) -> Statement:
    """Where the vectors of a page's documents are: rows that follow each other, in a shard as in the dataset.

    page: a statement of VECTOR_COLUMNS. The columns: shard, shift (position less row), first_row, last_row.
    """
    rows = page.subquery()
    number = func.row_number().over(order_by=rows.c.row)
    living = select(rows.c.row, rows.c.shard, rows.c.position, (rows.c.row - number).label("island"))
    runs = living.where(_has_vector(rows.c)).subquery()
    shift = runs.c.position - runs.c.row
    first_row = func.min(runs.c.row).label("first_row")
    return (
        select(runs.c.shard, shift.label("shift"), first_row, func.max(runs.c.row).label("last_row"))
        .group_by(runs.c.shard, shift, runs.c.island)
        .order_by(first_row)
    )


def rows_without_vectors(page: Statement) -> Statement:
    """The row of each document of a page that has no vector, and whether it is a tombstone."""
    rows = page.subquery()
    return select(rows.c.row, rows.c.deleted).where(not_(_has_vector(rows.c))).order_by(rows.c.row)


def _has_vector(columns: ReadOnlyColumnCollection[str, Any]) -> ColumnElement[bool]:
    return and_(not_(columns.deleted), columns.state == State.EMBEDDED, columns.shard.is_not(None))


def matching_page(
    uid: str, condition: Filter, types: Types, *, after_row: int, limit: int, of_wholes: bool = False
) -> Statement:
    """Living documents behind a row that match a filter. types: of the fields of metadata.

    of_wholes: of documents with passages, by number instead of row, as in the next ones.
    """
    table = _table(of_wholes=of_wholes)
    query = select(table).where(matching(uid, condition, types, of_wholes=of_wholes), _row(table) > after_row)
    return query.order_by(_row(table)).limit(limit)


def matching_rows(
    uid: str,
    condition: Filter,
    types: Types,
    *,
    after_row: int,
    before_row: int,
    created_until: datetime,
    limit: int,
    of_wholes: bool = False,
) -> Statement:
    """Rows of living documents between two rows that match a filter and were there at a moment, UTC."""
    table = _table(of_wholes=of_wholes)
    row = _row(table)
    query = select(row).where(matching(uid, condition, types, of_wholes=of_wholes), row > after_row)
    return query.where(row < before_row, table.c.create_time <= created_until).order_by(row).limit(limit)


def still_matching(
    uid: str, condition: Filter, types: Types, *, rows: Sequence[int], of_wholes: bool = False
) -> Statement:
    """The living documents of these rows that match a filter."""
    table = _table(of_wholes=of_wholes)
    return select(table).where(matching(uid, condition, types, of_wholes=of_wholes), _row(table).in_(rows))


def matching_count(
    uid: str,
    condition: Filter,
    types: Types,
    *,
    before_row: int | None = None,
    created_until: datetime | None = None,
    of_wholes: bool = False,
) -> Statement:
    """How many living documents match a filter. Where a counter of the dataset answers, it is not needed.

    before_row, created_until: as for `matching_rows`; None for all.
    """
    table = _table(of_wholes=of_wholes)
    query = select(func.count()).select_from(table).where(matching(uid, condition, types, of_wholes=of_wholes))
    if before_row is not None:
        query = query.where(_row(table) < before_row)
    return query if created_until is None else query.where(table.c.create_time <= created_until)


def matching(uid: str, condition: Filter, types: Types, *, of_wholes: bool = False) -> ColumnElement[bool]:
    """Whether a document is a living one of the dataset and matches a filter. types: of the fields of metadata."""
    table = _table(of_wholes=of_wholes)
    living = [] if of_wholes else [LIVING]
    matches = evaluate(condition, lambda leaf: _leaf(leaf, types, table), SQL)
    return and_(table.c.dataset_uid == uid, *living, matches)


def rows_of_shards(uid: str, shards: Sequence[str], rows: Sequence[int] | None = None) -> Statement:
    """Rows of the documents whose vectors are in these shards, among `rows` or all. Reads the whole dataset."""
    query = select(DOCUMENTS.c.row).where(DOCUMENTS.c.dataset_uid == uid, DOCUMENTS.c.shard.in_(shards), LIVING)
    return query.order_by(DOCUMENTS.c.row) if rows is None else query.where(DOCUMENTS.c.row.in_(rows))


def store_outcomes(uid: str) -> Update:
    """Stores one outcome of an embedding; executed for many at once."""
    return (
        update(DOCUMENTS)
        .where(DOCUMENTS.c.dataset_uid == uid, DOCUMENTS.c.row == bindparam("outcome_row"))
        .values(
            state=bindparam("state"),
            failure=bindparam("failure"),
            embedding_truncated=bindparam("embedding_truncated"),
            shard=bindparam("shard"),
            position=bindparam("position"),
            revision=bindparam("revision"),
            update_time=bindparam("update_time"),
        )
    )


def make_pending(uid: str, rows: Sequence[int], revision: int) -> Update:
    """Makes documents pending again; their vectors and failures are forgotten."""
    return (
        update(DOCUMENTS)
        .where(DOCUMENTS.c.dataset_uid == uid, DOCUMENTS.c.row.in_(rows))
        .values(state=State.PENDING, failure=None, shard=None, position=None, vector_digest=None, revision=revision)
    )


def make_tombstones(uid: str, rows: Sequence[int], revision: int) -> Update:
    """Deletes documents: their rows and keys stay, their texts and metadata go."""
    tombstone = {"deleted": True, "text": "", "text_bytes": 0, "metadata": {}, "terms": []}
    return (
        update(DOCUMENTS)
        .where(DOCUMENTS.c.dataset_uid == uid, DOCUMENTS.c.row.in_(rows))
        .values(**tombstone, revision=revision, update_time=utc_now())
    )


def change_metadata(uid: str, revision: int) -> Update:
    """Gives documents other metadata; executed for many at once."""
    return (
        update(DOCUMENTS)
        .where(DOCUMENTS.c.dataset_uid == uid, DOCUMENTS.c.row == bindparam("changed_row"))
        .values(metadata=bindparam("metadata"), terms=bindparam("terms"), revision=revision, update_time=utc_now())
    )


def move_passages(uid: str, revision: int) -> Update:
    """Gives passages other places in their document, and other metadata; executed for many at once."""
    columns = ("metadata", "passage_index", "passage_start", "passage_end")
    return (
        update(DOCUMENTS)
        .where(DOCUMENTS.c.dataset_uid == uid, DOCUMENTS.c.row == bindparam("moved_row"))
        .values({name: bindparam(name) for name in columns} | {"revision": revision, "update_time": utc_now()})
    )


def replace_whole(uid: str, number: int, whole: Mapping[str, Any]) -> Update:
    """Gives a document with passages the values of another one, but for its number and when it was created."""
    fixed_columns = ("dataset_uid", "number", "create_time")
    return (
        update(WHOLE_DOCUMENTS)
        .where(WHOLE_DOCUMENTS.c.dataset_uid == uid, WHOLE_DOCUMENTS.c.number == number)
        .values({name: value for name, value in whole.items() if name not in fixed_columns})
    )


def delete_rows(uid: str, start: int, end: int) -> Delete:
    """Deletes the documents and tombstones of the rows from `start` to before `end`."""
    return delete(DOCUMENTS).where(DOCUMENTS.c.dataset_uid == uid, DOCUMENTS.c.row >= start, DOCUMENTS.c.row < end)


def _in_state(query: Statement, uid: str, state: State) -> Statement:
    return query.where(DOCUMENTS.c.dataset_uid == uid, DOCUMENTS.c.state == state, LIVING).order_by(DOCUMENTS.c.row)


def _between(query: Statement, start: int, stop: int | None) -> Statement:
    """Rows in [start, stop); all where nothing is bounded."""
    if start > 0:
        query = query.where(DOCUMENTS.c.row >= start)
    return query if stop is None else query.where(DOCUMENTS.c.row < stop)


def _table(*, of_wholes: bool) -> Table:
    return WHOLE_DOCUMENTS if of_wholes else DOCUMENTS


def _row(table: Table) -> ColumnElement[int]:
    return WHOLE_DOCUMENTS.c.number if table is WHOLE_DOCUMENTS else DOCUMENTS.c.row


def _leaf(leaf: Leaf, types: Types, table: Table) -> ColumnElement[bool]:
    if is_metadata(leaf):
        return metadata_test(leaf, types, lambda test: has_term(table.c.terms, test), SQL)
    assert isinstance(leaf, Comparison), "these columns are never absent"
    column = table.c[leaf.field]
    if leaf.op == ":":
        return contains(column, leaf.value)
    return column == leaf.value if leaf.op == "=" else column != leaf.value
