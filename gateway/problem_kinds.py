"""The table of every error that a client can get: its status, its name, and what to do."""

from typing import NamedTuple

from engine.domain.outcomes import Refusal


class Kind(NamedTuple):
    """What is the same for every occurrence of a problem."""

    status: int
    title: str
    retryable: bool = False
    #: What whoever meets it can do, or has to know: a sentence or two.
    advice: str = ""


#: Codes of refusals are those of the rules; a test says that none is missing.
KINDS: dict[str, Kind] = {
    Refusal.EVENT_NOT_FOUND: Kind(
        404,
        "No such event",
        advice="Check the id: it is of no event, or of one that is not yours to manage.",
    ),
    Refusal.BOOKING_NOT_FOUND: Kind(
        404,
        "No such booking",
        advice="Check the id and the token: it is of no booking, or of somebody else's.",
    ),
    Refusal.IDEMPOTENCY_KEY_REUSED: Kind(
        422,
        "This idempotency key was used for another request",
        advice="Use a new key for every new request, the same key only to repeat one.",
    ),
    Refusal.SALE_PAUSED: Kind(
        409,
        "The sale is paused",
        advice="Its organizer has paused the sale and may resume it: try again later.",
    ),
    Refusal.SALE_NOT_OPEN: Kind(
        409,
        "The sale has not opened yet",
        advice="The event says when its sale opens: come back then.",
    ),
    Refusal.SALE_CLOSED: Kind(
        409,
        "The sale is over",
        advice="Nothing is sold any more: the event says when its sale has closed.",
    ),
    Refusal.UNKNOWN_TICKET_TYPE: Kind(
        422,
        "The event has no such ticket type",
        advice="Use a code that the event lists among its ticket types.",
    ),
    Refusal.UNKNOWN_SEAT: Kind(
        422,
        "The event has no such seat",
        advice="Ask for a quantity: the event has no such seat, or sells none by name.",
    ),
    Refusal.LIMIT_PER_BOOKING: Kind(
        409,
        "More than one booking may have",
        advice="Ask for fewer: the limit stands in the answer.",
    ),
    Refusal.LIMIT_PER_CUSTOMER: Kind(
        409,
        "More than one customer may have",
        advice="Ask for fewer, or release a hold: the limit stands in the answer.",
    ),
    Refusal.SOLD_OUT: Kind(
        409,
        "Sold out",
        advice="Nothing is free and nothing is held: it will not come back soon.",
    ),
    Refusal.NOT_ENOUGH: Kind(
        409,
        "Not enough left",
        advice="Holds may expire: it may come back.",
    ),
    Refusal.SEAT_TAKEN: Kind(
        409,
        "A seat is taken",
        advice="Choose other seats: those that are taken stand in the answer.",
    ),
    Refusal.EVENT_CANCELLED: Kind(
        409,
        "The event is cancelled",
        advice="Nothing can be bought or changed any more; what was paid is refunded.",
    ),
    Refusal.NOT_PAYABLE: Kind(
        409,
        "The booking cannot be paid any more",
        advice="Read the booking: it is paid, has expired or was released.",
    ),
    Refusal.PAYMENT_MISMATCH: Kind(
        409,
        "The payment does not belong to the booking",
        advice="Read the booking: its payment is another one, or another amount.",
    ),
    Refusal.REFUND_NOT_ALLOWED: Kind(
        409,
        "The booking cannot be refunded now",
        advice="Read the booking and the event's refund policy: they say until when, and of what.",
    ),
    Refusal.NOT_RELEASABLE: Kind(
        409,
        "Only an unpaid hold can be released",
        advice="Read the booking: what is paid is refunded, not released.",
    ),
    Refusal.UNKNOWN_ALLOTMENT: Kind(
        422,
        "The event has no such allotment",
        advice="Use a code of the event's allotments, or of a ticket type with its own.",
    ),
    Refusal.SALE_WINDOW_INVALID: Kind(
        422,
        "The sale would close before it opens",
        advice="Have the sale open before it closes, and before the event starts.",
    ),
    Refusal.PRICE_COMMITTED: Kind(
        409,
        "The price of a type that was held or sold is fixed",
        advice="Change the prices of other types only: somebody has this one's already.",
    ),
    Refusal.BELOW_COMMITTED: Kind(
        409,
        "The capacity would be below what is held and sold",
        advice="Ask for no less than the limit in the answer, or wait until holds have ended.",
    ),
    Refusal.TICKET_NOT_FOUND: Kind(
        404, "No such ticket", advice="Check the id: it is of no ticket of this event."
    ),
    Refusal.NOT_ADMITTED: Kind(
        409,
        "Nobody was admitted with this ticket",
        advice="There is nothing to take back: the log of scans says what has happened.",
    ),
    "ticket_void": Kind(
        409,
        "The ticket is void",
        advice="It was given back or taken back, or the event is cancelled: it admits nobody.",
    ),
    "too_many_tickets": Kind(
        409,
        "Too many tickets for one document",
        advice="Ask for the tickets one by one.",
    ),
    "not_issued": Kind(
        409,
        "The booking has no tickets yet",
        advice="Tickets are issued when the booking is confirmed.",
    ),
    "overloaded": Kind(
        503,
        "Too much at once",
        retryable=True,
        advice="Nothing was decided. Try again shortly.",
    ),
    "sales_stopped": Kind(
        503,
        "All sales are stopped by an operator",
        retryable=True,
        advice="Nothing was decided. What is held already can still be paid.",
    ),
    "throttled": Kind(
        503,
        "An operator lets only so many holds through",
        retryable=True,
        advice="Nothing was decided. Try again after the time in Retry-After.",
    ),
    "recovering": Kind(
        503,
        "The event's owner is restarting",
        retryable=True,
        advice="Repeat the request with the same idempotency key: it is carried out once.",
    ),
    "event_halted": Kind(
        503,
        "The event is halted until an operator has looked at it",
        advice="See the runbook of the operator: the event's journal is damaged.",
    ),
    "payments_unavailable": Kind(
        503,
        "The payment service does not answer",
        retryable=True,
        advice="The hold stays. Repeat the request: there is one payment for each booking.",
    ),
    "payment_refused": Kind(
        409,
        "The payment service refuses this payment",
        advice="Nothing was paid. Stripe's reason is in the answer; ask an operator.",
    ),
    "bad_signature": Kind(
        400,
        "The webhook's signature is not valid",
        advice="Sign with the secret of this webhook endpoint, and keep the clock right.",
    ),
    "bad_webhook": Kind(
        400,
        "The webhook cannot be read",
        advice="Only what Stripe sends is read here: see the version of its API.",
    ),
    "webhook_endpoint_not_found": Kind(
        404,
        "No such webhook endpoint",
        advice="Check the id: it is of no endpoint, or of somebody else's.",
    ),
    "webhook_not_found": Kind(
        404,
        "No such webhook to this endpoint",
        advice="Check the id: it was never sent to this endpoint, or longer than thirty days ago.",
    ),
    "webhook_endpoint_disabled": Kind(
        409,
        "Nothing is sent to this endpoint any more",
        advice="It answered 410 Gone. Remove it, and register it again.",
    ),
    "too_many_webhook_endpoints": Kind(
        409,
        "Too many webhook endpoints",
        advice="Remove one that is not needed any more.",
    ),
    "no_contact": Kind(
        409,
        "No address is known for this booking",
        advice="It is given with the payment, or stands in the buyer's token.",
    ),
    "back_office_unavailable": Kind(
        503,
        "The back office does not answer",
        retryable=True,
        advice="Sales and doors go on without it. Try again shortly.",
    ),
    "store_unavailable": Kind(
        503,
        "The store does not answer",
        retryable=True,
        advice="It is not your request. Try again shortly, with the same idempotency key.",
    ),
    "not_ready": Kind(
        503,
        "Not ready",
        retryable=True,
        advice="The answer says what is missing; it is asked for again each time.",
    ),
    "rate_limited": Kind(
        429,
        "Too many requests",
        retryable=True,
        advice="Slow down, and try again after the time in Retry-After.",
    ),
    "unauthenticated": Kind(
        401,
        "Authentication is needed",
        advice="Send a valid token that has not expired: Authorization: Bearer and the token.",
    ),
    "forbidden": Kind(
        403,
        "Not with this role",
        advice="Use a token of a role that may: the documentation names them for each operation.",
    ),
    "not_found": Kind(
        404,
        "Nothing here",
        advice="Check the path: the documentation at /docs lists all there are.",
    ),
    "method_not_allowed": Kind(
        405, "Not with this method", advice="Use a method that the Allow header names."
    ),
    "invalid_request": Kind(
        422,
        "The request is not valid",
        advice="Correct the fields that errors names, each by its JSON pointer.",
    ),
    "malformed_json": Kind(400, "The body is not JSON", advice="Send a JSON document in UTF-8."),
    "invalid_idempotency_key": Kind(
        400,
        "The idempotency key is not usable",
        advice="Use 1 to 255 printable ASCII characters, quoted or bare.",
    ),
    "body_too_large": Kind(
        413, "The body is too large", advice="Send less at once: the limit stands in the answer."
    ),
    "malformed_request": Kind(
        400,
        "The request is not HTTP",
        advice="Something between you and us has damaged it, or it was never HTTP/1.1.",
    ),
    "request_timeout": Kind(
        408,
        "The request did not come in time",
        retryable=True,
        advice="Nothing was done: it was not read whole. Send it again, at once.",
    ),
    "headers_too_large": Kind(
        431,
        "The headers are too large",
        advice="Send fewer or shorter ones: a token and a few headers take a few KiB.",
    ),
    "internal_error": Kind(
        500,
        "An error of ours",
        advice="It is not your request. Repeat it with its key, or tell an operator its id.",
    ),
}
