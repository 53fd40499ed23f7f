"""Payments that are put aside: what Stripe says of them does not belong to their bookings."""

import structlog

from actors.measures import QUARANTINED, Meter
from actors.payments.remembered import Remembered
from engine.limits import QUARANTINED_REMEMBERED_MAX

log = structlog.get_logger(__name__)


class Quarantine:
    """Says what was found, whoever found it, and counts each once.

    The reconciler finds the same again and again, and a message in the inbox is tried twice.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._counted = Remembered(QUARANTINED_REMEMBERED_MAX)

    def put(self, named: str, code: str, subject: object = None) -> None:
        """Put a payment aside.

        Args:
            named: its booking, or what it names in the place of one.
            code: why.
            subject: what of it does not fit, if that is known.
        """
        log.critical("payment_quarantined", booking_id=named, code=code, subject=subject)
        if self._counted.add(f"{named} {code} {subject}"):
            self._meter.add(QUARANTINED)
