"""Webhooks to organizers: where they go, and each on its way."""

import sqlalchemy as sa
from alembic import op

revision = "0002_webhooks"
down_revision = "0001_back_office"

_CODE = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_WAITING = sa.text("status = 'PENDING'")


def upgrade() -> None:
    """Make them; what they are for stands in `engine.store.schema`."""
    op.create_table(
        "webhook_endpoints",
        sa.Column("endpoint_id", _CODE, nullable=False),
        sa.Column("organizer", _CODE, nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("kinds", sa.JSON(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("disabled_ms", sa.BigInteger()),
        sa.Column("disabled_reason", sa.Text()),
        sa.PrimaryKeyConstraint("endpoint_id", name=op.f("pk_webhook_endpoints")),
    )
    op.create_index(op.f("ix_webhook_endpoints_organizer"), "webhook_endpoints", ["organizer"])
    op.create_table(
        "webhook_deliveries",
        sa.Column("delivery_id", _NUMBER, sa.Identity(), nullable=False),
        sa.Column("endpoint_id", _CODE, nullable=False),
        sa.Column("webhook_id", _CODE, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_ms", sa.BigInteger(), nullable=False),
        sa.Column("give_up_ms", sa.BigInteger(), nullable=False),
        sa.Column("leased_until_ms", sa.BigInteger(), nullable=False),
        sa.Column("status_code", sa.Integer()),
        sa.Column("error", sa.Text()),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("finished_ms", sa.BigInteger()),
        sa.ForeignKeyConstraint(
            ["endpoint_id"],
            ["webhook_endpoints.endpoint_id"],
            name=op.f("fk_webhook_deliveries_endpoint_id_webhook_endpoints"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("delivery_id", name=op.f("pk_webhook_deliveries")),
        sa.UniqueConstraint(
            "endpoint_id",
            "webhook_id",
            name=op.f("uq_webhook_deliveries_endpoint_id_webhook_id"),
        ),
    )
    op.create_index(
        op.f("ix_webhook_deliveries_endpoint_id_delivery_id"),
        "webhook_deliveries",
        ["endpoint_id", "delivery_id"],
    )
    op.create_index(
        op.f("ix_webhook_deliveries_finished_ms"), "webhook_deliveries", ["finished_ms"]
    )
    op.create_index(
        "ix_webhook_deliveries_waiting",
        "webhook_deliveries",
        ["endpoint_id", "next_attempt_ms", "delivery_id"],
        sqlite_where=_WAITING,
        postgresql_where=_WAITING,
    )
