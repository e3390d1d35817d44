"""Codes of a run in a table of their own, so that they can grow with the dataset; deletions of codes."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_NEW_COLUMNS = ("code_count", "dead_count", "embedded_count", "coded_revision", "coded_history")


def upgrade() -> None:
    op.add_column("runs", sa.Column("code_count", sa.BigInteger, nullable=False, server_default="0"))
    for name in ("dead_count", "embedded_count", "coded_revision"):
        op.add_column("runs", sa.Column(name, sa.BigInteger))
    op.add_column("runs", sa.Column("coded_history", sa.String(32)))
    shards = op.create_table(
        "code_shards",
        sa.Column("run_uid", sa.String(32), primary_key=True),
        sa.Column("path", sa.String(255), primary_key=True),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("first_row", sa.BigInteger),
        sa.Column("last_row", sa.BigInteger),
        sa.Column("row_count", sa.BigInteger),
    )
    op.create_table(
        "code_deletions",
        sa.Column("run_uid", sa.String(32), primary_key=True),
        sa.Column("revision", sa.BigInteger, primary_key=True),
        sa.Column("first_row", sa.BigInteger, primary_key=True),
        sa.Column("last_row", sa.BigInteger, nullable=False),
    )
    _move_shards(shards)


def _move_shards(shards: sa.Table) -> None:
    """Names in the runs' own rows become rows of the new table; the old column stays, and is no longer read."""
    plain = [sa.column(name) for name in ("uid", "attempt", "revision", "code_count", "coded_revision")]
    runs = sa.table("runs", *plain, sa.column("shards", sa.JSON), sa.column("source", sa.JSON))
    connection = op.get_bind()
    for run in connection.execute(sa.select(runs).where(runs.c.attempt != "")).all():
        rows = [
            {"run_uid": run.uid, "path": f"{run.attempt}/{_name(shard)}", "revision": run.revision}
            for shard in run.shards
        ]
        if rows:
            connection.execute(sa.insert(shards), rows)
        values = {"code_count": run.source["row_count"], "coded_revision": run.source["revision"]}
        connection.execute(sa.update(runs).where(runs.c.uid == run.uid).values(values))


def _name(shard: str | dict[str, object]) -> object:
    return shard if isinstance(shard, str) else shard["name"]


def downgrade() -> None:
    op.drop_table("code_deletions")
    op.drop_table("code_shards")
    for name in _NEW_COLUMNS:
        op.drop_column("runs", name)
