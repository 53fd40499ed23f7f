"""Telling owners what has happened in the world, and asking them how their bookings stand."""

from collections.abc import Sequence

from actors.consumer import RetryLater
from actors.contract import OwnerGone, Owners
from actors.wire import Answers, Envelope, Halted, Overloaded, decode_reply, encode_batch
from engine.domain.booking import Booking
from engine.domain.commands import (
    Caller,
    Command,
    ReadAvailability,
    ReadBooking,
    ReadPayments,
)
from engine.domain.ids import event_of_booking
from engine.domain.outcomes import Outcome, PaymentsShown, Shown, UnsettledPayment
from engine.limits import BATCH_COMMANDS_MAX, REQUEST_DEADLINE_MS

#: Pauses before an owner is asked again, seconds: one that restarts takes two.
_RESTART_SECONDS, _HALT_SECONDS = 0.25, 30.0
#: Who asks when nobody does: the product itself.
_OURSELVES = Caller("onsale", admin=True)


class Telling:
    """Commands to owners, from a process that can wait.

    Every method raises `RetryLater` when the owner did not answer; it may have decided
    then, and asking again is safe.
    """

    def __init__(self, owners: Owners) -> None:
        self._owners = owners

    async def tell(self, event_id: str, commands: Sequence[Command]) -> list[Outcome]:
        """Have the owner of an event decide, in order, and return what came of it."""
        outcomes: list[Outcome] = []
        for start in range(0, len(commands), BATCH_COMMANDS_MAX):
            page, _ = await self._submit(event_id, commands[start : start + BATCH_COMMANDS_MAX])
            outcomes += page
        return outcomes

    async def _submit(
        self, event_id: str, commands: Sequence[Command]
    ) -> tuple[list[Outcome], int]:
        """Return the outcomes of one batch, and the sequence up to which it was decided."""
        batch = encode_batch([Envelope(REQUEST_DEADLINE_MS, command) for command in commands])
        try:
            reply = decode_reply(await self._owners.submit(event_id, batch))
        except OwnerGone as error:
            raise RetryLater(_RESTART_SECONDS, f"owner of {event_id} gone: {error}") from error
        if isinstance(reply, Halted):
            raise RetryLater(_HALT_SECONDS, f"{event_id} is halted: {reply.reason}")
        if not isinstance(reply, Answers):
            crowded = isinstance(reply, Overloaded)
            state = "overloaded" if crowded else "recovering"
            raise RetryLater(_RESTART_SECONDS, f"owner of {event_id} is {state}")
        outcomes: list[Outcome] = []
        for outcome in reply.outcomes:
            if outcome is None:
                raise RetryLater(_RESTART_SECONDS, f"owner of {event_id} had no time")
            outcomes.append(outcome)
        return outcomes, 0 if reply.availability is None else reply.availability.sequence

    async def booking(self, booking_id: str) -> Booking | None:
        """Return a booking as it stands, None if there is none."""
        (booking,) = await self.bookings(event_of_booking(booking_id), [booking_id])
        return booking

    async def bookings(self, event_id: str, booking_ids: Sequence[str]) -> list[Booking | None]:
        """Return bookings of one event as they stand, None for those that there are not."""
        commands = [ReadBooking(booking_id, _OURSELVES) for booking_id in booking_ids]
        outcomes = await self.tell(event_id, commands)
        return [one.booking if isinstance(one, Shown) else None for one in outcomes]

    async def picture(
        self, event_id: str, booking_ids: Sequence[str]
    ) -> tuple[int, dict[str, Booking]]:
        """Return at most BATCH_COMMANDS_MAX bookings as they stood at a sequence, or after it.

        Everything up to the sequence is in them. It is asked for first: the turn that reads
        the bookings may go on to decide about them, and its own sequence would include that.
        """
        _, sequence = await self._submit(event_id, [ReadAvailability()])
        commands = [ReadBooking(booking_id, _OURSELVES) for booking_id in booking_ids]
        outcomes, _ = await self._submit(event_id, commands)
        shown = [one.booking for one in outcomes if isinstance(one, Shown)]
        return sequence, {booking.booking_id: booking for booking in shown}

    async def unsettled(self, event_id: str) -> list[UnsettledPayment]:
        """Return every payment of an event that waits for Stripe."""
        found: list[UnsettledPayment] = []
        while True:
            after = found[-1].booking_id if found else ""
            (outcome,) = await self.tell(event_id, [ReadPayments(after)])
            if not isinstance(outcome, PaymentsShown):
                return found
            found += outcome.payments
            if not outcome.more:
                return found
