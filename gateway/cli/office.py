"""What the back office needs to know, from the settings.

Slow to import, as a database's library is: commands that need it import it when they do.
"""

import asyncio

from pydantic import SecretStr

from actors.back_office.settings import BackOfficeSettings
from actors.back_office.ways import channels_of
from engine.journal.connect import connect
from engine.journal.contract import Unavailable
from engine.journal.offices import Offices
from engine.store.connect import default_url, driver_url
from gateway.auth import derive_key
from gateway.cli.surroundings import CannotStart
from gateway.settings import Settings


def back_office(settings: Settings, redis_url: str) -> BackOfficeSettings:
    """Return what the back office needs to know.

    Raises:
        CannotStart: a URL of its surroundings cannot be read.
    """
    url = settings.database_url
    database_url = default_url(settings.data_dir) if url is None else url.get_secret_value()
    try:
        driver_url(database_url)
    except ValueError as error:
        raise CannotStart(f"ONSALE_DATABASE_URL: {error}", "Correct it, or unset it.") from error
    back_office = BackOfficeSettings(
        redis_url,
        database_url,
        tuple(derive_key(secret, "personal data") for secret in settings.data_secrets),
        tuple(derive_key(secret, "ticket codes") for secret in settings.ticket_secrets),
        derive_key(settings.auth_secret.get_secret_value(), "ticket numbers"),
        str(settings.data_dir.resolve() / "mail"),
        _secret(settings.smtp_url),
        settings.mail_from,
        _secret(settings.notify_urls),
        settings.webhook_private_targets == "allow",
    )
    try:
        channels_of(back_office)
    except ValueError as error:
        raise CannotStart(str(error), "Correct the setting, or unset it.") from error
    return back_office


def set_count(count: int, redis_url: str) -> None:
    """Have so many back offices from now on, also where others are at work already.

    Raises:
        CannotStart: the store does not answer.
    """

    async def tell() -> None:
        async with connect(redis_url) as client:
            await Offices(client).set_count(count)

    try:
        asyncio.run(tell())
    except Unavailable as error:
        raise CannotStart(f"the store does not answer: {error}", "See Redis.") from error


def _secret(text: SecretStr | None) -> str:
    return "" if text is None else text.get_secret_value()
