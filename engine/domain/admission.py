"""What has happened to a ticket at the doors; part of its booking."""

from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from engine.limits import PASSAGES_KEPT_MAX


class DoorReason(StrEnum):
    """Why a scan admitted nobody, in the order in which the reasons win."""

    #: No ticket of ours, whatever it looks like.
    FORGED = "forged"
    #: A ticket, but for another event.
    WRONG_EVENT = "wrong_event"
    #: Its booking was never paid for.
    UNPAID = "unpaid"
    #: It was refunded or disputed, or the event is cancelled.
    VOID = "void"
    #: The doors are still closed.
    NOT_YET = "not_yet"
    #: Its holder is inside, or has been and may not come back.
    ALREADY_USED = "already_used"
    #: Nobody can go out who is not in.
    NOT_INSIDE = "not_inside"


class Passage(Struct, frozen=True, array_like=True, gc=False):
    """A ticket's way through a door: in (`entry`) or out.

    `scan_id` names the scan, `inside` is how many people were inside afterwards, `void`
    whether the ticket was so already: its holder may still leave.
    """

    scan_id: str
    entry: bool
    at_ms: int
    gate: str
    inside: int
    void: bool = False


class Admission(Struct, frozen=True, array_like=True, gc=False):
    """The passages of the ticket at `place` of its booking, oldest first; never empty.

    In and out take turns. The first is kept for ever, of the later ones the last, so that
    there are at most PASSAGES_KEPT_MAX in all.
    """

    place: int
    passages: tuple[Passage, ...]

    @property
    def inside(self) -> bool:
        """Whether its holder is inside."""
        return self.passages[-1].entry

    def passed(self, passage: Passage) -> "Admission":
        """Return the admission with one more passage."""
        kept = self.passages
        if len(kept) == PASSAGES_KEPT_MAX:
            # Out and in again: what is left still takes turns, also when it is undone.
            kept = kept[:1] + kept[3:]
        return replace(self, passages=(*kept, passage))


class Scanned(Struct, frozen=True, array_like=True, gc=False):
    """What was said at the door of one scan, or of a passage that was taken back.

    `reason` is a `DoorReason`, '' if it was admitted; the ticket's fields are '' where the
    code named none of this event. `first_at_ms` is when it was first used, before this scan.
    """

    scan_id: str
    admitted: bool
    reason: str = ""
    ticket_id: str = ""
    ticket_type: str = ""
    seat: str = ""
    status: str = ""
    first_at_ms: int = 0
    first_gate: str = ""
    inside: int = 0
