"""Short messages by whatever Apprise speaks to: SMS, push services, a plain webhook."""

import asyncio
from collections.abc import Sequence

import apprise

from actors.back_office.channels import Outgoing, TryLater


class AppriseChannel:
    """Sends the short form of a letter to the first service that takes it.

    The services are the operator's, the same for all readers: what they get names the
    booking, so that a webhook can find out whom to tell.

    Args:
        urls: as Apprise has them, at least one.

    Raises:
        ValueError: which of the URLs is none; it is not shown, as secrets stand in it.
    """

    def __init__(self, urls: Sequence[str]) -> None:
        self._services: list[tuple[str, apprise.Apprise]] = []
        for number, url in enumerate(urls, 1):
            service = apprise.Apprise()
            if not service.add(url):
                raise ValueError(f"ONSALE_NOTIFY_URLS, number {number}: Apprise does not know it")
            self._services.append((f"{url.partition(':')[0]}-{number}", service))

    async def send(self, outgoing: Outgoing) -> str:
        """See `Channel.send`. Apprise does not say why a service failed: it may be tried again."""
        for name, service in self._services:
            if await asyncio.to_thread(_notify, service, outgoing):
                return name
        raise TryLater(None, "no service took it")

    async def close(self) -> None:
        """See `Channel.close`."""


def _notify(service: apprise.Apprise, outgoing: Outgoing) -> bool:
    letter = outgoing.letter
    body = f"{letter.summary} ({outgoing.booking_id})"
    return bool(service.notify(title=letter.subject, body=body))
