"""What clients send, validated by pydantic; unknown fields and wrong types are refused."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Annotated, Any, Literal, Self
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_extra_types.country import CountryAlpha2
from pydantic_extra_types.currency_code import Currency

from engine.domain.commands import Item
from engine.limits import (
    BOOKING_UNITS_MAX,
    CAPACITY_MAX,
    HOLD_ITEMS_MAX,
    HOLD_TTL_SECONDS_DEFAULT,
    HOLD_TTL_SECONDS_MAX,
    HOLD_TTL_SECONDS_MIN,
    MAX_PER_BOOKING_DEFAULT,
    PAYMENT_ATTEMPTS_LIMIT,
    PAYMENT_ATTEMPTS_MAX_DEFAULT,
    PRICE_MINOR_MAX,
    QUANTITY_MAX,
    SEATS_PER_ITEM_MAX,
    TICKET_TYPES_MAX,
)
from gateway.problems import FieldError, Problem

Code = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
SeatName = Annotated[str, StringConstraints(min_length=1, max_length=64)]
SeatNames = Annotated[list[SeatName], Field(min_length=1, max_length=SEATS_PER_ITEM_MAX)]

#: One line, and several.
ONE_LINE, LINES = r"^[^\x00-\x1f\x7f]+$", r"^[^\x00-\x08\x0b-\x1f\x7f]+$"


def as_sent(pattern: str) -> BeforeValidator:
    """Return what holds a text against its pattern before blanks around it are cut off.

    So the document says: some control characters count as blanks, and would go unseen.
    """
    matches = re.compile(pattern).search

    def matched(value: object) -> object:
        if isinstance(value, str) and not matches(value):
            raise ValueError("is empty or has control characters")
        return value

    return BeforeValidator(matched)


#: It ends up in subjects of mails, on tickets and in calendars.
ShortText = Annotated[
    str,
    StringConstraints(max_length=200, strip_whitespace=True, pattern=ONE_LINE),
    as_sent(ONE_LINE),
]
Capacity = Annotated[int, Field(strict=True, ge=1, le=CAPACITY_MAX)]
Price = Annotated[int, Field(strict=True, ge=0, le=PRICE_MINOR_MAX)]


_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
#: Years that can be shown in UTC whatever the offset they were sent with.
_YEAR_MIN, _YEAR_MAX = 1971, 9998


def _written_in_full(value: object) -> object:
    # pydantic also takes numbers, and numbers in strings, for Unix times.
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise ValueError("must be a time as RFC 3339 writes it, such as 2027-03-01T19:00:00Z")
    return value


def _can_be_shown(moment: datetime) -> datetime:
    if not _YEAR_MIN <= moment.year <= _YEAR_MAX:
        raise ValueError(f"must be in a year from {_YEAR_MIN} to {_YEAR_MAX}")
    return moment


def _in_the_future(moment: datetime) -> datetime:
    if moment <= datetime.now(UTC):
        raise ValueError("must be in the future")
    return moment


@cache
def _zones() -> frozenset[str]:
    # Not zones of the IANA database, but names that some machines have.
    return frozenset(available_timezones() - {"localtime", "posixrules", "Factory"})


def _known_zone(name: str) -> str:
    if name not in _zones():
        raise ValueError("must be a time zone of the IANA database, such as Europe/Berlin")
    return name


#: A point in time, with its offset from UTC.
Moment = Annotated[AwareDatetime, BeforeValidator(_written_in_full), AfterValidator(_can_be_shown)]
TimeZone = Annotated[str, StringConstraints(max_length=64), AfterValidator(_known_zone)]


def form(**example: Any) -> ConfigDict:
    """Return the settings of a body; the example is shown in the documentation, and tried."""
    return ConfigDict(extra="forbid", json_schema_extra={"examples": [example]} if example else {})


class Body(BaseModel):
    """A body that says what it may contain, and nothing else."""

    model_config = form()


class HoldItem(Body):
    """Wanted units of one ticket type: a quantity, or named seats, or the best free seats."""

    ticket_type: Code
    quantity: Annotated[int, Field(strict=True, ge=1, le=QUANTITY_MAX)] | None = None
    seats: SeatNames | None = None
    best_available: Annotated[bool, Field(strict=True)] = False


class HoldBody(Body):
    """Body of `POST /events/{id}/holds`."""

    model_config = form(items=[{"ticket_type": "ga", "quantity": 2}])

    items: Annotated[list[HoldItem], Field(min_length=1, max_length=HOLD_ITEMS_MAX)]


class VenueBody(Body):
    """Where the doors are."""

    name: ShortText
    city: ShortText | None = None
    country: CountryAlpha2 | None = None


class SaleBody(Body):
    """When the sale opens (null: now) and closes (null: at the start)."""

    opens_at: Moment | None = None
    closes_at: Moment | None = None


class RefundPolicyBody(Body):
    """Until when a buyer may ask for money back, and how much of it."""

    until_hours_before: Annotated[int, Field(strict=True, ge=0, le=8_760)]
    percent: Annotated[int, Field(strict=True, ge=0, le=100)]


class TicketTypeBody(Body):
    """A ticket type with a stock of its own (`capacity`) or of a shared `allotment`."""

    code: Code
    name: ShortText
    price: Price
    capacity: Capacity | None = None
    allotment: Code | None = None
    seats: list[Any] | None = None
    max_per_booking: Annotated[int, Field(strict=True, ge=1, le=QUANTITY_MAX)] = (
        MAX_PER_BOOKING_DEFAULT
    )


class AllotmentBody(Body):
    """A stock that several ticket types draw on."""

    code: Code
    capacity: Capacity


class EventBody(Body):
    """Body of `POST /events`."""

    model_config = form(
        name="Night of Strings",
        starts_at="2096-03-01T19:00:00Z",
        currency="EUR",
        timezone="Europe/Berlin",
        venue={"name": "Halle 1", "city": "Berlin", "country": "DE"},
        max_per_customer=6,
        refund_policy={"until_hours_before": 48, "percent": 100},
        ticket_types=[{"code": "ga", "name": "Standing", "price": 4_500, "capacity": 5_000}],
    )

    name: ShortText
    starts_at: Annotated[Moment, AfterValidator(_in_the_future)]
    currency: Currency
    ticket_types: Annotated[list[TicketTypeBody], Field(min_length=1, max_length=TICKET_TYPES_MAX)]
    allotments: Annotated[list[AllotmentBody], Field(max_length=TICKET_TYPES_MAX)] = []
    ends_at: Moment | None = None
    doors_open_at: Moment | None = None
    timezone: TimeZone | None = None
    venue: VenueBody | None = None
    category: ShortText | None = None
    description: Annotated[str, StringConstraints(max_length=10_000)] | None = None
    entry_policy: Literal["single", "reentry"] = "single"
    hold_ttl_seconds: Annotated[
        int, Field(strict=True, ge=HOLD_TTL_SECONDS_MIN, le=HOLD_TTL_SECONDS_MAX)
    ] = HOLD_TTL_SECONDS_DEFAULT
    max_per_customer: Annotated[int, Field(strict=True, ge=1, le=CAPACITY_MAX)] | None = None
    sale: SaleBody = SaleBody()
    refund_policy: RefundPolicyBody | None = None
    capture_method: Literal["automatic", "manual"] = "automatic"
    payment_attempts_max: Annotated[int, Field(strict=True, ge=1, le=PAYMENT_ATTEMPTS_LIMIT)] = (
        PAYMENT_ATTEMPTS_MAX_DEFAULT
    )


#: A language and perhaps a country: en, de-AT.
Locale = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z]{2,3}([_-][a-zA-Z]{2,4})?$")]


class ContactBody(Body):
    """Where the buyer is reached, and in which language."""

    email: Annotated[
        str, StringConstraints(max_length=254, pattern=r"^[^@\s\x00-\x1f]+@[^@\s\x00-\x1f]+$")
    ]
    name: ShortText | None = None
    locale: Locale | None = None


class PaymentBody(Body):
    """Body of `POST /bookings/{id}/payment-intent`.

    What the contact leaves out is taken from the token. `holders` are whom the tickets are
    for, in the order of the booking's tickets.
    """

    model_config = form(contact={"email": "ann@example.org", "name": "Ann", "locale": "en"})

    contact: ContactBody | None = None
    holders: Annotated[list[ShortText], Field(max_length=QUANTITY_MAX)] = []


class RefundItem(Body):
    """Units of one ticket type to give back."""

    ticket_type: Code
    quantity: Annotated[int, Field(strict=True, ge=1, le=QUANTITY_MAX)]


class RefundBody(Body):
    """Body of `POST /bookings/{id}/refund`: without items, the whole booking."""

    model_config = form(items=[{"ticket_type": "ga", "quantity": 1}])

    items: Annotated[list[RefundItem], Field(max_length=HOLD_ITEMS_MAX)] = []


def _not_null(value: object) -> object:
    if value is None:
        raise ValueError("must not be null: leave it out to keep it as it is")
    return value


def _without_null(schema: dict[str, Any]) -> None:
    schema.update(schema.pop("anyOf")[0])
    schema.pop("default")


#: For what may be left out, and is None then, but may not be null.
_NotNull = AfterValidator(_not_null)
_NullIsNoValue = Field(json_schema_extra=_without_null)


class TicketTypePatch(Body):
    """What may change of a ticket type: the price while none is held or sold, the stock."""

    code: Code
    price: Annotated[Price | None, _NotNull, _NullIsNoValue] = None
    capacity: Annotated[Capacity | None, _NotNull, _NullIsNoValue] = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.price is None and self.capacity is None:
            raise ValueError("needs a price or a capacity")
        return self


class EventPatch(Body):
    """Body of `PATCH /events/{id}`; what is left out stays as it is."""

    model_config = form(
        sale={"closes_at": "2096-03-01T18:00:00Z"},
        ticket_types=[{"code": "ga", "capacity": 6_000}],
    )

    name: Annotated[ShortText | None, _NotNull, _NullIsNoValue] = None
    sale: Annotated[SaleBody | None, _NotNull, _NullIsNoValue] = None
    ticket_types: Annotated[list[TicketTypePatch], Field(max_length=TICKET_TYPES_MAX)] = []
    allotments: Annotated[list[AllotmentBody], Field(max_length=TICKET_TYPES_MAX)] = []


_hold_body = TypeAdapter(HoldBody)
#: Bodies of holds whose items are remembered: a megabyte or two at most.
_BODIES_REMEMBERED_MAX = 2_048
_REMEMBERED_BYTES_MAX = 256


def parse_hold(body: bytes) -> tuple[Item, ...]:
    """Return the items of a hold request.

    A crowd asks for the same few things: small bodies are parsed once.

    Raises:
        Problem: `malformed_json` or `invalid_request`, naming every wrong field.
    """
    return _items_remembered(body) if len(body) <= _REMEMBERED_BYTES_MAX else _items_of(body)


def _items_of(body: bytes) -> tuple[Item, ...]:
    try:
        hold = _hold_body.validate_json(body)
    except ValidationError as error:
        raise of_validation(error.errors(include_url=False, include_input=False)) from error
    items = []
    units = 0
    seen: set[str] = set()
    for index, item in enumerate(hold.items):
        pointer = f"/items/{index}"
        if item.ticket_type in seen:
            raise invalid(f"{pointer}/ticket_type", "names a ticket type for the second time")
        seen.add(item.ticket_type)
        if item.seats is not None:
            if item.quantity is not None or item.best_available:
                raise invalid(f"{pointer}/seats", "cannot stand beside quantity or best_available")
            if len(set(item.seats)) < len(item.seats):
                raise invalid(f"{pointer}/seats", "names a seat twice")
            items.append(Item(item.ticket_type, len(item.seats), tuple(item.seats)))
        elif item.quantity is None:
            raise invalid(f"{pointer}/quantity", "is needed where no seats are named")
        else:
            items.append(Item(item.ticket_type, item.quantity, (), item.best_available))
        units += items[-1].quantity
    if units > BOOKING_UNITS_MAX:
        raise invalid("/items", f"asks for more than {BOOKING_UNITS_MAX} units")
    return tuple(items)


_items_remembered = lru_cache(maxsize=_BODIES_REMEMBERED_MAX)(_items_of)


def invalid(pointer: str, message: str) -> Problem:
    """Return the problem of one wrong field."""
    return Problem("invalid_request", f"{pointer} {message}.", (FieldError(pointer, message),))


def of_validation(errors: Sequence[ErrorDetails]) -> Problem:
    """Return the problem that names every field pydantic found wrong."""
    if errors[0]["type"] == "json_invalid":
        message = errors[0]["msg"]
        return Problem("malformed_json", message, (FieldError("", message),))
    fields = tuple(
        FieldError(_pointer(error["loc"]), error["msg"].removeprefix("Value error, "))
        for error in errors[:20]
    )
    return Problem("invalid_request", f"{fields[0].pointer}: {fields[0].message}.", fields)


def _pointer(location: tuple[int | str, ...]) -> str:
    """Return a JSON pointer (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in location)
