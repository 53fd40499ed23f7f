"""Short messages by whatever Apprise speaks to: SMS, push services, a plain webhook."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import apprise
import structlog

from actors.back_office.channels import ChannelAway, Outgoing, TryLater
from engine.back_office_limits import PUSH_AT_ONCE_MAX, PUSH_AWAY_SECONDS, PUSH_TIMEOUT_SECONDS

log = structlog.get_logger(__name__)


class AppriseChannel:
    """Sends the short form of a letter to the first service that takes it.

    The services are the operator's, the same for all readers: what they get names the
    booking, so that a webhook can find out whom to tell. One that does not answer in time may
    have taken it: the next one gets it all the same.

    Args:
        urls: as Apprise has them, at least one.

    Raises:
        ValueError: which of the URLs is none; it is not shown, as secrets stand in it.
    """

    def __init__(self, urls: Sequence[str]) -> None:
        self._services = [_Service(url, number) for number, url in enumerate(urls, 1)]

    async def send(self, outgoing: Outgoing) -> str:
        """See `Channel.send`. Apprise does not say why a service failed: it may be tried again.

        A message that some service was handed counts as tried: it may have been taken.
        """
        tried = False
        for service in self._services:
            try:
                if await service.send(outgoing):
                    return service.name
            except ChannelAway:
                continue
            except TryLater:
                pass
            tried = True
        if tried:
            raise TryLater(None, "no service took it")
        away = min(service.away_seconds() for service in self._services)
        raise ChannelAway(away or PUSH_AWAY_SECONDS, "no service answers")

    async def close(self) -> None:
        """See `Channel.close`."""
        for service in self._services:
            service.close()


class _Service:
    """One service, PUSH_AT_ONCE_MAX messages at once, in threads that are its own.

    Apprise waits in the thread that calls it, and a service may keep it waiting.
    """

    def __init__(self, url: str, number: int) -> None:
        self.name = f"{url.partition(':')[0]}-{number}"
        self._apprise = apprise.Apprise()
        if not self._apprise.add(url):
            raise ValueError(f"ONSALE_NOTIFY_URLS, number {number}: Apprise does not know it")
        for plugin in self._apprise:
            # If it gave up first, nobody would know that there was no answer.
            plugin.socket_connect_timeout = PUSH_TIMEOUT_SECONDS
            plugin.socket_read_timeout = PUSH_TIMEOUT_SECONDS
        self._threads = ThreadPoolExecutor(PUSH_AT_ONCE_MAX, self.name)
        self._places = asyncio.Semaphore(PUSH_AT_ONCE_MAX)
        self._away_until = 0.0

    def away_seconds(self) -> float:
        """Return how long the service is to be left alone; 0: it is not."""
        return max(0.0, self._away_until - asyncio.get_running_loop().time())

    async def send(self, outgoing: Outgoing) -> bool:
        """Return whether the service has taken it.

        Raises:
            ChannelAway: it is left alone, as it did not answer others.
            TryLater: it did not answer; whether it has taken the message is not known.
        """
        loop = asyncio.get_running_loop()
        async with self._places:
            if self.away_seconds():
                raise ChannelAway(self.away_seconds(), "away")
            try:
                async with asyncio.timeout(PUSH_TIMEOUT_SECONDS):
                    return await loop.run_in_executor(self._threads, self._notify, outgoing)
            except TimeoutError as error:
                # Its thread comes back when the service lets it.
                if not self.away_seconds():
                    log.warning("push_service_away", service=self.name)
                self._away_until = loop.time() + PUSH_AWAY_SECONDS
                raise TryLater(None, "no answer in time") from error

    def _notify(self, outgoing: Outgoing) -> bool:
        letter = outgoing.letter
        body = f"{letter.summary} ({outgoing.booking_id})"
        return bool(self._apprise.notify(title=letter.subject, body=body))

    def close(self) -> None:
        """Wait for nobody, and begin nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)
