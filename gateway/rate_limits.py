"""Rate limits per token and per address, counted in this process: no round trip."""

import hashlib
import time

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from gateway.problems import Problem, jittered

#: Requests a minute with one token: ten a second is a client that polls, more is a robot.
PER_TOKEN = RateLimitItemPerMinute(600)
#: Requests a minute from one address: homes, offices and carriers share one.
PER_ADDRESS = RateLimitItemPerMinute(12_000)

POLICY = f'"token";q={PER_TOKEN.amount};w=60, "address";q={PER_ADDRESS.amount};w=60'


class RateLimits:
    """Counts requests in fixed windows of a minute."""

    def __init__(self) -> None:
        self._limiter = FixedWindowRateLimiter(MemoryStorage())

    def hit(self, token: str | None, address: str, headers: list[tuple[bytes, bytes]]) -> None:
        """Count one request and add its `RateLimit` headers.

        Raises:
            Problem: `rate_limited`, with the seconds until the window has ended.
        """
        name, item, key = "address", PER_ADDRESS, address
        allowed = self._limiter.hit(item, key)
        if allowed and token:
            # Anybody may send a long token that is none: only its digest is kept.
            digest = hashlib.blake2b(token.encode(), digest_size=16).hexdigest()
            name, item, key = "token", PER_TOKEN, digest
            allowed = self._limiter.hit(item, key)
        window = self._limiter.get_window_stats(item, key)
        seconds = max(1, int(window.reset_time - time.time()) + 1)
        headers += [
            (b"ratelimit-policy", POLICY.encode()),
            (b"ratelimit", f'"{name}";r={window.remaining};t={seconds}'.encode()),
        ]
        if not allowed:
            raise Problem(
                "rate_limited",
                f"At most {item.amount} requests a minute for each {name}.",
                # All of one window were turned away until the same second.
                retry_after=jittered(seconds),
            )
