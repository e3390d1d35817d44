"""Histories: what a revision number is worth after a restore.

A follower stores (history, revision) of what it has read. When a service starts, each of its resources begins a new
history at the revision that it has. If the database was put back to an older state meanwhile, a follower's revision
lies beyond the revision at which its history ended, or its history is unknown: it must read everything again. After
an ordinary restart neither is true, and the follower goes on where it was.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    DateTime,
    Integer,
    MetaData,
    String,
    Table,
    delete,
    func,
    insert,
    select,
    true,
)

from services.chassis.errors import FailedPrecondition, InvalidArgument
from services.chassis.moments import utc_now

MAX_ENTRIES = 200
"""Histories remembered per resource. A follower that is further behind reads everything again."""


class HistoryChanged(FailedPrecondition):
    """The caller's revision belongs to another history of the data: read everything again, from revision 0."""

    reason = "HISTORY_CHANGED"


def check_position(*, history: str, revision: int) -> None:
    """Raises InvalidArgument for a revision above 0 without its history, of which nobody can tell what it is worth."""
    if revision and not history:
        raise InvalidArgument.field(
            "history",
            "expected the history that since_revision belongs to, as the stream returned it with the revision",
        )


def histories_table(metadata: MetaData, service: str) -> Table:
    """The table `<service>_histories`; each service declares it once in its `tables.py`."""
    columns = (
        Column("resource_uid", String(32), primary_key=True),
        Column("number", Integer, primary_key=True),
        Column("history", String(32), nullable=False),
        Column("from_revision", BigInteger, nullable=False),
        Column("create_time", DateTime, nullable=False),
    )
    return Table(f"{service}_histories", metadata, *columns)


@dataclass(frozen=True)
class Histories:
    """The histories of one kind of resource."""

    table: Table
    """Of `histories_table`."""
    uid: ColumnElement[str]
    """The resources' uid, a column of their own table."""
    revision: ColumnElement[int]
    """The resources' revision, a column of the same table."""
    living: ColumnElement[bool] | None = None
    """Which resources begin a new history at start; all by default."""

    def renew(self, connection: Connection) -> int:
        """Begins a new history for every living resource; returns for how many. Call it once at start, in a write."""
        resources = select(self.uid, self.revision).where(true() if self.living is None else self.living)
        revisions = {uid: revision for uid, revision in connection.execute(resources.with_for_update())}
        numbers = self._newest_numbers(connection)
        if revisions:
            entries = [
                _entry(uid, number=numbers.get(uid, 0) + 1, revision=revision) for uid, revision in revisions.items()
            ]
            connection.execute(insert(self.table), entries)
        for uid, number in numbers.items():
            if number + 1 > MAX_ENTRIES:
                forgotten = self.table.c.number <= number + 1 - MAX_ENTRIES
                connection.execute(delete(self.table).where(self.table.c.resource_uid == uid, forgotten))
        return len(revisions)

    def begin(self, connection: Connection, uid: str, revision: int = 0) -> str:
        """Begins the first history of a new resource, in the transaction that creates it; returns its id."""
        entry = _entry(uid, number=1, revision=revision)
        connection.execute(insert(self.table).values(entry))
        return str(entry["history"])

    def current(self, connection: Connection, uid: str) -> str:
        """The resource's newest history; empty for a resource that has none."""
        entries = select(self.table.c.history).where(self.table.c.resource_uid == uid)
        return connection.execute(entries.order_by(self.table.c.number.desc()).limit(1)).scalar() or ""

    def current_of(self, connection: Connection, uids: Sequence[str]) -> dict[str, str]:
        """The newest history by uid."""
        newest = (
            select(self.table.c.resource_uid, func.max(self.table.c.number).label("number"))
            .where(self.table.c.resource_uid.in_(uids))
            .group_by(self.table.c.resource_uid)
            .subquery()
        )
        query = select(self.table.c.resource_uid, self.table.c.history).join(
            newest,
            (newest.c.resource_uid == self.table.c.resource_uid) & (newest.c.number == self.table.c.number),
        )
        return {uid: history for uid, history in connection.execute(query)}

    def check(self, connection: Connection, uid: str, *, history: str, revision: int) -> str:
        """The resource's current history, if changes since (history, revision) can be told. Revision 0 always can.

        Raises HistoryChanged.
        """
        chain = connection.execute(
            select(self.table.c.history, self.table.c.from_revision)
            .where(self.table.c.resource_uid == uid)
            .order_by(self.table.c.number)
        ).all()
        current = str(chain[-1].history) if chain else ""
        if revision == 0:
            return current
        ends = [entry.from_revision for entry in chain[1:]]
        if chain:
            ends.append(connection.execute(select(self.revision).where(self.uid == uid)).scalar() or 0)
        for entry, end in zip(chain, ends, strict=True):
            if entry.history == history and revision <= end:
                return current
        raise HistoryChanged(
            f"revision {revision} does not belong to the current history of the data, which was restored or replaced: "
            "read everything again, from revision 0",
            metadata={"history": current},
        )

    def forget(self, connection: Connection, uid: str) -> None:
        """Forgets the histories of a resource that is gone for good."""
        connection.execute(delete(self.table).where(self.table.c.resource_uid == uid))

    def _newest_numbers(self, connection: Connection) -> dict[str, int]:
        query = select(self.table.c.resource_uid, func.max(self.table.c.number)).group_by(self.table.c.resource_uid)
        return {uid: number for uid, number in connection.execute(query)}


def _entry(uid: str, *, number: int, revision: int) -> dict[str, Any]:
    return {
        "resource_uid": uid,
        "number": number,
        "history": uuid.uuid4().hex,
        "from_revision": revision,
        "create_time": utc_now(),
    }
