"""Tags, evaluations and imported weights of runs."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_COLUMNS = (
    sa.Column("tags", sa.JSON, nullable=False, server_default="[]"),
    sa.Column("evaluation", sa.JSON),
    sa.Column("imported_from", sa.Text, nullable=False, server_default=""),
    sa.Column("latent_count", sa.BigInteger, nullable=False, server_default="0"),
)


def upgrade() -> None:
    # Early versions of 0001 created the columns too: a database that stopped at 0001 may have them.
    columns = {column["name"] for column in sa.inspect(op.get_bind()).get_columns("runs")}
    for column in _COLUMNS:
        if column.name not in columns:
            op.add_column("runs", column)


def downgrade() -> None:
    for column in _COLUMNS:
        op.drop_column("runs", column.name)
