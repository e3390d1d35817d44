"""The interpreter's tables."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, DateTime, Index, Integer, MetaData, String, Table, Text

from services.chassis.blobs import blobs_table
from services.chassis.history import histories_table
from services.chassis.idempotency import requests_table

METADATA = MetaData()

INTERPRETATIONS = Table(
    "interpretations",
    METADATA,
    Column("run_uid", String(32), primary_key=True),
    Column("run", Text, nullable=False),
    Column("source", JSON, nullable=False),
    Column("attempt", String(32), nullable=False),
    Column("statistics_revision", BigInteger, nullable=False),
    Column("statistics_time", DateTime),
    Column("statistics_history", String(32)),
    Column("row_count", BigInteger),  # null for statistics of older versions, as the next
    Column("live_count", Integer),
    Column("label_revision", BigInteger, nullable=False),
    Column("labelled_count", Integer, nullable=False, server_default="0"),
    Column("unnamed_count", Integer, nullable=False, server_default="0"),
    Column("statistics_format", Integer, nullable=False, server_default="0"),
    Column("family_count", Integer, nullable=False, server_default="0"),
    Column("families", JSON),
    Column("families_time", DateTime),
    Column("delete_time", DateTime),
    Index("interpretations_run", "run"),
)

LABELS = Table(
    "labels",
    METADATA,
    Column("run_uid", String(32), primary_key=True),
    Column("feature", Integer, primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("text", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("source", String(16), nullable=False),
    Column("model", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("keywords", JSON, nullable=False),
    Column("options", JSON),
    Column("positive_rows", JSON, nullable=False),
    Column("negative_rows", JSON, nullable=False),
    Column("job", Text, nullable=False),
    Column("carried_from", Text, nullable=False, server_default=""),
    Column("create_time", DateTime, nullable=False),
    Column("scores", JSON),
    Column("provenance", JSON),
    Column("measurements", JSON),
    Column("scored_by", Text, nullable=False, server_default=""),  # the job that scored it after it was written
)

ACTIVE = Table(
    "active_labels",
    METADATA,
    Column("run_uid", String(32), primary_key=True),
    Column("feature", Integer, primary_key=True),
    Column("revision", Integer, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    Index("active_labels_changed", "run_uid", "changed_at"),
)

HISTORIES = histories_table(METADATA, "interpreter")
"""Of the labels of runs."""

REQUESTS = requests_table(METADATA, "interpreter")

BLOBS = blobs_table(METADATA, "interpreter")
