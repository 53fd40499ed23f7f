"""Rate limits per token and per address, counted in this process: no round trip."""

import time

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from gateway.problems import Problem

#: Requests a minute with one token: ten a second is a client that polls, more is a robot.
PER_TOKEN = RateLimitItemPerMinute(600)
#: Requests a minute from one address: homes, offices and carriers share one.
PER_ADDRESS = RateLimitItemPerMinute(12_000)

POLICY = f'"token";q={PER_TOKEN.amount};w=60, "address";q={PER_ADDRESS.amount};w=60'


class RateLimits:
    """Counts requests in fixed windows of a minute."""

    def __init__(self) -> None:
        self._limiter = FixedWindowRateLimiter(MemoryStorage())

    def hit(self, token: str | None, address: str) -> list[tuple[bytes, bytes]]:
        """Count one request and return its `RateLimit` headers.

        Raises:
            Problem: `rate_limited`, with the seconds until the window ends.
        """
        name, item, key = (
            ("token", PER_TOKEN, token) if token else ("address", PER_ADDRESS, address)
        )
        allowed = self._limiter.hit(PER_ADDRESS, address)
        if not allowed:
            name, item, key = "address", PER_ADDRESS, address
        elif token:
            allowed = self._limiter.hit(PER_TOKEN, token)
        window = self._limiter.get_window_stats(item, key or address)
        seconds = max(1, int(window.reset_time - time.time()) + 1)
        if not allowed:
            raise Problem(
                "rate_limited",
                f"At most {item.amount} requests a minute for each {name}.",
                facts={"retry_after": seconds},
            )
        return [
            (b"ratelimit-policy", POLICY.encode()),
            (b"ratelimit", f'"{name}";r={window.remaining};t={seconds}'.encode()),
        ]
