"""The trainer's tables."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, DateTime, Index, MetaData, String, Table, Text, text

from services.chassis.blobs import blobs_table
from services.chassis.history import histories_table
from services.chassis.idempotency import requests_table

METADATA = MetaData()

_RUNS_COLUMNS = (
    Column("uid", String(32), primary_key=True),
    Column("id", String(128), nullable=False),
    Column("display_name", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("dataset", Text, nullable=False),
    Column("dataset_uid", String(32), nullable=False),
    Column("source", JSON, nullable=False),
    Column("config", JSON, nullable=False),
    Column("attempt", Text, nullable=False),
    Column("shards", JSON, nullable=False),  # of versions before 0004; now always empty, see CODE_SHARDS
    Column("revision", BigInteger, nullable=False),
    Column("job", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("device", Text, nullable=False),
    Column("create_time", DateTime, nullable=False),
    Column("update_time", DateTime, nullable=False),
    Column("train_time", DateTime),
    Column("delete_time", DateTime),
    Column("request_id", String(128), unique=True),  # of versions before 0003; now always null, see REQUESTS
    Column("tags", JSON, nullable=False, server_default="[]"),
    Column("evaluation", JSON),
    Column("imported_from", Text, nullable=False, server_default=""),
    Column("latent_count", BigInteger, nullable=False, server_default="0"),
    Column("code_count", BigInteger, nullable=False, server_default="0"),
    Column("dead_count", BigInteger),
    Column("embedded_count", BigInteger),
    Column("coded_revision", BigInteger),
    Column("coded_history", String(32)),
    Column("quality", JSON),
    Column("sizing", JSON),
    Column("dataset_changes", JSON(none_as_null=True)),
    Index(
        "runs_id",
        "id",
        unique=True,
        sqlite_where=text("delete_time IS NULL"),
        postgresql_where=text("delete_time IS NULL"),
    ),
)
RUNS = Table("runs", METADATA, *_RUNS_COLUMNS)

_METRICS_COLUMNS = (
    Column("run_uid", String(32), primary_key=True),
    Column("step", BigInteger, primary_key=True),
    Column("values", JSON, nullable=False),
)
METRICS = Table("metrics", METADATA, *_METRICS_COLUMNS)

_CODE_SHARDS_COLUMNS = (
    Column("run_uid", String(32), primary_key=True),
    Column("path", String(255), primary_key=True),
    Column("revision", BigInteger, nullable=False),
    Column("first_row", BigInteger),
    Column("last_row", BigInteger),
    Column("row_count", BigInteger),
)
CODE_SHARDS = Table("code_shards", METADATA, *_CODE_SHARDS_COLUMNS)
"""Files of codes. `revision` is the run's when the file was added. Rows are null for files of older versions."""

_CODE_DELETIONS_COLUMNS = (
    Column("run_uid", String(32), primary_key=True),
    Column("revision", BigInteger, primary_key=True),
    Column("first_row", BigInteger, primary_key=True),
    Column("last_row", BigInteger, nullable=False),
)
CODE_DELETIONS = Table("code_deletions", METADATA, *_CODE_DELETIONS_COLUMNS)
"""Rows (first to last, inclusive) whose codes were deleted at a revision of the run, and are ignored in older files."""

HISTORIES = histories_table(METADATA, "trainer")
"""Of runs."""

REQUESTS = requests_table(METADATA, "trainer")

BLOBS = blobs_table(METADATA, "trainer")
