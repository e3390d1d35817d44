"""The SQL of imports: what each did, and the items that it rejected. All calls block; callers use threads.

An import is recorded in the transactions that commit its documents, so that its record is neither ahead of the data nor
behind it, whatever ends the import.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from services.chassis import logs
from services.chassis.database import Database, newest_first, repeats_transactions
from services.chassis.errors import PrismaError
from services.chassis.moments import utc_now
from services.embedder.documents import Failure, Fate, OnDuplicate
from services.embedder.errors import DatasetNotFound, ImportNotFound
from services.embedder.files.formats import Format, Layout
from services.embedder.items import Fields, IdSource, Reason, Rejection
from services.embedder.reports import ImportProgress, ImportState, Report, StoredImport
from services.embedder.store import RecordImport
from services.embedder.tables import DATASETS, IMPORTS, REJECTIONS

MAX_IMPORTS = 1000
"""Imports of a dataset that are kept, the newest."""
MAX_STORED_BYTES = 8 << 20
"""Bytes of an import's rejections, compressed; further ones are counted only."""
MAX_DATASET_BYTES = 64 << 20
"""Bytes of a dataset's rejections, compressed; those of its oldest imports are deleted first."""
SILENT = timedelta(minutes=5)
"""An import that has recorded nothing for so long, although it is not at its end, was cut off: it commits every second
or so."""

_log = logs.get(__name__)


@repeats_transactions
class ImportRecords:
    """What imports did."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def write(self, connection: Connection, progress: ImportProgress) -> None:
        """Records how far an import is, in the transaction that commits its documents."""
        values = {**_values(progress), **_store_rejections(connection, progress)}
        changed = connection.execute(update(IMPORTS).where(_is(progress.dataset_uid, progress.uid)).values(values))
        if not changed.rowcount:
            key = {"dataset_uid": progress.dataset_uid, "uid": progress.uid, "create_time": progress.create_time}
            connection.execute(insert(IMPORTS).values({**key, **values}))
            _forget_old(connection, progress.dataset_uid)

    def recorder(self, progress_of: Callable[[Mapping[str, Fate]], ImportProgress]) -> RecordImport:
        """What `Store.add_documents` calls; progress_of: gets what it returns."""
        return lambda connection, fates: self.write(connection, progress_of(fates))

    def end(self, progress: ImportProgress) -> None:
        """Records how an import ended that commits nothing any more. Of a deleted dataset, nothing is recorded.

        Errors are logged: the caller tells another one.
        """
        living = select(DATASETS.c.uid).where(DATASETS.c.uid == progress.dataset_uid, DATASETS.c.delete_time.is_(None))
        try:
            with self._database.write(progress.dataset_uid) as connection:
                if connection.execute(living).first() is not None:
                    self.write(connection, progress)
        except (PrismaError, SQLAlchemyError) as error:
            _log.warning("the report of an import is not complete", uid=progress.uid, error=str(error))

    def list(self, dataset_id: str, after: Sequence[Any] | None, limit: int) -> list[StoredImport]:
        """Imports of a dataset, the newest first, behind a (create time, uid). Raises DatasetNotFound."""
        with self._database.read() as connection:
            query = newest_first(IMPORTS, after, limit).where(IMPORTS.c.dataset_uid == _uid(connection, dataset_id))
            return [_stored_import(row) for row in connection.execute(query)]

    def get(self, dataset_id: str, uid: str) -> StoredImport:
        """An import. Raises DatasetNotFound, ImportNotFound."""
        with self._database.read() as connection:
            return _stored_import(_need(connection, dataset_id, uid))

    def rejections(self, dataset_id: str, uid: str) -> Iterator[list[Rejection]]:
        """The stored rejections of an import in the order of its file, part by part.

        Raises DatasetNotFound, ImportNotFound.
        """
        with self._database.read() as connection:
            record = _need(connection, dataset_id, uid)
            parts = select(REJECTIONS.c.part).where(_is_part(record.dataset_uid, uid)).order_by(REJECTIONS.c.part)
            numbers = list(connection.execute(parts).scalars())
        for number in numbers:
            query = select(REJECTIONS.c.content).where(_is_part(record.dataset_uid, uid), REJECTIONS.c.part == number)
            with self._database.read() as connection:
                content = connection.execute(query).scalar()
            if content is not None:  # else it was deleted meanwhile
                yield _unpacked(content)

    def sweep(self) -> None:
        """Deletes what deleted datasets have left."""
        living = select(DATASETS.c.uid).where(DATASETS.c.delete_time.is_(None))
        with self._database.write() as connection:
            for table in (REJECTIONS, IMPORTS):
                connection.execute(delete(table).where(table.c.dataset_uid.not_in(living)))


def _store_rejections(connection: Connection, progress: ImportProgress) -> dict[str, int]:
    """Stores further rejections, as long as there is room; returns what changes in the import's row."""
    if not progress.rejections:
        return {}
    columns = select(IMPORTS.c.rejection_bytes, IMPORTS.c.stored_rejection_count, IMPORTS.c.rejected_count)
    row = connection.execute(columns.where(_is(progress.dataset_uid, progress.uid))).first()
    size, count, rejected_count = (0, 0, 0) if row is None else row
    content = _packed(progress.rejections)
    if count < rejected_count or size + len(content) > MAX_STORED_BYTES:  # the first ones, without a gap
        return {}
    part = {"dataset_uid": progress.dataset_uid, "import_uid": progress.uid, "part": count, "content": content}
    connection.execute(insert(REJECTIONS).values(part))
    return {"rejection_bytes": size + len(content), "stored_rejection_count": count + len(progress.rejections)}


