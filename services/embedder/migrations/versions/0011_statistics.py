"""Statistics of datasets."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.create_table(
        "dataset_statistics",
        *(
            sa.Column("dataset_uid", sa.String(32), primary_key=True),
            sa.Column("revision", sa.BigInteger, nullable=False),
            sa.Column("fingerprint", sa.String(32), nullable=False),
            sa.Column("method", sa.Text, nullable=False),
            sa.Column("compute_time", sa.DateTime, nullable=False),
            sa.Column("content", sa.LargeBinary, nullable=False),
        ),
    )


def downgrade() -> None:
    op.drop_table("dataset_statistics")
