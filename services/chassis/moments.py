"""Moments: kept in SQL as UTC without a zone, sent as Timestamp."""

from __future__ import annotations

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp


def utc_now() -> datetime:
    """This moment, as SQL keeps it."""
    return datetime.now(UTC).replace(tzinfo=None)


def stamp(moment: datetime) -> Timestamp:
    """A moment of SQL as a message."""
    message = Timestamp()
    message.FromDatetime(moment.replace(tzinfo=UTC))
    return message
