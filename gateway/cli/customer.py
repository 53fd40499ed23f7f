"""`onsale customer`: find the bookings of an address, and forget whose a booking is."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer

from engine.domain.ids import is_booking_id
from engine.journal.connect import connect
from engine.journal.contacts import Contacts
from engine.journal.contract import Unavailable
from engine.store.contract import BackOffice, StoreAway, TicketChange
from gateway.cli.at_rest import store_url
from gateway.cli.console import cannot_start, fail, people, read_settings
from gateway.cli.surroundings import CannotStart
from gateway.views import rfc3339

_Answer = TypeVar("_Answer")

app = typer.Typer(no_args_is_help=True, help="Find and forget personal data.")


def _checked(booking_id: str) -> str:
    if not is_booking_id(booking_id):
        raise typer.BadParameter("a booking's id is bk_ and 28 characters")
    return booking_id


@app.command()
def find(
    email: Annotated[str, typer.Argument(help="Address, with any capitals.")],
    *,
    trail: Annotated[
        bool, typer.Option("--trail", help="Say what became of each ticket, when, and by what.")
    ] = False,
) -> None:
    """List the bookings of an address, newest first, one id a line."""

    async def look(store: BackOffice, _contacts: Contacts) -> dict[str, list[TicketChange]]:
        found = await store.bookings_of(email)
        return {one: await store.trail(one) if trail else [] for one in found}

    found = _with_books(look)
    for booking_id, lines in found.items():
        typer.echo(booking_id)
        for line in sorted(lines, key=lambda one: one.ticket_id):
            step = f"{line.status:6} {line.cause} #{line.sequence}"
            typer.echo(f"  {line.ticket_id} {rfc3339(line.at_ms)} {step}")
    if not found:
        people.print("No bookings of this address.")


@app.command()
def forget(
    booking_id: Annotated[str, typer.Argument(callback=_checked, help="Whose buyer is forgotten.")],
) -> None:
    """Erase address and names of a booking; its tickets go on to admit."""

    async def erase(store: BackOffice, contacts: Contacts) -> bool:
        await contacts.forget(booking_id)
        return await store.forget(booking_id)

    known = _with_books(erase)
    people.print("Forgotten." if known else "Nothing was known.")


def _with_books(ask: Callable[[BackOffice, Contacts], Awaitable[_Answer]]) -> _Answer:
    from engine.store.sql import open_store  # noqa: PLC0415 - slow to import, and seldom used
    from engine.store.vault import Vault  # noqa: PLC0415
    from gateway.cli.office import back_office  # noqa: PLC0415

    settings = read_settings()
    with store_url(settings) as redis_url:
        try:
            office = back_office(settings, redis_url)
        except CannotStart as error:
            raise cannot_start(error) from error

        async def run() -> _Answer:
            store = open_store(office.database_url, Vault(office.data_keys))
            client = connect(redis_url)
            try:
                await store.migrate()
                return await ask(store, Contacts(client))
            finally:
                await store.close()
                await client.aclose()

        try:
            return asyncio.run(run())
        except StoreAway as error:
            raise fail(f"the database does not answer ({error})") from error
        except Unavailable as error:
            raise fail(f"the store does not answer ({error})") from error
