"""Owners are told of the messages that carry tickets, and of no others."""

import sqlalchemy as sa
from alembic import op

revision = "0003_told_by_mail"
down_revision = "0002_webhooks"

_UNTOLD = sa.text(
    "status = 'SENT' AND kind = 'order_confirmation' AND channel = 'email' AND told = false"
)


def upgrade() -> None:
    """Have the index hold what is asked for: see `UNTOLD` of `engine.store.schema`."""
    op.drop_index("ix_messages_untold", "messages")
    op.create_index(
        "ix_messages_untold",
        "messages",
        ["message_id"],
        sqlite_where=_UNTOLD,
        postgresql_where=_UNTOLD,
    )
