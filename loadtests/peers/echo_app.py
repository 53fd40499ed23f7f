"""The peer that does nothing: an ordinary FastAPI route that validates and echoes.

No token, no decision, no store: what a hold would cost if everything but the framework
were free. See `ceilings`.
"""

from fastapi import FastAPI

from loadtests.peers.hold_form import Booking, HeldItem, HoldBody, Moment, Money

_NOW = "2027-03-01T19:00:00.000Z"
_PRICE_MINOR = 4_500

app = FastAPI()


@app.post("/api/v1/events/{event_id}/holds", status_code=201, response_model=Booking)
async def place_hold(event_id: str, body: HoldBody) -> Booking:
    """Answer as if the hold had been placed."""
    items = [
        HeldItem(
            ticket_type=item.ticket_type,
            quantity=item.quantity or 0,
            seats=item.seats or [],
            unit_price=_PRICE_MINOR,
        )
        for item in body.items
    ]
    amount = sum(item.quantity * item.unit_price for item in items)
    return Booking(
        id="bk_0000000000000000000000000000",
        event_id=event_id,
        customer="buyer-1",
        status="RESERVED",
        items=items,
        total=Money(amount=amount, currency="EUR"),
        expires_at=_NOW,
        server_time=_NOW,
        sequence=1,
        tickets=[],
        history=[Moment(status="RESERVED", at=_NOW)],
    )
