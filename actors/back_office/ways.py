"""Channels as an operator sets them."""

import re
from pathlib import Path

from actors.back_office.channels import Channel
from actors.back_office.mailbox import FileChannel, sender_of
from actors.back_office.providers import providers_of
from actors.back_office.push import AppriseChannel
from actors.back_office.settings import BackOfficeSettings
from actors.back_office.smtp import SmtpChannel
from engine.store.contract import EMAIL, PUSH

#: A comma that another URL follows: Apprise's URLs have commas of their own.
_NEXT_URL = re.compile(r",\s*(?=[a-z][a-z0-9+.-]*://)", re.IGNORECASE)


def channels_of(settings: BackOfficeSettings) -> dict[str, Channel]:
    """Return the channels by their names; nothing is connected before the first letter.

    Mails go into the directory while no server is named.

    Raises:
        ValueError: what is wrong with which setting, without any password.
    """
    sender = sender_of(settings.mail_from)
    mail: Channel = FileChannel(Path(settings.mail_dir), sender)
    if settings.smtp_urls.strip():
        mail = SmtpChannel(providers_of(settings.smtp_urls), sender)
    channels = {EMAIL: mail}
    if settings.notify_urls.strip():
        channels[PUSH] = AppriseChannel(_NEXT_URL.split(settings.notify_urls.strip()))
    return channels
