"""How many back offices share the work: one number for all who do it and who start them.

It stands beside the journals, because those who share the work are processes that outlive the
setting with which they were started.
"""

from redis.asyncio import Redis
from redis.exceptions import RedisError

from engine.journal.contract import Unavailable
from engine.journal.keys import OFFICES
from engine.limits import PARTITIONS


class Offices:
    """The back offices of one deployment. Every method raises `Unavailable` if nobody answers."""

    def __init__(self, client: Redis) -> None:
        self._redis = client

    async def count(self) -> int:
        """Return how many there are to be, 1 to PARTITIONS; 1 if nobody has ever said."""
        try:
            found = await self._redis.get(OFFICES)
        except (RedisError, OSError, TimeoutError) as error:
            raise Unavailable(f"{type(error).__name__}: {error}") from error
        if found is None:
            return 1
        if not found.isdigit() or not 1 <= int(found) <= PARTITIONS:
            raise Unavailable(f"somebody else has written {OFFICES}: {found!r}")
        return int(found)

    async def set_count(self, count: int) -> None:
        """Have so many from now on, 1 to PARTITIONS."""
        assert 1 <= count <= PARTITIONS, f"{count} back offices"
        try:
            await self._redis.set(OFFICES, count)
        except (RedisError, OSError, TimeoutError) as error:
            raise Unavailable(f"{type(error).__name__}: {error}") from error
