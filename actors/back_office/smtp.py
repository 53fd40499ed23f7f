"""E-mail by SMTP: connections that are kept, and another provider where one is away."""

import asyncio
import re
import ssl
from collections.abc import Sequence
from contextlib import suppress
from email.headerregistry import Address

import structlog
from aiosmtplib import (
    SMTP,
    SMTPDataError,
    SMTPException,
    SMTPNotSupported,
    SMTPRecipientsRefused,
    SMTPResponseException,
    SMTPSenderRefused,
    SMTPServerDisconnected,
    SMTPTimeoutError,
)

from actors.back_office.channels import ChannelAway, Outgoing, Refused, TryLater
from actors.back_office.mailbox import Mail, compose
from actors.back_office.providers import Provider
from engine.back_office_limits import SMTP_AWAY_SECONDS, SMTP_CONNECTIONS_MAX, SMTP_TIMEOUT_SECONDS

log = structlog.get_logger(__name__)

#: The server ends the session: it is going down, or has had enough of this connection.
_CLOSING = 421
#: The mail is larger than the server takes.
_TOO_LARGE = 552
_ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}\b")
_LOGIN_FIRST = 530
#: A refusal that is about us and not about the reader (RFC 3463): no relaying, a bad name.
_POLICY = "5.7."


class _NotHere(Exception):
    """This provider will not take this letter; another one might. Argument: why."""


class SmtpChannel:
    """Sends mail through the first of its providers that takes it.

    A provider that is away is left alone for SMTP_AWAY_SECONDS. One that breaks off without
    an answer may have taken the mail: the next one gets it all the same, under the same
    Message-ID.

    Args:
        providers: at least one.
        sender: whom mails are from.

    Raises:
        ValueError: certificates that a provider is to be checked against cannot be read.
    """

    def __init__(self, providers: Sequence[Provider], sender: Address) -> None:
        self._sender = sender
        self._lines = [_Line(provider, sender) for provider in providers]

    async def send(self, outgoing: Outgoing) -> str:
        """See `Channel.send`."""
        mail = compose(outgoing, self._sender)
        refusal: str | None = None
        put_off: TryLater | None = None
        for line in self._lines:
            try:
                await line.send(mail)
            except ChannelAway:
                continue
            except TryLater as error:
                # Whoever says so has not taken it: nobody gets it twice by this.
                put_off = put_off or error
            except _NotHere as error:
                refusal = str(error)
            except Refused:
                if put_off is None:
                    raise
                break  # by whoever stands in: the one before may take it yet
            else:
                return line.provider.name
        raise put_off or self._not_taken(refusal)

    def _not_taken(self, refusal: str | None) -> Exception:
        """Return what it means that each was away or refused us, the last of these like this."""
        away = [seconds for line in self._lines if (seconds := line.away_seconds())]
        if refusal is None:
            return ChannelAway(min(away, default=SMTP_AWAY_SECONDS), "no provider can be reached")
        if not away:
            return Refused(refusal)
        return TryLater(SMTP_AWAY_SECONDS, f"{refusal}; others are away")

    async def close(self) -> None:
        """See `Channel.close`."""
        for line in self._lines:
            await line.close()


