"""One attempt: a body goes to the address that was checked, and to no other.

httpx's transport is used without its client: that would follow proxies of the environment,
keep cookies of one organizer for another, and unpack what comes back.
"""

import ssl
from collections.abc import Mapping

import httpx
from msgspec import Struct

from actors.back_office.targets import Target
from engine.back_office_limits import (
    COURIER_ANSWER_BYTES_MAX,
    COURIER_ATTEMPT_SECONDS_MAX,
    COURIER_CONNECT_SECONDS_MAX,
    COURIER_ENDPOINTS_MAX,
    COURIER_PER_ENDPOINT_MAX,
)


class Unanswered(Exception):
    """No answer came. Argument: what happened, for the organizer."""


class Answer(Struct, frozen=True):
    """What came back; `retry_after` as it was sent."""

    status: int
    retry_after: str | None = None


class Poster:
    """Sends webhooks.

    Args:
        trusted: what certificates are checked against; None for the authorities that
            browsers trust, or those that SSL_CERT_FILE names.
    """

    def __init__(self, trusted: ssl.SSLContext | None = None) -> None:
        self._transport = httpx.AsyncHTTPTransport(
            verify=trusted or True,
            # Connections are told apart by address: one that is kept would carry webhooks
            # of another host there, whose certificate nobody has checked.
            limits=httpx.Limits(
                max_connections=COURIER_ENDPOINTS_MAX * COURIER_PER_ENDPOINT_MAX,
                max_keepalive_connections=0,
            ),
        )

    async def post(self, target: Target, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send once, whatever the answer is; redirects are answers.

        Raises:
            Unanswered: none came in time.
        """
        *others, last = target.addresses
        for address in others:
            try:
                return await self._post(address, target.url, headers, body)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
            except httpx.HTTPError as error:
                raise Unanswered(_in_words(error)) from error
        try:
            return await self._post(last, target.url, headers, body)
        except httpx.HTTPError as error:
            raise Unanswered(_in_words(error)) from error

    async def _post(
        self, address: str, url: httpx.URL, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        request = httpx.Request(
            "POST",
            url.copy_with(host=f"[{address}]" if ":" in address else address),
            headers={"host": url.netloc.decode(), **headers},
            content=body,
            extensions={
                # The name that the certificate has to be for.
                "sni_hostname": url.raw_host.decode(),
                "timeout": {
                    "connect": COURIER_CONNECT_SECONDS_MAX,
                    "read": COURIER_ATTEMPT_SECONDS_MAX,
                    "write": COURIER_ATTEMPT_SECONDS_MAX,
                    "pool": COURIER_ATTEMPT_SECONDS_MAX,
                },
            },
        )
        response = await self._transport.handle_async_request(request)
        try:
            await _read_a_little(response)
        finally:
            await response.aclose()
        return Answer(response.status_code, response.headers.get("retry-after"))

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.aclose()


async def _read_a_little(response: httpx.Response) -> None:
    """Let a server finish its answer, unless it never does: the status is all that counts."""
    read = 0
    async for chunk in response.aiter_raw():
        read += len(chunk)
        if read >= COURIER_ANSWER_BYTES_MAX:
            return


def _in_words(error: httpx.HTTPError) -> str:
    """Return what happened; the text of an error may name addresses of ours."""
    # httpx raises what httpcore has raised while it handled what went wrong.
    cause = error.__cause__ and error.__cause__.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {cause.verify_message}"
    if isinstance(cause, ssl.SSLError):
        return "TLS could not be agreed on"
    if isinstance(error, httpx.ConnectTimeout | httpx.ConnectError):
        return "no connection"
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    return "the connection broke before an answer"
