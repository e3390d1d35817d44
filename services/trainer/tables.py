"""The trainer's tables."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, DateTime, Index, MetaData, String, Table, Text, text

from services.chassis.blobs import blobs_table
from services.chassis.history import histories_table
from services.chassis.idempotency import requests_table

METADATA = MetaData()

RUNS = Table(
    "runs",
    METADATA,
    Column("uid", String(32), primary_key=True),
    Column("id", String(128), nullable=False),
    Column("display_name", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("dataset", Text, nullable=False),
    Column("dataset_uid", String(32), nullable=False),
    Column("source", JSON, nullable=False),
    Column("config", JSON, nullable=False),
    Column("attempt", Text, nullable=False),
    Column("shards", JSON, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("job", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("device", Text, nullable=False),
    Column("create_time", DateTime, nullable=False),
    Column("update_time", DateTime, nullable=False),
    Column("train_time", DateTime),
    Column("delete_time", DateTime),
    Column("request_id", String(128), unique=True),
    Column("tags", JSON, nullable=False, server_default="[]"),
    Column("evaluation", JSON),
    Column("imported_from", Text, nullable=False, server_default=""),
    Column("latent_count", BigInteger, nullable=False, server_default="0"),
    Index(
        "runs_id",
        "id",
        unique=True,
        sqlite_where=text("delete_time IS NULL"),
        postgresql_where=text("delete_time IS NULL"),
    ),
)

METRICS = Table(
    "metrics",
    METADATA,
    Column("run_uid", String(32), primary_key=True),
    Column("step", BigInteger, primary_key=True),
    Column("values", JSON, nullable=False),
)

HISTORIES = histories_table(METADATA, "trainer")
"""Of runs."""

REQUESTS = requests_table(METADATA, "trainer")

BLOBS = blobs_table(METADATA, "trainer")
