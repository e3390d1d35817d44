"""Interpretations and labels."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

TABLES = ("interpretations", "labels", "active_labels")
"""What this migration creates: a database that has one of them belongs to the interpreter."""


def upgrade() -> None:
    op.create_table(
        "interpretations",
        sa.Column("run_uid", sa.String(32), primary_key=True),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("source", sa.JSON, nullable=False),
        sa.Column("attempt", sa.String(32), nullable=False),
        sa.Column("statistics_revision", sa.BigInteger, nullable=False),
        sa.Column("statistics_time", sa.DateTime),
        sa.Column("label_revision", sa.BigInteger, nullable=False),
        sa.Column("families", sa.JSON),
        sa.Column("families_time", sa.DateTime),
        sa.Column("delete_time", sa.DateTime),
    )
    op.create_index("interpretations_run", "interpretations", ["run"])
    op.create_table(
        "labels",
        sa.Column("run_uid", sa.String(32), primary_key=True),
        sa.Column("feature", sa.Integer, primary_key=True),
        sa.Column("revision", sa.Integer, primary_key=True),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("keywords", sa.JSON, nullable=False),
        sa.Column("options", sa.JSON),
        sa.Column("positive_rows", sa.JSON, nullable=False),
        sa.Column("negative_rows", sa.JSON, nullable=False),
        sa.Column("job", sa.Text, nullable=False),
        sa.Column("create_time", sa.DateTime, nullable=False),
    )
    op.create_table(
        "active_labels",
        sa.Column("run_uid", sa.String(32), primary_key=True),
        sa.Column("feature", sa.Integer, primary_key=True),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("changed_at", sa.BigInteger, nullable=False),
    )
    op.create_index("active_labels_changed", "active_labels", ["run_uid", "changed_at"])


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
