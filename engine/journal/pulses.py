"""How the busiest events fare, for operators: written by the warden, shown by gateways.

Not durable and not the truth: who wants to know exactly asks the owner.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct
from redis.asyncio import Redis
from redis.exceptions import RedisError

from engine.journal.contract import Unavailable
from engine.journal.keys import PULSES
from engine.limits import PULSES_KEPT_SECONDS


class Pulse(Struct, frozen=True, array_like=True, gc=False):
    """One event as its owner sees it.

    `granted`, `refused` (those that had been granted before among them) and `expired` count
    holds since the owner started; `p99_us` is within which time all but a hundredth of the
    last turns were answered, from the arrival of their oldest batch.
    """

    event_id: str
    granted: int
    refused: int
    expired: int
    available: int
    held: int
    sold: int
    inbox: int
    p99_us: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Pulse]).decode


class Pulses:
    """The pulses of the busiest events. Every method raises `Unavailable` if nobody answers."""

    def __init__(self, client: Redis) -> None:
        self._redis = client

    async def put(self, pulses: Sequence[Pulse]) -> None:
        """Show these for PULSES_KEPT_SECONDS, instead of all others."""
        try:
            await self._redis.set(PULSES, _encode(pulses), ex=PULSES_KEPT_SECONDS)
        except (RedisError, OSError, TimeoutError) as error:
            raise Unavailable(f"{type(error).__name__}: {error}") from error

    async def busiest(self) -> list[Pulse]:
        """Return them, the busiest first; none where the warden has been silent."""
        try:
            found: Any = await self._redis.get(PULSES)
        except (RedisError, OSError, TimeoutError) as error:
            raise Unavailable(f"{type(error).__name__}: {error}") from error
        return [] if found is None else _decode(found)
