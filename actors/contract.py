"""What the rest of the product may ask of owners, wherever they run."""

from typing import Protocol

from actors.wire import Health, LiveFacts


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

    async def live_facts(self, event_id: str) -> LiveFacts | None:
        """Ask an owner for its side of an audit, None if it is not serving. Raises OwnerGone."""
        ...


class MortalOwners(Owners, Protocol):
    """Owners that can be killed: what the warden needs."""

    async def kill(self, health: Health) -> None:
        """End the process that `health` names, if it still is that process.

        Raises:
            OwnerGone: the order could not be carried out.
        """
        ...
