"""Of given vectors: the model of queries, and whether all were given as float16."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("datasets", sa.Column("query_model", sa.Text, nullable=False, server_default=""))
    op.add_column("datasets", sa.Column("query_dimension", sa.Integer, nullable=False, server_default="0"))
    op.add_column("datasets", sa.Column("is_half", sa.Boolean, nullable=False, server_default=sa.false()))


def downgrade() -> None:
    with op.batch_alter_table("datasets") as datasets:
        for name in ("query_model", "query_dimension", "is_half"):
            datasets.drop_column(name)
