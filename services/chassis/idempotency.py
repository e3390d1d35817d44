"""Idempotency (AIP-155): the same request id with the same request gives the same answer, once and for all.

The answer is stored in the owner's own write transaction, together with what the request changed: either both exist
or neither. Jobs have the same rule by their names (see jobs.py).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta

from google.protobuf.message import Message
from sqlalchemy import Column, Connection, DateTime, LargeBinary, MetaData, String, Table, delete, insert, select, text

from services.chassis.errors import RequestIdReused
from services.chassis.moments import utc_now

KEEP = timedelta(days=30)
"""How long a request id is remembered."""


def requests_table(metadata: MetaData, service: str) -> Table:
    """The table `<service>_requests`; each service declares it once in its `tables.py`."""
    columns = (
        Column("request_id", String(128), primary_key=True),
        Column("method", String(128), nullable=False),
        Column("digest", String(64), nullable=False),
        Column("answer", LargeBinary, nullable=False),
        Column("resource_uid", String(32)),
        Column("create_time", DateTime, nullable=False),
    )
    return Table(f"{service}_requests", metadata, *columns)


@dataclass(frozen=True)
class Call:
    """One request under its request id."""

    request_id: str
    method: str
    """The RPC's name, for example `CreateDataset`."""
    digest: str
    """SHA-256 of the request, hexadecimal."""

    @classmethod
    def of(cls, request_id: str, method: str, request: Message) -> Call | None:
        """The call, or None for a request without an id, which is not remembered."""
        return cls.of_bytes(request_id, method, request.SerializeToString(deterministic=True))

    @classmethod
    def of_bytes(cls, request_id: str, method: str, content: bytes) -> Call | None:
        """As `of`, for a request that is not one message: an upload, by its configuration and its own digest."""
        if not request_id:
            return None
        return cls(request_id, method, hashlib.sha256(content).hexdigest())


@dataclass(frozen=True)
class Requests:
    """The requests that a service has answered."""

    table: Table
    """Of `requests_table`."""

    def answer(self, connection: Connection, call: Call | None) -> bytes | None:
        """The answer that was stored for this call; None if it is new. Call it first in the write transaction.

        Raises RequestIdReused if the request id was used for a different request.
        """
        if call is None:
            return None
        if connection.dialect.name == "postgresql":  # the same id twice at once: the second waits for the first
            key = int.from_bytes(hashlib.sha256(f"{self.table.name}/{call.request_id}".encode()).digest()[:8], "big")
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key - (1 << 63)})
        row = connection.execute(select(self.table).where(self.table.c.request_id == call.request_id)).first()
        if row is None:
            return None
        if (row.method, row.digest) != (call.method, call.digest):
            raise RequestIdReused(
                f"request_id {call.request_id!r} was used for a different {row.method} request; use a new one",
                metadata={"method": row.method},
            )
        return bytes(row.answer)

    def store(
        self, connection: Connection, call: Call | None, answer: bytes, *, resource_uid: str | None = None
    ) -> None:
        """Stores the answer in the transaction that changes the data. With a resource, it is forgotten with it."""
        if call is None:
            return
        connection.execute(
            insert(self.table).values(
                request_id=call.request_id,
                method=call.method,
                digest=call.digest,
                answer=answer,
                resource_uid=resource_uid,
                create_time=utc_now(),
            )
        )

    def forget(self, connection: Connection, resource_uid: str) -> None:
        """Forgets the answers about a resource that is being deleted: its request ids may be used again."""
        connection.execute(delete(self.table).where(self.table.c.resource_uid == resource_uid))

    def sweep(self, connection: Connection) -> int:
        """Forgets answers older than 30 days; returns how many."""
        return connection.execute(delete(self.table).where(self.table.c.create_time < utc_now() - KEEP)).rowcount
