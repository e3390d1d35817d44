"""Datasets, documents, reports of imports."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

TABLES = ("datasets", "documents", "imports")
"""What this migration creates: a database that has one of them belongs to the embedder."""


def upgrade() -> None:
    op.create_table(
        "datasets",
        *(
            sa.Column("uid", sa.String(32), primary_key=True),
            sa.Column("id", sa.String(128), nullable=False),
            sa.Column("display_name", sa.Text, nullable=False),
            sa.Column("description", sa.Text, nullable=False),
            sa.Column("embedding_model", sa.Text, nullable=False),
            sa.Column("dimension", sa.Integer, nullable=False),
            sa.Column("revision", sa.BigInteger, nullable=False),
            sa.Column("next_row", sa.BigInteger, nullable=False),
            sa.Column("create_time", sa.DateTime, nullable=False),
            sa.Column("update_time", sa.DateTime, nullable=False),
            sa.Column("delete_time", sa.DateTime),
            sa.Column("request_id", sa.String(128), unique=True),
        ),
    )
    op.create_index(
        "datasets_id",
        "datasets",
        ["id"],
        unique=True,
        sqlite_where=sa.text("delete_time IS NULL"),
        postgresql_where=sa.text("delete_time IS NULL"),
    )
    op.create_table(
        "documents",
        *(
            sa.Column("dataset_uid", sa.String(32), primary_key=True),
            sa.Column("row", sa.BigInteger, primary_key=True),
            sa.Column("id", sa.String(128), nullable=False),
            sa.Column("key", sa.Text, nullable=False),
            sa.Column("text", sa.Text, nullable=False),
            sa.Column("text_bytes", sa.Integer, nullable=False),
            sa.Column("metadata", sa.JSON, nullable=False),
            sa.Column("state", sa.String(16), nullable=False),
            sa.Column("failure", sa.JSON),
            sa.Column("embedding_truncated", sa.Boolean, nullable=False),
            sa.Column("revision", sa.BigInteger, nullable=False),
            sa.Column("create_time", sa.DateTime, nullable=False),
            sa.Column("update_time", sa.DateTime, nullable=False),
            sa.Column("deleted", sa.Boolean, nullable=False),
            sa.Column("shard", sa.Text),
            sa.Column("position", sa.Integer),
        ),
    )
    op.create_index(
        "documents_key",
        "documents",
        ["dataset_uid", "key"],
        unique=True,
        sqlite_where=sa.text("NOT deleted"),
        postgresql_where=sa.text("NOT deleted"),
    )
    op.create_index("documents_id", "documents", ["dataset_uid", "id"])
    op.create_index("documents_state", "documents", ["dataset_uid", "state", "row"])
    op.create_index("documents_revision", "documents", ["dataset_uid", "revision", "row"])
    op.create_table(
        "imports",
        *(
            sa.Column("request_id", sa.String(128), primary_key=True),
            sa.Column("dataset_uid", sa.String(32), nullable=False),
            sa.Column("report", sa.LargeBinary, nullable=False),
        ),
    )


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
