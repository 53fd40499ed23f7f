"""Contacts of buyers on their way to the back office: sealed, and only for a while.

They are kept where the journal is and not in the database, so that paying goes on while
that is away, and so that a contact is there before the effect that needs it. What is here
can be read by nobody who has only this store.
"""

from collections.abc import Sequence

from redis.asyncio import Redis
from redis.exceptions import RedisError

from engine.back_office_limits import CONTACT_KEPT_SECONDS
from engine.domain.ids import event_of_booking
from engine.journal.contract import Unavailable
from engine.journal.keys import partition_keys, partition_of


class Contacts:
    """Sealed contacts by booking. Every method raises `Unavailable` when nobody answers."""

    def __init__(self, client: Redis) -> None:
        self._redis = client

    async def put(self, booking_id: str, sealed: bytes) -> None:
        """Keep a contact for CONTACT_KEPT_SECONDS, in the place of an earlier one."""
        try:
            await self._redis.set(_key(booking_id), sealed, ex=CONTACT_KEPT_SECONDS)
        except (RedisError, OSError, TimeoutError) as error:
            raise Unavailable(f"{type(error).__name__}: {error}") from error

    async def of(self, booking_ids: Sequence[str]) -> dict[str, bytes]:
        """Return the contacts of those of these bookings that have one."""
        pipeline = self._redis.pipeline(transaction=False)
        for booking_id in booking_ids:
            pipeline.get(_key(booking_id))
        try:
            found = await pipeline.execute()
        except (RedisError, OSError, TimeoutError) as error:
            raise Unavailable(f"{type(error).__name__}: {error}") from error
        pairs = zip(booking_ids, found, strict=True)
        return {booking_id: sealed for booking_id, sealed in pairs if sealed is not None}

    async def forget(self, booking_id: str) -> None:
        """Drop the contact of a booking."""
        try:
            await self._redis.delete(_key(booking_id))
        except (RedisError, OSError, TimeoutError) as error:
            raise Unavailable(f"{type(error).__name__}: {error}") from error


def _key(booking_id: str) -> str:
    return partition_keys(partition_of(event_of_booking(booking_id))).contact + booking_id
