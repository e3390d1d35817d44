"""Fingerprints of datasets with passages."""

import hashlib

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

_ESCAPE = "\x1a"


def upgrade() -> None:
    connection = op.get_bind()
    is_escaped = connection.dialect.name == "postgresql"
    datasets = connection.execute(
        sa.text("SELECT uid, embedding_model FROM datasets WHERE delete_time IS NULL AND passage_tokens IS NOT NULL")
    ).all()
    wholes = sa.text("SELECT key, text FROM whole_documents WHERE dataset_uid = :uid")
    passages = sa.text(
        "SELECT w.key, d.text FROM documents d JOIN whole_documents w"
        " ON w.dataset_uid = d.dataset_uid AND w.number = d.whole_number"
        " WHERE d.dataset_uid = :uid AND NOT d.deleted AND d.state = 'EMBEDDED'"
    )
    change = sa.text("UPDATE datasets SET fingerprint = :fingerprint WHERE uid = :uid")
    for uid, model in datasets:
        total = 0
        for query, vector in ((wholes, ""), (passages, model)):
            for values in connection.execute(query.execution_options(yield_per=1000), {"uid": uid}):
                key, text = map(_unescaped, values) if is_escaped else values
                total += _digest(key, text, vector)
        connection.execute(change, {"uid": uid, "fingerprint": f"{total % (1 << 128):032x}"})


def _digest(*parts: str) -> int:
    """The digest of a document, or of a passage with a vector, as this version has it."""
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
    """The former version takes no notice of these fingerprints."""
