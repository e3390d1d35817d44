"""Counts of documents in the dataset's row, an index of living documents by state; answers by request id moved.

Reports of imports and the request ids of datasets are remembered in embedder_requests since 0002; those of before are
forgotten, as they have no digest of their request.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

COUNTS = ("pending_count", "embedded_count", "failed_count", "text_bytes")


def upgrade() -> None:
    for name in COUNTS:
        op.add_column("datasets", sa.Column(name, sa.BigInteger, nullable=False, server_default="0"))
    _count()
    op.drop_index("documents_state", "documents")
    op.create_index(
        "documents_living_state",
        "documents",
        ["dataset_uid", "state", "row"],
        sqlite_where=sa.text("NOT deleted"),
        postgresql_where=sa.text("NOT deleted"),
    )
    _drop_request_ids()
    op.drop_table("imports")


def _count() -> None:
    """Counts the documents of each dataset once, in one pass over the documents."""
    connection = op.get_bind()
    counted = connection.execute(
        sa.text(
            "SELECT dataset_uid, state, count(*), sum(text_bytes) FROM documents WHERE NOT deleted "
            "GROUP BY dataset_uid, state"
        )
    ).all()
    for uid, state, count, text_bytes in counted:
        counter = {"PENDING": "pending_count", "EMBEDDED": "embedded_count", "FAILED": "failed_count"}[state]
        connection.execute(
            sa.text(
                f"UPDATE datasets SET {counter} = :count, text_bytes = text_bytes + :text_bytes WHERE uid = :uid"  # noqa: S608
            ),
            {"count": count, "text_bytes": int(text_bytes), "uid": uid},
        )


def downgrade() -> None:
    op.create_table(
        "imports",
        *(
            sa.Column("request_id", sa.String(128), primary_key=True),
            sa.Column("dataset_uid", sa.String(32), nullable=False),
            sa.Column("report", sa.LargeBinary, nullable=False),
        ),
    )
    with op.batch_alter_table("datasets") as datasets:
        datasets.add_column(sa.Column("request_id", sa.String(128), unique=True))
        for name in COUNTS:
            datasets.drop_column(name)
    op.drop_index("documents_living_state", "documents")
    op.create_index("documents_state", "documents", ["dataset_uid", "state", "row"])


def _drop_request_ids() -> None:
    """Drops datasets.request_id. Its unique constraint has no name on SQLite, which copies the table without it."""
    if op.get_bind().dialect.name == "postgresql":
        op.drop_column("datasets", "request_id")
        return
    columns = (
        "uid, id, display_name, description, embedding_model, dimension, revision, next_row, create_time, update_time, "
        "delete_time, pending_count, embedded_count, failed_count, text_bytes"
    )
    op.drop_index("datasets_id", "datasets")
    op.rename_table("datasets", "datasets_of_0002")
    op.create_table(
        "datasets",
        *(
            sa.Column("uid", sa.String(32), primary_key=True),
            sa.Column("id", sa.String(128), nullable=False),
            sa.Column("display_name", sa.Text, nullable=False),
            sa.Column("description", sa.Text, nullable=False),
            sa.Column("embedding_model", sa.Text, nullable=False),
            sa.Column("dimension", sa.Integer, nullable=False),
            sa.Column("revision", sa.BigInteger, nullable=False),
            sa.Column("next_row", sa.BigInteger, nullable=False),
            *(sa.Column(name, sa.BigInteger, nullable=False, server_default="0") for name in COUNTS),
            sa.Column("create_time", sa.DateTime, nullable=False),
            sa.Column("update_time", sa.DateTime, nullable=False),
            sa.Column("delete_time", sa.DateTime),
        ),
    )
    op.execute(f"INSERT INTO datasets ({columns}) SELECT {columns} FROM datasets_of_0002")  # noqa: S608 - constants
    op.drop_table("datasets_of_0002")
    op.create_index("datasets_id", "datasets", ["id"], unique=True, sqlite_where=sa.text("delete_time IS NULL"))
