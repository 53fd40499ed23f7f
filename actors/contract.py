"""What the rest of the product may ask of owners, wherever they run."""

from typing import Any, Protocol

from actors.wire import Health

#: What the warden calls the payment desk, beside the ids of events.
DESK = "payments"
_BACK_OFFICE = "back-office:"


def back_office_name(place: int) -> str:
    """Return what the warden calls a process of the back office."""
    return f"{_BACK_OFFICE}{place}"


def back_office_place(name: str) -> int | None:
    """Return the place of a process of the back office, None if the name is of another."""
    return int(name.removeprefix(_BACK_OFFICE)) if name.startswith(_BACK_OFFICE) else None


class OwnerGone(Exception):
    """The owner died or could not be reached; it may or may not have decided.

    Asking again is safe: commands carry ids that tell a repeat from a new request.
    """


class Owners(Protocol):
    """The owners of all events, started on first touch."""

    async def submit(self, event_id: str, batch: bytes) -> bytes:
        """Send a batch to the owner of an event and return its reply.

        Raises:
            OwnerGone: no reply will come.
        """
        ...

    async def health(self, event_id: str) -> Health:
        """Ask an owner how it is. Raises OwnerGone."""
        ...

    async def audit(self, event_id: str) -> dict[str, Any]:
        """Compare an event's live state with its journal; see `actors.audit`.

        Raises:
            OwnerGone: the audit could not be carried out.
        """
        ...


class MortalOwners(Owners, Protocol):
    """Owners that can be killed: what the warden needs."""

    async def kill(self, health: Health) -> None:
        """End the process that `health` names, if it still is that process.

        Raises:
            OwnerGone: the order could not be carried out.
        """
        ...
