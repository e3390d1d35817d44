"""Passages: the documents above the rows, and where each row stands in the text of its document."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("datasets", sa.Column("passage_tokens", sa.Integer))
    op.add_column("datasets", sa.Column("passage_overlap", sa.Integer))
    op.add_column("datasets", sa.Column("whole_count", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("documents", sa.Column("whole_number", sa.BigInteger))
    for name in ("passage_index", "passage_start", "passage_end"):
        op.add_column("documents", sa.Column(name, sa.Integer))
    op.create_index(
        "documents_of_whole",
        "documents",
        ["dataset_uid", "whole_number", "passage_index"],
        sqlite_where=sa.text("whole_number IS NOT NULL AND NOT deleted"),
        postgresql_where=sa.text("whole_number IS NOT NULL AND NOT deleted"),
    )
    op.create_table(
        "whole_documents",
        *(
            sa.Column("dataset_uid", sa.String(32), primary_key=True),
            sa.Column("number", sa.BigInteger, primary_key=True),
            sa.Column("id", sa.String(128), nullable=False),
            sa.Column("key", sa.Text, nullable=False),
            sa.Column("text", sa.Text, nullable=False),
            sa.Column("text_bytes", sa.Integer, nullable=False),
            sa.Column("metadata", sa.JSON, nullable=False),
            sa.Column("terms", sa.JSON, nullable=False),
            sa.Column("passage_count", sa.Integer, nullable=False),
            sa.Column("state", sa.String(16), nullable=False),
            sa.Column("embedding_truncated", sa.Boolean, nullable=False),
            sa.Column("revision", sa.BigInteger, nullable=False),
            sa.Column("create_time", sa.DateTime, nullable=False),
            sa.Column("update_time", sa.DateTime, nullable=False),
        ),
    )
    op.create_index("whole_documents_key", "whole_documents", ["dataset_uid", "key"], unique=True)
    op.create_index("whole_documents_id", "whole_documents", ["dataset_uid", "id"])
    op.create_index("whole_documents_state", "whole_documents", ["dataset_uid", "state", "number"])


def downgrade() -> None:
    op.drop_table("whole_documents")
    op.drop_index("documents_of_whole", "documents")
    for name in ("whole_number", "passage_index", "passage_start", "passage_end"):
        op.drop_column("documents", name)
    for name in ("passage_tokens", "passage_overlap", "whole_count"):
        op.drop_column("datasets", name)
