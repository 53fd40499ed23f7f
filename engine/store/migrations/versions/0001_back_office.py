"""The first tables of the back office."""

import sqlalchemy as sa
from alembic import op

revision = "0001_back_office"
down_revision = None

_CODE = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_PENDING = sa.text("status = 'PENDING'")
_UNTOLD = sa.text("status = 'SENT' AND kind = 'order_confirmation' AND told = false")
_FORGED = sa.text("reason = 'forged'")


def upgrade() -> None:
    """Make them; what they are for stands in `engine.store.schema`."""
    op.create_table(
        "contacts",
        sa.Column("contact_id", _NUMBER, sa.Identity(), nullable=False),
        sa.Column("booking_id", _CODE, nullable=False),
        sa.Column("blind", _CODE),
        sa.Column("key_id", _CODE),
        sa.Column("sealed", sa.LargeBinary()),
        sa.Column("sealed_s", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("contact_id", name=op.f("pk_contacts")),
        sa.UniqueConstraint("booking_id", name=op.f("uq_contacts_booking_id")),
    )
    op.create_index(op.f("ix_contacts_blind"), "contacts", ["blind"])
    op.create_index(op.f("ix_contacts_key_id"), "contacts", ["key_id"])
    op.create_table(
        "events",
        sa.Column("event_id", _CODE, nullable=False),
        sa.Column("organizer", _CODE, nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_events")),
    )
    op.create_index(op.f("ix_events_organizer"), "events", ["organizer"])
    op.create_table(
        "messages",
        sa.Column("message_id", _NUMBER, sa.Identity(), nullable=False),
        sa.Column("dedupe_key", _CODE, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("event_id", _CODE, nullable=False),
        sa.Column("booking_id", _CODE, nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("facts", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_ms", sa.BigInteger(), nullable=False),
        sa.Column("provider", sa.Text()),
        sa.Column("error", sa.Text()),
        sa.Column("sent_ms", sa.BigInteger()),
        sa.Column("told", sa.Boolean(), nullable=False),
        sa.Column("worker", sa.Text()),
        sa.Column("leased_until_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_messages")),
        sa.UniqueConstraint("dedupe_key", name=op.f("uq_messages_dedupe_key")),
    )
    op.create_index(op.f("ix_messages_booking_id"), "messages", ["booking_id"])
    op.create_index(op.f("ix_messages_event_id"), "messages", ["event_id"])
    op.create_index(
        "ix_messages_pending",
        "messages",
        ["next_attempt_ms", "message_id"],
        sqlite_where=_PENDING,
        postgresql_where=_PENDING,
    )
    op.create_index(
        "ix_messages_untold",
        "messages",
        ["message_id"],
        sqlite_where=_UNTOLD,
        postgresql_where=_UNTOLD,
    )
    op.create_table(
        "scans",
        sa.Column("event_id", _CODE, nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("index", sa.Integer(), nullable=False),
        sa.Column("scan_id", sa.Text(), nullable=False),
        sa.Column("ticket_id", _CODE),
        sa.Column("entry", sa.Boolean(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("gate", sa.Text(), nullable=False),
        sa.Column("operator", sa.Text(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("noted_ms", sa.BigInteger(), nullable=False),
        sa.Column("offline", sa.Boolean(), nullable=False),
        sa.Column("flags", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", "sequence", "index", name=op.f("pk_scans")),
    )
    op.create_index(
        "ix_scans_forged",
        "scans",
        ["event_id", "operator", "at_ms"],
        sqlite_where=_FORGED,
        postgresql_where=_FORGED,
    )
    op.create_index(op.f("ix_scans_ticket_id_at_ms"), "scans", ["ticket_id", "at_ms"])
    op.create_table(
        "ticket_changes",
        sa.Column("change_id", _NUMBER, sa.Identity(), nullable=False),
        sa.Column("booking_id", _CODE, nullable=False),
        sa.Column("ticket_id", _CODE, nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("change_id", name=op.f("pk_ticket_changes")),
        sa.UniqueConstraint(
            "ticket_id",
            "sequence",
            "cause",
            "status",
            name=op.f("uq_ticket_changes_ticket_id_sequence_cause_status"),
        ),
    )
    op.create_index(op.f("ix_ticket_changes_booking_id"), "ticket_changes", ["booking_id"])
    op.create_table(
        "tickets",
        sa.Column("ticket_id", _CODE, nullable=False),
        sa.Column("booking_id", _CODE, nullable=False),
        sa.Column("event_id", _CODE, nullable=False),
        sa.Column("customer", sa.Text(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("ticket_type", sa.Text(), nullable=False),
        sa.Column("seat", sa.Text()),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("ticket_id", name=op.f("pk_tickets")),
    )
    op.create_index(op.f("ix_tickets_booking_id_ticket_id"), "tickets", ["booking_id", "ticket_id"])
    op.create_index(op.f("ix_tickets_event_id_booking_id"), "tickets", ["event_id", "booking_id"])
    op.create_index(op.f("ix_tickets_event_id_sequence"), "tickets", ["event_id", "sequence"])
    op.create_index(op.f("ix_tickets_event_id_ticket_id"), "tickets", ["event_id", "ticket_id"])
    op.create_table(
        "voids",
        sa.Column("event_id", _CODE, nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_voids")),
    )
