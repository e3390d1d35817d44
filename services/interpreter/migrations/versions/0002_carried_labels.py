"""Where a label was carried from."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    # Early versions of 0001 created the column too: a database that stopped at 0001 may have it.
    columns = {column["name"] for column in sa.inspect(op.get_bind()).get_columns("labels")}
    if "carried_from" not in columns:
        op.add_column("labels", sa.Column("carried_from", sa.Text, nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("labels", "carried_from")
