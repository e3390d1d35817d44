"""What scorers measured of labels, and the job that scored them."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("labels", sa.Column("measurements", sa.JSON))
    op.add_column("labels", sa.Column("scored_by", sa.Text, nullable=False, server_default=""))


def downgrade() -> None:
    for column in ("measurements", "scored_by"):
        op.drop_column("labels", column)
