"""Messages that are due are taken channel by channel."""

import sqlalchemy as sa
from alembic import op

revision = "0004_due_by_channel"
down_revision = "0003_told_by_mail"

_PENDING = sa.text("status = 'PENDING'")


def upgrade() -> None:
    """Have the index begin with the channel."""
    op.drop_index("ix_messages_pending", "messages")
    op.create_index(
        "ix_messages_pending",
        "messages",
        ["channel", "next_attempt_ms", "message_id"],
        sqlite_where=_PENDING,
        postgresql_where=_PENDING,
    )
