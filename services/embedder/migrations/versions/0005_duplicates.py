"""What an import did with documents that its dataset had already."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("imports", sa.Column("on_duplicate", sa.String(16), nullable=False, server_default="REJECT"))
    op.add_column("imports", sa.Column("updated_count", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("imports", sa.Column("skipped_count", sa.BigInteger, nullable=False, server_default="0"))


def downgrade() -> None:
    with op.batch_alter_table("imports") as imports:
        for name in ("skipped_count", "updated_count", "on_duplicate"):
            imports.drop_column(name)
