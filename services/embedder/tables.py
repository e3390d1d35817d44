"""The embedder's tables."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)

from services.chassis.blobs import blobs_table
from services.chassis.history import histories_table
from services.chassis.idempotency import requests_table

METADATA = MetaData()

DATASETS = Table(
    "datasets",
    METADATA,
    Column("uid", String(32), primary_key=True),
    Column("id", String(128), nullable=False),
    Column("display_name", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("embedding_model", Text, nullable=False),
    Column("dimension", Integer, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("next_row", BigInteger, nullable=False),
    Column("create_time", DateTime, nullable=False),
    Column("update_time", DateTime, nullable=False),
    Column("delete_time", DateTime),
    Column("request_id", String(128), unique=True),
    # A name may be used again once its dataset is deleted.
    Index(
        "datasets_id",
        "id",
        unique=True,
        sqlite_where=text("delete_time IS NULL"),
        postgresql_where=text("delete_time IS NULL"),
    ),
)

DOCUMENTS = Table(
    "documents",
    METADATA,
    Column("dataset_uid", String(32), primary_key=True),
    Column("row", BigInteger, primary_key=True),
    Column("id", String(128), nullable=False),
    Column("key", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("text_bytes", Integer, nullable=False),
    Column("metadata", JSON, nullable=False),
    Column("state", String(16), nullable=False),
    Column("failure", JSON),
    Column("embedding_truncated", Boolean, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("create_time", DateTime, nullable=False),
    Column("update_time", DateTime, nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("shard", Text),
    Column("position", Integer),
    Index(
        "documents_key",
        "dataset_uid",
        "key",
        unique=True,
        sqlite_where=text("NOT deleted"),
        postgresql_where=text("NOT deleted"),
    ),
    Index("documents_id", "dataset_uid", "id"),
    Index("documents_state", "dataset_uid", "state", "row"),
    Index("documents_revision", "dataset_uid", "revision", "row"),
)

IMPORTS = Table(
    "imports",
    METADATA,
    Column("request_id", String(128), primary_key=True),
    Column("dataset_uid", String(32), nullable=False),
    Column("report", LargeBinary, nullable=False),
)

HISTORIES = histories_table(METADATA, "embedder")
"""Of datasets."""

REQUESTS = requests_table(METADATA, "embedder")

BLOBS = blobs_table(METADATA, "embedder")
