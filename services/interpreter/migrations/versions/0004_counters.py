"""Counters that GetInterpretation returns, and the history of the codes that statistics were computed from."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

COLUMNS = ("statistics_history", "row_count", "live_count", "labelled_count", "family_count")


def upgrade() -> None:
    op.add_column("interpretations", sa.Column("statistics_history", sa.String(32)))
    op.add_column("interpretations", sa.Column("row_count", sa.BigInteger))
    op.add_column("interpretations", sa.Column("live_count", sa.Integer))
    op.add_column("interpretations", sa.Column("labelled_count", sa.Integer, nullable=False, server_default="0"))
    op.add_column("interpretations", sa.Column("family_count", sa.Integer, nullable=False, server_default="0"))
    connection = op.get_bind()
    connection.execute(
        sa.text(
            "UPDATE interpretations SET labelled_count = "
            "(SELECT count(*) FROM active_labels WHERE active_labels.run_uid = interpretations.run_uid)"
        )
    )
    for uid, families in connection.execute(sa.text("SELECT run_uid, families FROM interpretations")).all():
        # The driver of SQLite gives JSON as text, that of PostgreSQL as values.
        values = json.loads(families) if isinstance(families, str) else families
        statement = sa.text("UPDATE interpretations SET family_count = :count WHERE run_uid = :uid")
        connection.execute(statement, {"count": len(values or ()), "uid": uid})


def downgrade() -> None:
    for column in COLUMNS:
        op.drop_column("interpretations", column)
