"""The tables. A change here is a migration there: `migrations/versions`.

Columns are named as the fields of the contract. Ids are compared byte by byte on every
database, so that the order of a page is the order that Python knows. Times are Unix
milliseconds.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from engine.domain.admission import DoorReason
from engine.store.contract import CARRIES_FILES, MessageKind, MessageStatus
from engine.store.webhook_contract import DeliveryStatus

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

#: Text that is an id, or is compared like one.
Code = Text().with_variant(Text(collation="C"), "postgresql")
#: A number that the database counts up; SQLite counts only what it calls INTEGER.
Number = BigInteger().with_variant(Integer(), "sqlite")

# Conditions of partial indexes, and of the statements that use them. They are plain text:
# SQLite uses such an index only where it sees that its condition holds, and a parameter
# would hide that.
PENDING = text(f"status = '{MessageStatus.PENDING}'")
UNTOLD = text(
    f"status = '{MessageStatus.SENT}' AND kind = '{MessageKind.CONFIRMATION}'"
    f" AND channel = '{CARRIES_FILES}' AND told = false"
)
FORGED = text(f"reason = '{DoorReason.FORGED}'")
WAITING = text(f"status = '{DeliveryStatus.PENDING}'")

events = Table(
    "events",
    metadata,
    Column("event_id", Code, primary_key=True),
    Column("organizer", Code, nullable=False, index=True),
    Column("sequence", BigInteger, nullable=False),
    Column("document", LargeBinary, nullable=False),
)

#: Events that were called off. Every ticket of an earlier sequence is void, also one that is
#: written later: by a message that had been buried and was dug out again.
voids = Table(
    "voids",
    metadata,
    Column("event_id", Code, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)

#: `sealed` is a `Contact` in the vault, `blind` the keyed hash of its address; `key_id` says
#: of which key both are. All three are empty once the buyer is forgotten. The row stays, so
#: that a message that is handed out again does not bring the data back.
contacts = Table(
    "contacts",
    metadata,
    Column("contact_id", Number, Identity(), primary_key=True),
    Column("booking_id", Code, nullable=False, unique=True),
    Column("blind", Code, index=True),
    Column("key_id", Code, index=True),
    Column("sealed", LargeBinary),
    Column("sealed_s", BigInteger, nullable=False),
)

tickets = Table(
    "tickets",
    metadata,
    Column("ticket_id", Code, primary_key=True),
    Column("booking_id", Code, nullable=False),
    Column("event_id", Code, nullable=False),
    Column("customer", Text, nullable=False),
    Column("number", Text, nullable=False),
    Column("ticket_type", Text, nullable=False),
    Column("seat", Text),
    Column("status", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Index(None, "booking_id", "ticket_id"),
    Index(None, "event_id", "ticket_id"),
    Index(None, "event_id", "booking_id"),
    Index(None, "event_id", "sequence"),
)

ticket_changes = Table(
    "ticket_changes",
    metadata,
    Column("change_id", Number, Identity(), primary_key=True),
    Column("booking_id", Code, nullable=False, index=True),
    Column("ticket_id", Code, nullable=False),
    Column("status", Text, nullable=False),
    Column("cause", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    UniqueConstraint("ticket_id", "sequence", "cause", "status"),
)

#: `worker` has a message in hand until `leased_until_ms`.
messages = Table(
    "messages",
    metadata,
    Column("message_id", Number, Identity(), primary_key=True),
    Column("dedupe_key", Code, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("event_id", Code, nullable=False, index=True),
    Column("booking_id", Code, nullable=False, index=True),
    Column("created_ms", BigInteger, nullable=False),
    Column("facts", LargeBinary, nullable=False),
    Column("status", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_ms", BigInteger, nullable=False),
    Column("provider", Text),
    Column("error", Text),
    Column("sent_ms", BigInteger),
    Column("told", Boolean, nullable=False),
    Column("worker", Text),
    Column("leased_until_ms", BigInteger, nullable=False),
    Index(
        "ix_messages_pending",
        "channel",
        "next_attempt_ms",
        "message_id",
        sqlite_where=PENDING,
        postgresql_where=PENDING,
    ),
    Index("ix_messages_untold", "message_id", sqlite_where=UNTOLD, postgresql_where=UNTOLD),
)

scans = Table(
    "scans",
    metadata,
    Column("event_id", Code, primary_key=True),
    Column("sequence", BigInteger, primary_key=True),
    Column("index", Integer, primary_key=True),
    Column("scan_id", Text, nullable=False),
    Column("ticket_id", Code),
    Column("entry", Boolean, nullable=False),
    Column("result", Text, nullable=False),
    Column("reason", Text),
    Column("gate", Text, nullable=False),
    Column("operator", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("noted_ms", BigInteger, nullable=False),
    Column("offline", Boolean, nullable=False),
    Column("flags", JSON, nullable=False),
    Index(None, "ticket_id", "at_ms"),
    Index(
        "ix_scans_forged",
        "event_id",
        "operator",
        "at_ms",
        sqlite_where=FORGED,
        postgresql_where=FORGED,
    ),
)

#: `sealed` are the secrets in the vault, former ones too while they still sign.
webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("endpoint_id", Code, primary_key=True),
    Column("organizer", Code, nullable=False, index=True),
    Column("url", Text, nullable=False),
    Column("kinds", JSON, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("disabled_ms", BigInteger),
    Column("disabled_reason", Text),
)

#: A delivery is somebody's until `leased_until_ms`, whose value also tells one time that it
#: was taken from the next.
webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("delivery_id", Number, Identity(), primary_key=True),
    Column(
        "endpoint_id",
        Code,
        ForeignKey(webhook_endpoints.c.endpoint_id, ondelete="CASCADE"),
        nullable=False,
    ),
    Column("webhook_id", Code, nullable=False),
    Column("kind", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("status", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_ms", BigInteger, nullable=False),
    Column("give_up_ms", BigInteger, nullable=False),
    Column("leased_until_ms", BigInteger, nullable=False),
    Column("status_code", Integer),
    Column("error", Text),
    Column("created_ms", BigInteger, nullable=False),
    Column("finished_ms", BigInteger, index=True),
    UniqueConstraint("endpoint_id", "webhook_id"),
    Index(None, "endpoint_id", "delivery_id"),
    Index(
        "ix_webhook_deliveries_waiting",
        "endpoint_id",
        "next_attempt_ms",
        "delivery_id",
        sqlite_where=WAITING,
        postgresql_where=WAITING,
    ),
)
