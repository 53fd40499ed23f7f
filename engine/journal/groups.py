"""Everybody who reads the streams: nothing is dropped that one of these has not finished.

A group that is not listed here loses what is trimmed before it first comes to read.
"""

from engine.journal.streams import Group, StreamKind

#: The payment desk: steps to be taken at Stripe, and what Stripe says.
PAYMENTS = Group("payments", StreamKind.EFFECTS)
PAYMENTS_INBOX = Group("payments-inbox", StreamKind.INBOX)
#: The clerk of the back office: sales, and what happened at the doors.
BACK_OFFICE = Group("back-office", StreamKind.EFFECTS)
DOORS = Group("doors", StreamKind.SCANS)

GROUPS = (PAYMENTS, PAYMENTS_INBOX, BACK_OFFICE, DOORS)


def readers_of(kind: StreamKind) -> tuple[str, ...]:
    """Return the names of the groups that read streams of a kind."""
    return tuple(group.name for group in GROUPS if group.kind is kind)
