"""Where a label was carried from."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    # The first migration makes the tables as they are now; only older databases lack the column.
    there = {column["name"] for column in sa.inspect(op.get_bind()).get_columns("labels")}
    if "carried_from" not in there:
        op.add_column("labels", sa.Column("carried_from", sa.Text, nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("labels", "carried_from")
