"""Runs and their metrics."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

TABLES = ("runs", "metrics")
"""What this migration creates: a database that has one of them belongs to the trainer."""


def upgrade() -> None:
    op.create_table(
        "runs",
        sa.Column("uid", sa.String(32), primary_key=True),
        sa.Column("id", sa.String(128), nullable=False),
        sa.Column("display_name", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("dataset", sa.Text, nullable=False),
        sa.Column("dataset_uid", sa.String(32), nullable=False),
        sa.Column("source", sa.JSON, nullable=False),
        sa.Column("config", sa.JSON, nullable=False),
        sa.Column("attempt", sa.Text, nullable=False),
        sa.Column("shards", sa.JSON, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("job", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("device", sa.Text, nullable=False),
        sa.Column("create_time", sa.DateTime, nullable=False),
        sa.Column("update_time", sa.DateTime, nullable=False),
        sa.Column("train_time", sa.DateTime),
        sa.Column("delete_time", sa.DateTime),
        sa.Column("request_id", sa.String(128), unique=True),
    )
    op.create_index(
        "runs_id",
        "runs",
        ["id"],
        unique=True,
        sqlite_where=sa.text("delete_time IS NULL"),
        postgresql_where=sa.text("delete_time IS NULL"),
    )
    op.create_table(
        "metrics",
        sa.Column("run_uid", sa.String(32), primary_key=True),
        sa.Column("step", sa.BigInteger, primary_key=True),
        sa.Column("values", sa.JSON, nullable=False),
    )


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
