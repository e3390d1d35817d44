"""How far the features of a run can be relied on, and why it has the size that it has."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("runs", sa.Column("quality", sa.JSON))
    op.add_column("runs", sa.Column("sizing", sa.JSON))


def downgrade() -> None:
    op.drop_column("runs", "sizing")
    op.drop_column("runs", "quality")
