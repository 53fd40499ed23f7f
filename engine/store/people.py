"""Contacts of buyers: sealed, found by the hash of their address, and forgotten on demand."""

from collections.abc import Sequence

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.store.contract import Contact
from engine.store.rows import Row, insert
from engine.store.schema import contacts
from engine.store.vault import Vault


def rows_of(vault: Vault, sealed_contacts: Sequence[tuple[str, bytes]]) -> list[Row]:
    """Return what is stored of contacts that were sealed elsewhere, under the newest key.

    Raises:
        NoKeyOpens: they were sealed with a key that this process does not have (yet).
    """
    return [
        {
            "booking_id": booking_id,
            "sealed_s": vault.sealed_s(sealed),
            **_under_newest_key(vault, sealed),
        }
        for booking_id, sealed in sealed_contacts
    ]


async def put(connection: AsyncConnection, rows: Sequence[Row]) -> None:
    """Write contacts over those that were sealed earlier, and over none that was forgotten."""
    if not rows:
        return
    statement = insert(connection, contacts)
    new = statement.excluded
    statement = statement.on_conflict_do_update(
        index_elements=["booking_id"],
        set_={name: new[name] for name in ("blind", "key_id", "sealed", "sealed_s")},
        where=contacts.c.sealed.is_not(None) & (contacts.c.sealed_s <= new.sealed_s),
    )
    await connection.execute(statement, rows)


async def of_bookings(
    connection: AsyncConnection, vault: Vault, booking_ids: Sequence[str]
) -> dict[str, Contact]:
    """Return the contacts of these bookings, as far as they have one."""
    found = await connection.execute(
        select(contacts.c.booking_id, contacts.c.sealed).where(
            contacts.c.booking_id.in_(booking_ids), contacts.c.sealed.is_not(None)
        )
    )
    return {booking_id: vault.open_contact(sealed) for booking_id, sealed in found}


async def reachable(connection: AsyncConnection, booking_ids: Sequence[str]) -> set[str]:
    """Return those of these bookings that have a contact, whether or not it can be opened."""
    found = await connection.scalars(
        select(contacts.c.booking_id).where(
            contacts.c.booking_id.in_(booking_ids), contacts.c.sealed.is_not(None)
        )
    )
    return set(found)


async def bookings_of(connection: AsyncConnection, vault: Vault, email: str) -> list[str]:
    """Return the bookings of an address, newest first."""
    found = await connection.scalars(
        select(contacts.c.booking_id)
        .where(contacts.c.blind.in_(vault.blinds(email)))
        .order_by(contacts.c.contact_id.desc())
    )
    return list(found)


async def forget(connection: AsyncConnection, booking_id: str) -> bool:
    """Erase a contact but for the mark that it was there; tell whether it was."""
    done = await connection.execute(
        update(contacts)
        .where(contacts.c.booking_id == booking_id, contacts.c.sealed.is_not(None))
        .values(blind=None, key_id=None, sealed=None)
    )
    return done.rowcount > 0


async def reseal(connection: AsyncConnection, vault: Vault, limit: int) -> int:
    """Seal contacts of older keys with the newest; return how many there were, 0: none is left.

    Those of a key that is not in the vault are left as they are.
    """
    older = vault.key_ids[1:]
    if not older:
        return 0
    found = await connection.execute(
        select(contacts.c.contact_id, contacts.c.sealed)
        .where(contacts.c.key_id.in_(older))
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    rows = found.all()
    for contact_id, sealed in rows:
        await connection.execute(
            update(contacts)
            .where(contacts.c.contact_id == contact_id)
            .values(_under_newest_key(vault, sealed))
        )
    return len(rows)


def _under_newest_key(vault: Vault, sealed: bytes) -> Row:
    return {
        "sealed": vault.renewed(sealed),
        "key_id": vault.key_ids[0],
        "blind": vault.blind(vault.open_contact(sealed).email),
    }
