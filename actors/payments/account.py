"""A Stripe account, ready to be asked: connections, rate and patience put together."""

import time
from collections.abc import Callable

from actors.payments.breaker import Breaker
from actors.payments.calling import Caller
from actors.payments.connections import Connections
from actors.payments.limiter import Limiter
from actors.payments.stripe_api import StripeApi


def open_account(
    api_key: str,
    base: str | None,
    account_per_second: float,
    endpoint_per_second: float,
    waited: Callable[[str, float], None],
    ended: Callable[[str, str, float], None],
) -> StripeApi:
    """Return the API of an account, for one event loop.

    Args:
        api_key: the account's secret key.
        base: where the API is; None for Stripe itself.
        account_per_second: calls that Stripe takes from the account.
        endpoint_per_second: calls of one kind that it takes.
        waited: told of each call and the seconds that it had to wait for its turn.
        ended: told of each attempt at a call; see `Caller`.
    """
    limiter = Limiter(account_per_second, endpoint_per_second, waited=waited)
    caller = Caller(Connections(api_key, base), limiter, Breaker(time.monotonic), ended=ended)
    return StripeApi(caller, time.time)
