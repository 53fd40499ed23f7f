"""Ways to a reader, and what every one of them keeps to."""

from typing import Protocol

from msgspec import Struct

from engine.letters.render import Letter


class TryLater(Exception):
    """It was not taken, and may be another time.

    Arguments: seconds to wait at least, None if nobody knows; why. No personal data.
    """

    def __init__(self, seconds: float | None, reason: str) -> None:
        super().__init__(seconds, reason)
        self.seconds = seconds
        self.reason = reason


class ChannelAway(TryLater):
    """Nobody can be reached this way just now, whoever it is: not the message's fault."""


class Refused(Exception):
    """This reader can never be reached this way. Argument: why, without personal data."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Attachment(Struct, frozen=True):
    """A file that goes with a letter.

    `name` is safe in quotation marks, `media_type` may have parameters; both are ASCII.
    """

    name: str
    media_type: str
    content: bytes


class Outgoing(Struct, frozen=True):
    """A letter on its way.

    Attributes:
        dedupe_key: names it for ever: sent twice, it is the same message.
        booking_id: what it is about.
        address: of e-mail.
        letter: what is said.
        attachments: what goes with it, where the channel can carry it.
        at_ms: when it came about, Unix milliseconds.
    """

    dedupe_key: str
    booking_id: str
    address: str
    letter: Letter
    attachments: tuple[Attachment, ...]
    at_ms: int


class Channel(Protocol):
    """One way to readers; several letters at once."""

    async def send(self, outgoing: Outgoing) -> str:
        """Hand a letter over and return who took it.

        Raises:
            ChannelAway: nobody took any.
            TryLater: nobody took this one yet.
            Refused: nobody ever will.
        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
