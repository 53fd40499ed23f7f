"""What is printed on one ticket."""

from msgspec import Struct


class Sheet(Struct, frozen=True):
    """One ticket as it is printed.

    Args:
        number: what people read to each other.
        payload: of the code.
        kind: name of the ticket type.
        seat: None where units are only counted.
        holder: whose it is, where somebody was named.
    """

    number: str
    payload: str
    kind: str
    seat: str | None = None
    holder: str | None = None
