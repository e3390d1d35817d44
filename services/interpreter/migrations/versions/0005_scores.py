"""How well labels did in tests, features that cannot be named, and the format of statistics."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("labels", sa.Column("scores", sa.JSON))
    op.add_column("labels", sa.Column("provenance", sa.JSON))
    op.add_column("interpretations", sa.Column("unnamed_count", sa.Integer, nullable=False, server_default="0"))
    op.add_column("interpretations", sa.Column("statistics_format", sa.Integer, nullable=False, server_default="0"))


def downgrade() -> None:
    for column in ("scores", "provenance"):
        op.drop_column("labels", column)
    for column in ("unnamed_count", "statistics_format"):
        op.drop_column("interpretations", column)
