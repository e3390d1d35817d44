"""The share of documents that mention a label is stored as `mentions`; it was called `precision`."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    _rename("precision", "mentions")


def downgrade() -> None:
    _rename("mentions", "precision")


def _rename(old: str, new: str) -> None:
    """Renames a key of stored scores. In texts inside the JSON quotes are escaped, so none is taken for the key."""
    has_json_type = op.get_bind().dialect.name == "postgresql"
    for table, name in (("labels", "scores"), ("interpretations", "families")):
        column = sa.column(name)
        renamed = sa.func.replace(sa.cast(column, sa.Text), f'"{old}": ', f'"{new}": ')
        value = sa.cast(renamed, sa.JSON) if has_json_type else renamed
        op.execute(sa.table(table, column).update().where(column.is_not(None)).values({name: value}))
