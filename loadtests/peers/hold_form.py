"""The body of a hold and the form of its answer, as any FastAPI application would write them.

The peers validate and answer what our own route does, so that the comparison is one of
ways to a durable hold and not of bodies.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Code = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]


class HoldItem(BaseModel):
    """Wanted units of one ticket type."""

    model_config = ConfigDict(extra="forbid")

    ticket_type: Code
    quantity: Annotated[int, Field(strict=True, ge=1, le=1_000)] | None = None
    seats: list[str] | None = None
    best_available: bool = False


class HoldBody(BaseModel):
    """What a buyer sends."""

    model_config = ConfigDict(extra="forbid")

    items: Annotated[list[HoldItem], Field(min_length=1, max_length=50)]


class Money(BaseModel):
    """An amount in minor units."""

    amount: int
    currency: str


class HeldItem(BaseModel):
    """Units of one ticket type at the price frozen for them."""

    ticket_type: str
    quantity: int
    seats: list[str]
    unit_price: int


class Moment(BaseModel):
    """When a booking came into a state."""

    status: str
    at: str


class Booking(BaseModel):
    """What a buyer gets."""

    id: str
    event_id: str
    customer: str
    status: str
    items: list[HeldItem]
    total: Money
    expires_at: str
    server_time: str
    sequence: int
    tickets: list[str]
    history: list[Moment]
