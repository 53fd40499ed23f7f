"""What the back office needs to know."""

from msgspec import Struct


class BackOfficeSettings(Struct, frozen=True):
    """The same in every gateway of a deployment, for every process of the back office.

    How many of these there are is none of their business: see `engine.journal.offices`.

    Args:
        redis_url: of the journals and effects.
        database_url: of the books; see `engine.store.connect`.
        data_keys: of personal data, 32 bytes each, the newest first.
        seal_keys: of ticket codes, the newest first.
        number_key: makes the readable numbers of tickets.
        mail_dir: where mails are written while there is no `smtp_urls`.
        smtp_urls: of mail servers, the preferred first, separated by commas; '' for none.
        mail_from: sender of mails.
        notify_urls: of other channels, as Apprise writes them, separated by commas.
        private_targets: whether webhooks may go to private addresses.
    """

    redis_url: str
    database_url: str
    data_keys: tuple[bytes, ...]
    seal_keys: tuple[bytes, ...]
    number_key: bytes
    mail_dir: str
    smtp_urls: str = ""
    mail_from: str = "tickets@localhost"
    notify_urls: str = ""
    private_targets: bool = False
