"""Histories of datasets, answers by request id, digests of blobs."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "embedder_histories",
        *(
            sa.Column("resource_uid", sa.String(32), primary_key=True),
            sa.Column("number", sa.Integer, primary_key=True),
            sa.Column("history", sa.String(32), nullable=False),
            sa.Column("from_revision", sa.BigInteger, nullable=False),
            sa.Column("create_time", sa.DateTime, nullable=False),
        ),
    )
    op.create_table(
        "embedder_requests",
        *(
            sa.Column("request_id", sa.String(128), primary_key=True),
            sa.Column("method", sa.String(128), nullable=False),
            sa.Column("digest", sa.String(64), nullable=False),
            sa.Column("answer", sa.LargeBinary, nullable=False),
            sa.Column("resource_uid", sa.String(32)),
            sa.Column("create_time", sa.DateTime, nullable=False),
        ),
    )
    op.create_table(
        "embedder_blobs",
        *(
            sa.Column("path", sa.Text, primary_key=True),
            sa.Column("size", sa.BigInteger, nullable=False),
            sa.Column("digest", sa.String(64), nullable=False),
            sa.Column("create_time", sa.DateTime, nullable=False),
        ),
    )


def downgrade() -> None:
    for table in ("embedder_blobs", "embedder_requests", "embedder_histories"):
        op.drop_table(table)
