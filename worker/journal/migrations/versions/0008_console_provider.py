"""People of the console who come from an OpenID Connect provider."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("console_users", sa.Column("issuer", sa.Text(), nullable=True))
    op.add_column("console_users", sa.Column("subject", sa.Text(), nullable=True))
    op.create_index("console_users_subject", "console_users", ["issuer", "subject"], unique=True)


def downgrade() -> None:
    op.drop_index("console_users_subject", table_name="console_users")
    op.drop_column("console_users", "subject")
    op.drop_column("console_users", "issuer")
