"""Maps of datasets."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.create_table(
        "dataset_maps",
        *(
            sa.Column("dataset_uid", sa.String(32), primary_key=True),
            sa.Column("method", sa.String(16), primary_key=True),
            sa.Column("revision", sa.BigInteger, nullable=False),
            sa.Column("fingerprint", sa.String(32), nullable=False),
            sa.Column("compute_time", sa.DateTime, nullable=False),
            sa.Column("content", sa.LargeBinary, nullable=False),
        ),
    )


def downgrade() -> None:
    op.drop_table("dataset_maps")
