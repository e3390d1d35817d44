"""Fingerprints of datasets."""

import hashlib

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_EMPTY = "0" * 32
_ESCAPE = "\x1a"


def upgrade() -> None:
    op.add_column("documents", sa.Column("vector_digest", sa.String(32)))
    op.add_column("datasets", sa.Column("fingerprint", sa.String(32), nullable=False, server_default=_EMPTY))
    connection = op.get_bind()
    is_escaped = connection.dialect.name == "postgresql"
    datasets = connection.execute(sa.text("SELECT uid, embedding_model FROM datasets WHERE delete_time IS NULL")).all()
    query = sa.text("SELECT key, text, state FROM documents WHERE dataset_uid = :uid AND NOT deleted")
    query = query.execution_options(yield_per=1000)
    change = sa.text("UPDATE datasets SET fingerprint = :fingerprint WHERE uid = :uid")
    for uid, model in datasets:
        total = 0
        for key, text, state in connection.execute(query, {"uid": uid}):
            values = (_unescaped(key), _unescaped(text)) if is_escaped else (key, text)
            total += _digest(*values, model if state == "EMBEDDED" else "")
        connection.execute(change, {"uid": uid, "fingerprint": f"{total % (1 << 128):032x}"})


def _digest(*parts: str) -> int:
    """The digest of a document, as this version has it."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return int.from_bytes(digest.digest(), "little")


def _unescaped(value: str) -> str:
    """A text that PostgreSQL holds with U+0000 escaped."""
    return value.replace(f"{_ESCAPE}0", "\x00").replace(f"{_ESCAPE}1", _ESCAPE)


def downgrade() -> None:
    op.drop_column("documents", "vector_digest")
    with op.batch_alter_table("datasets") as datasets:
        datasets.drop_column("fingerprint")
