"""The embedder's tables. Partial indices and queries spell `NOT deleted` alike, see LIVING."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    DateTime,
    Dialect,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    false,
    literal_column,
    text,
)

from services.chassis.blobs import blobs_table
from services.chassis.history import histories_table
from services.chassis.idempotency import requests_table
from services.embedder.fingerprints import EMPTY

METADATA = MetaData()
_ESCAPE = "\x1a"


class FullText(TypeDecorator[str]):
    """Any UTF-8 text. PostgreSQL's TEXT cannot hold U+0000, which is escaped there."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """The text as stored."""
        if value is None or dialect.name != "postgresql":
            return value
        return value.replace(_ESCAPE, f"{_ESCAPE}1").replace("\x00", f"{_ESCAPE}0")

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        """The text as given."""
        if value is None or dialect.name != "postgresql" or _ESCAPE not in value:
            return value
        return value.replace(f"{_ESCAPE}0", "\x00").replace(f"{_ESCAPE}1", _ESCAPE)


class StoredMetadata(TypeDecorator[dict[str, object]]):
    """A JSON object. One that cannot be read gives `{"metadata": NaN}`, so that its document can still be listed."""

    impl = JSON
    cache_ok = True

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[..., dict[str, object]]:
        """The parser of stored values."""
        parse = super().result_processor(dialect, coltype)

        def process(value: Any) -> dict[str, object]:
            try:
                parsed = parse(value) if parse is not None else value
            except ValueError:
                parsed = None
            return parsed if isinstance(parsed, dict) else {"metadata": float("nan")}

        return process


DATASETS = Table(
    "datasets",
    METADATA,
    *(
        Column("uid", String(32), primary_key=True),
        Column("id", String(128), nullable=False),
        Column("display_name", Text, nullable=False),
        Column("description", Text, nullable=False),
        Column("embedding_model", Text, nullable=False),
        Column("dimension", Integer, nullable=False),
        Column("revision", BigInteger, nullable=False),
        Column("next_row", BigInteger, nullable=False),
        # Counts of the documents that are not deleted, and the bytes of their texts; changed with the documents.
        Column("pending_count", BigInteger, nullable=False, server_default="0"),
        Column("embedded_count", BigInteger, nullable=False, server_default="0"),
        Column("failed_count", BigInteger, nullable=False, server_default="0"),
        Column("text_bytes", BigInteger, nullable=False, server_default="0"),
        # The fields of the documents' metadata, see `metadata_schema`; changed with the documents.
        Column("metadata_fields", JSON, nullable=False, server_default="{}"),
        # Of given vectors: the model of queries, empty for none, and whether all were given as float16.
        Column("query_model", Text, nullable=False, server_default=""),
        Column("query_dimension", Integer, nullable=False, server_default="0"),
        Column("is_half", Boolean, nullable=False, server_default=false()),
        # Of the documents that are not deleted; changed with them.
        Column("fingerprint", String(32), nullable=False, server_default=EMPTY),
        Column("create_time", DateTime, nullable=False),
        Column("update_time", DateTime, nullable=False),
        Column("delete_time", DateTime),
        # How texts are split; NULL where they are not. Of a dataset with passages, the counts above are of passages.
        Column("passage_tokens", Integer),
        Column("passage_overlap", Integer),
        Column("whole_count", BigInteger, nullable=False, server_default="0"),
        # A name may be used again once its dataset is deleted.
        Index(
            "datasets_id",
            "id",
            unique=True,
            sqlite_where=text("delete_time IS NULL"),
            postgresql_where=text("delete_time IS NULL"),
        ),
    ),
)

DOCUMENTS = Table(
    "documents",
    METADATA,
    *(
        Column("dataset_uid", String(32), primary_key=True),
        Column("row", BigInteger, primary_key=True),
        Column("id", String(128), nullable=False),
        Column("key", FullText, nullable=False),
        Column("text", FullText, nullable=False),
        Column("text_bytes", Integer, nullable=False),
        Column("metadata", StoredMetadata, nullable=False),
        Column("state", String(16), nullable=False),
        Column("failure", JSON),
        Column("embedding_truncated", Boolean, nullable=False),
        Column("revision", BigInteger, nullable=False),
        Column("create_time", DateTime, nullable=False),
        Column("update_time", DateTime, nullable=False),
        Column("deleted", Boolean, nullable=False),
        Column("shard", Text),
        Column("position", Integer),
        # Of a given vector, for the fingerprint; NULL where a model made it.
        Column("vector_digest", String(32)),
        Column("terms", JSON, nullable=False, server_default="[]"),  # of the metadata, see `metadata_terms`
        # Of a passage: its document, and where it stands there.
        Column("whole_number", BigInteger),
        Column("passage_index", Integer),
        Column("passage_start", Integer),
        Column("passage_end", Integer),
        Index(
            "documents_key",
            "dataset_uid",
            "key",
            unique=True,
            sqlite_where=text("NOT deleted"),
            postgresql_where=text("NOT deleted"),
        ),
        Index("documents_id", "dataset_uid", "id"),
        Index(
            "documents_living_state",
            "dataset_uid",
            "state",
            "row",
            sqlite_where=text("NOT deleted"),
            postgresql_where=text("NOT deleted"),
        ),
        Index("documents_revision", "dataset_uid", "revision", "row"),
        Index(
            "documents_of_whole",
            "dataset_uid",
            "whole_number",
            "passage_index",
            sqlite_where=text("whole_number IS NOT NULL AND NOT deleted"),
            postgresql_where=text("whole_number IS NOT NULL AND NOT deleted"),
        ),
    ),
)