class _Line:
    """Connections to one provider, SMTP_CONNECTIONS_MAX at once."""

    def __init__(self, provider: Provider, sender: Address) -> None:
        self.provider = provider
        self._sender = sender
        self._trusted = provider.trusted()
        self._places = asyncio.Semaphore(SMTP_CONNECTIONS_MAX)
        self._idle: list[SMTP] = []
        self._away_until = 0.0

    def away_seconds(self) -> float:
        """Return how long the provider is to be left alone; 0: it is not."""
        return max(0.0, self._away_until - asyncio.get_running_loop().time())

    async def send(self, mail: Mail) -> None:
        """Hand a mail over.

        Raises:
            ChannelAway: the provider is away.
            TryLater: it does not take this mail yet.
            Refused: nobody will take it.
            _NotHere: it does not take this mail.
        """
        async with self._places:
            if self.away_seconds():
                raise ChannelAway(self.away_seconds(), "away")
            try:
                await self._send(mail)
            except (SMTPException, OSError) as error:
                meaning = _meaning(error)
                if isinstance(meaning, ChannelAway):
                    self._leave_alone(meaning.reason)
                raise meaning from error

    async def _send(self, mail: Mail) -> None:
        client = self._kept()
        if client is not None:
            try:
                await self._hand_over(client, mail)
            except (SMTPException, OSError) as error:
                if not _has_closed(error):
                    raise
                # It was kept for too long, or has carried enough: a new one will do.
            else:
                return
        await self._hand_over(await self._connect(), mail)

    def _kept(self) -> SMTP | None:
        """Return a connection that was kept, None if there is none."""
        while self._idle:
            client = self._idle.pop()
            if client.is_connected:
                return client
            client.close()
        return None

    async def _connect(self) -> SMTP:
        provider = self.provider
        client = SMTP(
            hostname=provider.host,
            port=provider.port,
            username=provider.username,
            password=provider.password,
            use_tls=provider.tls,
            start_tls=provider.starttls,
            tls_context=self._trusted,
            local_hostname=self._sender.domain,
            timeout=SMTP_TIMEOUT_SECONDS,
        )
        try:
            await client.connect()
        except BaseException:
            client.close()
            raise
        return client

    async def _hand_over(self, client: SMTP, mail: Mail) -> None:
        """Send over one connection, and keep it unless it has become useless."""
        options = ["SMTPUTF8", "BODY=8BITMIME"] if mail.international else []
        keep = False
        try:
            await client.sendmail(
                self._sender.addr_spec, [mail.recipient], mail.content, mail_options=options
            )
            keep = True
        except SMTPNotSupported as error:
            keep = True
            raise _NotHere("it takes no addresses in this script") from error
        except (SMTPRecipientsRefused, SMTPDataError) as error:
            keep = not _has_closed(error)
            raise
        finally:
            if keep and client.is_connected:
                self._idle.append(client)
            else:
                client.close()

    def _leave_alone(self, reason: str) -> None:
        if not self.away_seconds():
            log.warning("mail_provider_away", provider=self.provider.name, reason=reason)
        self._away_until = asyncio.get_running_loop().time() + SMTP_AWAY_SECONDS

    async def close(self) -> None:
        while (client := self._kept()) is not None:
            with suppress(SMTPException, OSError):
                await client.quit()
            client.close()


def _meaning(error: Exception) -> Exception:
    """Return what an error means for the letter.

    The text of an answer may name the reader: only its codes are kept.
    """
    code, text = _answer(error)
    reason = f"{code} {found.group()}" if (found := _ENHANCED.match(text)) else str(code)
    if code is None or _has_closed(error):
        return ChannelAway(None, _in_words(error) if code is None else reason)
    if isinstance(error, SMTPSenderRefused):
        if code == _TOO_LARGE:
            return Refused(reason)
        return ChannelAway(None, f"{reason} to our own address")
    if not isinstance(error, SMTPRecipientsRefused | SMTPDataError):
        return ChannelAway(None, reason)
    if 400 <= code < 500:
        return TryLater(None, reason)
    return _NotHere(reason) if _POLICY in reason or code == _LOGIN_FIRST else Refused(reason)


def _answer(error: Exception) -> tuple[int | None, str]:
    """Return the code and the text of a server's answer; None if there was none."""
    if isinstance(error, SMTPRecipientsRefused):
        error = error.recipients[0]
    if isinstance(error, SMTPResponseException) and error.code > 0:
        return error.code, error.message
    return None, ""


def _has_closed(error: Exception) -> bool:
    return isinstance(error, SMTPServerDisconnected) or _answer(error)[0] == _CLOSING


def _in_words(error: Exception) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not valid: {cause.verify_message}"
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, SMTPTimeoutError):
        return "no answer in time"
    if isinstance(error, SMTPNotSupported):
        return "it does not offer what is asked of it: STARTTLS, or to log in"
    return "no connection"
