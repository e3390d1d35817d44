"""How the dataset of a run has changed since its training."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("runs", sa.Column("dataset_changes", sa.JSON))


def downgrade() -> None:
    op.drop_column("runs", "dataset_changes")