IMPORTS = Table(
    "imports",
    METADATA,
    *(
        Column("dataset_uid", String(32), primary_key=True),
        Column("uid", String(32), primary_key=True),
        Column("state", String(16), nullable=False),
        Column("file_name", FullText, nullable=False),
        Column("file_bytes", BigInteger, nullable=False),
        # How the file was read; NULL where it could not be read.
        Column("layout", JSON(none_as_null=True)),
        Column("notes", JSON, nullable=False),
        Column("on_duplicate", String(16), nullable=False, server_default="REJECT"),
        Column("added_count", BigInteger, nullable=False),
        Column("updated_count", BigInteger, nullable=False, server_default="0"),
        Column("skipped_count", BigInteger, nullable=False, server_default="0"),
        Column("rejected_count", BigInteger, nullable=False),
        Column("rejection_counts", JSON, nullable=False),
        # Rejections in the table below, and the bytes of their parts.
        Column("stored_rejection_count", BigInteger, nullable=False, server_default="0"),
        Column("rejection_bytes", BigInteger, nullable=False, server_default="0"),
        Column("failure", JSON(none_as_null=True)),
        Column("create_time", DateTime, nullable=False),
        Column("update_time", DateTime, nullable=False),
        Column("end_time", DateTime),
        Index("imports_create_time", "dataset_uid", "create_time", "uid"),
    ),
)

REJECTIONS = Table(
    "import_rejections",
    METADATA,
    *(
        Column("dataset_uid", String(32), primary_key=True),
        Column("import_uid", String(32), primary_key=True),
        # How many rejections of the import are in earlier parts.
        Column("part", BigInteger, primary_key=True),
        # Rejections as JSON lines, compressed.
        Column("content", LargeBinary, nullable=False),
    ),
)

WHOLE_DOCUMENTS = Table(
    "whole_documents",
    METADATA,
    *(
        Column("dataset_uid", String(32), primary_key=True),
        Column("number", BigInteger, primary_key=True),
        Column("id", String(128), nullable=False),
        Column("key", FullText, nullable=False),
        Column("text", FullText, nullable=False),
        Column("text_bytes", Integer, nullable=False),
        Column("metadata", StoredMetadata, nullable=False),
        Column("terms", JSON, nullable=False),  # of the metadata; passages have none
        Column("passage_count", Integer, nullable=False),
        # These three follow from the passages, and change in the same transaction.
        Column("state", String(16), nullable=False),
        Column("embedding_truncated", Boolean, nullable=False),
        Column("revision", BigInteger, nullable=False),
        Column("create_time", DateTime, nullable=False),
        Column("update_time", DateTime, nullable=False),
        Index("whole_documents_key", "dataset_uid", "key", unique=True),
        Index("whole_documents_id", "dataset_uid", "id"),
        Index("whole_documents_state", "dataset_uid", "state", "number"),
    ),
)
"""Documents whose rows are passages. They are numbered like rows, each with the first row of its import."""

STATISTICS = Table(
    "dataset_statistics",
    METADATA,
    *(
        Column("dataset_uid", String(32), primary_key=True),
        # The dataset's when they were computed.
        Column("revision", BigInteger, nullable=False),
        Column("fingerprint", String(32), nullable=False),
        # What they were computed with.
        Column("method", Text, nullable=False),
        Column("compute_time", DateTime, nullable=False),
        # A serialised DatasetStatistics.
        Column("content", LargeBinary, nullable=False),
    ),
)

MAPS = Table(
    "dataset_maps",
    METADATA,
    *(
        Column("dataset_uid", String(32), primary_key=True),
        Column("method", String(16), primary_key=True),
        # The dataset's when it was computed.
        Column("revision", BigInteger, nullable=False),
        Column("fingerprint", String(32), nullable=False),
        Column("compute_time", DateTime, nullable=False),
        # A serialised DatasetMap without colours.
        Column("content", LargeBinary, nullable=False),
    ),
)

LIVING: ColumnElement[Any] = literal_column("NOT documents.deleted")
"""Spelled as in the partial indices: SQLite does not use them for `deleted = 0`, which `~` compiles to."""

HISTORIES = histories_table(METADATA, "embedder")
"""Of datasets."""

REQUESTS = requests_table(METADATA, "embedder")
"""Answers by request id."""

BLOBS = blobs_table(METADATA, "embedder")
"""Files of vectors."""