def _values(progress: ImportProgress) -> dict[str, Any]:
    """The columns that change as an import goes on."""
    report, failure, moment = progress.report, progress.failure, utc_now()
    layout = None
    if report is not None:
        layout = {"layout": asdict(report.layout), "fields": asdict(report.fields)}
    counts = Counter[Reason]() if report is None else report.counts
    return {
        "state": progress.state,
        "file_name": progress.file_name,
        "file_bytes": progress.file_bytes,
        "layout": layout,
        "notes": [] if report is None else list(report.notes),
        "on_duplicate": progress.on_duplicate,
        "added_count": 0 if report is None else report.imported,
        "updated_count": 0 if report is None else report.updated,
        "skipped_count": 0 if report is None else report.skipped,
        "rejected_count": counts.total(),
        "rejection_counts": dict(counts),
        "failure": None if failure is None else [failure.code, failure.reason, failure.message],
        "update_time": moment,
        "end_time": None if progress.state == ImportState.RUNNING else moment,
    }


def _forget_old(connection: Connection, dataset_uid: str) -> None:
    """Deletes the oldest imports and rejections of a dataset where it has more than are kept."""
    query = select(IMPORTS.c.uid, IMPORTS.c.rejection_bytes).where(IMPORTS.c.dataset_uid == dataset_uid)
    size = 0
    for place, (uid, byte_count) in enumerate(
        connection.execute(query.order_by(IMPORTS.c.create_time.desc(), IMPORTS.c.uid)).all()
    ):
        size += byte_count
        if byte_count and (size > MAX_DATASET_BYTES or place >= MAX_IMPORTS):
            connection.execute(delete(REJECTIONS).where(_is_part(dataset_uid, uid)))
            forgotten = {"rejection_bytes": 0, "stored_rejection_count": 0}
            connection.execute(update(IMPORTS).where(_is(dataset_uid, uid)).values(forgotten))
        if place >= MAX_IMPORTS:
            connection.execute(delete(IMPORTS).where(_is(dataset_uid, uid)))


def _packed(rejections: Sequence[Rejection]) -> bytes:
    lines = [json.dumps([*asdict(rejection).values()], ensure_ascii=False) for rejection in rejections]
    return zlib.compress("\n".join(lines).encode(), level=6)


def _unpacked(content: bytes) -> list[Rejection]:
    rows = [json.loads(line) for line in zlib.decompress(content).decode().split("\n")]
    return [_rejection(*row) for row in rows]


def _rejection(
    item: int, key: str, reason: str, message: str, table: str | None = None, table_item: int | None = None
) -> Rejection:
    """A rejection of its stored values; former ones lack the last two."""
    return Rejection(item, key, reason=Reason(reason), message=message, table=table, table_item=table_item)


def _is(dataset_uid: str, uid: str) -> ColumnElement[bool]:
    return and_(IMPORTS.c.dataset_uid == dataset_uid, IMPORTS.c.uid == uid)


def _is_part(dataset_uid: str, uid: str) -> ColumnElement[bool]:
    return and_(REJECTIONS.c.dataset_uid == dataset_uid, REJECTIONS.c.import_uid == uid)


def _uid(connection: Connection, dataset_id: str) -> str:
    query = select(DATASETS.c.uid).where(DATASETS.c.id == dataset_id, DATASETS.c.delete_time.is_(None))
    uid = connection.execute(query).scalar()
    if uid is None:
        raise DatasetNotFound(
            f"there is no dataset datasets/{dataset_id}, or it was deleted",
            metadata={"dataset": f"datasets/{dataset_id}"},
        )
    return uid


def _need(connection: Connection, dataset_id: str, uid: str) -> Row[Any]:
    row = connection.execute(select(IMPORTS).where(_is(_uid(connection, dataset_id), uid))).first()
    if row is None:
        name = f"datasets/{dataset_id}/imports/{uid}"
        raise ImportNotFound(
            f"there is no import {name}; of each dataset the {MAX_IMPORTS:,} newest are kept", metadata={"import": name}
        )
    return row


def _stored_import(row: Row[Any]) -> StoredImport:
    state = ImportState(row.state)
    if state == ImportState.RUNNING and row.update_time < utc_now() - SILENT:
        state = ImportState.INTERRUPTED
    return StoredImport(
        uid=row.uid,
        state=state,
        file_name=row.file_name,
        file_bytes=row.file_bytes,
        on_duplicate=OnDuplicate(row.on_duplicate),
        report=None if row.layout is None else _report(row),
        stored_rejections=row.stored_rejection_count,
        failure=Failure(*row.failure) if row.failure else None,
        create_time=row.create_time,
        end_time=row.end_time,
    )


def _report(row: Row[Any]) -> Report:
    """The report in a row, without its rejections."""
    layout: dict[str, Any] = row.layout["layout"]
    fields: Mapping[str, Any] = row.layout["fields"]
    metadata_fields = fields["metadata_fields"]
    return Report(
        layout=replace(Layout(**layout), format=Format(layout["format"])),
        fields=Fields(
            id_field=fields["id_field"],
            text_fields=tuple(fields["text_fields"]),
            metadata_fields=None if metadata_fields is None else tuple(metadata_fields),
            takes_exported=fields["takes_exported"],
            vector_field=fields.get("vector_field"),
            id_source=IdSource(fields.get("id_source") or _former_id_source(fields["id_field"])),
        ),
        notes=row.notes,
        imported=row.added_count,
        updated=row.updated_count,
        skipped=row.skipped_count,
        counts=Counter({Reason(reason): count for reason, count in row.rejection_counts.items()}),
    )


def _former_id_source(id_field: str | None) -> IdSource:
    """What gave the ids of an import whose report does not say it yet."""
    return IdSource.TEXT if id_field is None else IdSource.FIELD
