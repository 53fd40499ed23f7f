"""Connections to Stripe: the one file that imports the `stripe` package.

The package is asked for the plain JSON of its answers; what it says in errors comes back as
an answer, too, so that whoever decides what to do next sees status, headers and body.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import httpx
import stripe

from actors.payments.contract import Secret, StripeAway, StripeRefused

#: Time to connect, and between two bytes of an answer, seconds. Stripe's slowest calls take
#: a few seconds; after ten it is better to ask again under the same key.
CONNECT_SECONDS = 5.0
READ_SECONDS = 10.0
#: Connections: a hundred calls a second that take half a second each. Idle ones are closed
#: before the far side does it.
CONNECTIONS_MAX = 50
IDLE_SECONDS = 30.0
#: What is told to whoever got no answer, seconds.
AGAIN_SECONDS = 0.5


class Answer(NamedTuple):
    """What came back: status and headers of HTTP, and JSON."""

    status: int
    headers: Mapping[str, str]
    body: str

    @property
    def replayed(self) -> bool:
        """Whether nothing was done, because the key was used before."""
        return self.headers.get("idempotent-replayed") == "true"


class _Http(stripe.HTTPClient):
    """HTTPX as the package wants it: its own client has no say over the pool."""

    name = "httpx"

    def __init__(self) -> None:
        super().__init__()
        self._pool = httpx.AsyncClient(
            timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
            limits=httpx.Limits(
                max_connections=CONNECTIONS_MAX,
                max_keepalive_connections=CONNECTIONS_MAX,
                keepalive_expiry=IDLE_SECONDS,
            ),
        )

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: str | None = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        try:
            found = await self._pool.request(method, url, headers=headers, content=post_data)
        except (httpx.HTTPError, OSError) as error:
            # The package has no use for it: it only knows how to repeat, and is told not to.
            raise StripeAway(f"no answer: {type(error).__name__}", AGAIN_SECONDS) from error
        return found.content, found.status_code, found.headers

    async def close_async(self) -> None:
        await self._pool.aclose()


class Connections:
    """Connections to one account; belongs to the event loop that uses it first.

    Args:
        api_key: the secret key of the account.
        base: where its API is; None for Stripe itself.
    """

    def __init__(self, api_key: str, base: str | None = None) -> None:
        # It would report how long our calls take, and write an id of this machine to disk.
        stripe.enable_telemetry = False
        self._http = _Http()
        self._client = stripe.StripeClient(
            Secret(api_key),
            base_addresses=None if base is None else {"api": base},
            max_network_retries=0,
            http_client=self._http,
        )

    async def ask(
        self, method: str, path: str, params: Mapping[str, Any], key: str | None
    ) -> Answer:
        """Ask once, whatever the answer is.

        Args:
            method: of HTTP.
            path: from "/v1/" on.
            params: as the API names them.
            key: of idempotency; None has the package make one up.

        Raises:
            StripeAway: no answer came.
            StripeRefused: the package did not want to ask.
        """
        try:
            found = await self._client.raw_request_async(
                method, path, **params, idempotency_key=key
            )
        except stripe.StripeError as error:
            if error.http_status is None:
                raise StripeRefused("not_asked", str(error)) from error
            return Answer(error.http_status, error.headers or {}, error.http_body or "")
        return Answer(found.code, found.headers, found.body)

    async def close(self) -> None:
        """Close all connections."""
        await self._http.close_async()
