"""What imports did, and the items that they rejected."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "imports",
        *(
            sa.Column("dataset_uid", sa.String(32), primary_key=True),
            sa.Column("uid", sa.String(32), primary_key=True),
            sa.Column("state", sa.String(16), nullable=False),
            sa.Column("file_name", sa.Text, nullable=False),
            sa.Column("file_bytes", sa.BigInteger, nullable=False),
            sa.Column("layout", sa.JSON),
            sa.Column("notes", sa.JSON, nullable=False),
            sa.Column("added_count", sa.BigInteger, nullable=False),
            sa.Column("rejected_count", sa.BigInteger, nullable=False),
            sa.Column("rejection_counts", sa.JSON, nullable=False),
            sa.Column("stored_rejection_count", sa.BigInteger, nullable=False, server_default="0"),
            sa.Column("rejection_bytes", sa.BigInteger, nullable=False, server_default="0"),
            sa.Column("failure", sa.JSON),
            sa.Column("create_time", sa.DateTime, nullable=False),
            sa.Column("update_time", sa.DateTime, nullable=False),
            sa.Column("end_time", sa.DateTime),
        ),
    )
    op.create_index("imports_create_time", "imports", ["dataset_uid", "create_time", "uid"])
    op.create_table(
        "import_rejections",
        *(
            sa.Column("dataset_uid", sa.String(32), primary_key=True),
            sa.Column("import_uid", sa.String(32), primary_key=True),
            sa.Column("part", sa.BigInteger, primary_key=True),
            sa.Column("content", sa.LargeBinary, nullable=False),
        ),
    )


def downgrade() -> None:
    op.drop_table("import_rejections")
    op.drop_table("imports")
