"""Terms of the metadata in each document's row, and the fields of all in the dataset's: filters read them."""

import json

import sqlalchemy as sa
from alembic import op

from services.chassis import metadata_schema, metadata_terms
from services.embedder import metadata

revision = "0006"
down_revision = "0005"

_BATCH = 1000
_DATASETS = sa.table("datasets", sa.column("uid"), sa.column("metadata_fields", sa.JSON))
_DOCUMENTS = sa.table("documents", sa.column("dataset_uid"), sa.column("row"), sa.column("terms", sa.JSON))


def upgrade() -> None:
    op.add_column("datasets", sa.Column("metadata_fields", sa.JSON, nullable=False, server_default="{}"))
    op.add_column("documents", sa.Column("terms", sa.JSON, nullable=False, server_default="[]"))
    connection = op.get_bind()
    for uid, next_row in connection.execute(sa.text("SELECT uid, next_row FROM datasets")).all():
        schema: metadata_schema.Schema = {}
        for start in range(0, next_row, _BATCH):
            schema = _fill(connection, uid, start, schema)
        fields = metadata_schema.to_json(schema)
        connection.execute(sa.update(_DATASETS).where(_DATASETS.c.uid == uid).values(metadata_fields=fields))


def _fill(connection: sa.Connection, uid: str, start: int, schema: metadata_schema.Schema) -> metadata_schema.Schema:
    """Stores the terms of some rows; returns the schema with their metadata."""
    rows = connection.execute(
        sa.text(
            'SELECT "row", metadata FROM documents '
            'WHERE dataset_uid = :uid AND "row" >= :start AND "row" < :end AND NOT deleted'
        ),
        {"uid": uid, "start": start, "end": start + _BATCH},
    ).all()
    described = [metadata_terms.described(metadata.readable(_parsed(stored))) for _row, stored in rows]
    if rows:
        connection.execute(
            sa.update(_DOCUMENTS)
            .where(_DOCUMENTS.c.dataset_uid == uid, _DOCUMENTS.c.row == sa.bindparam("of_row"))
            .values(terms=sa.bindparam("of_terms")),
            [
                {"of_row": row, "of_terms": terms}
                for (row, _stored), (terms, _types) in zip(rows, described, strict=True)
            ],
        )
    return metadata_schema.changed(schema, described, by=1)


def _parsed(stored: object) -> dict[str, object]:
    """Stored metadata; nothing where it cannot be read."""
    try:
        parsed = json.loads(stored) if isinstance(stored, str) else stored
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def downgrade() -> None:
    with op.batch_alter_table("documents") as documents:
        documents.drop_column("terms")
    with op.batch_alter_table("datasets") as datasets:
        datasets.drop_column("metadata_fields")
