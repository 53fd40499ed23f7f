"""What the back office promises of people and tickets, in every database."""

import asyncio

import pytest
from msgspec.structs import replace

from engine.domain.tickets import ticket_id
from engine.store.contract import Contact, StoredTicket, TicketChange, Writes
from engine.store.schema import contacts
from engine.store.sql import SqlBackOffice
from engine.store.vault import NoKeyOpens, Vault
from tests.contract.store_rigs import NEW_SECRET, OLD_SECRET, SqliteRig, StoreRig
from tests.samples import EVENT_ID, NOW_MS, booking_id, event

OTHER_EVENT = "evt_0000000000bb"
ANN = Contact("Ann.Önal@example.org", "Ann Önal", "de-AT", ("Ann Önal", "Zoë Quince"))
BOB = Contact("bob@example.org")


def ticket(number: int, place: int = 0, event_id: str = EVENT_ID, **changes) -> StoredTicket:
    booking = booking_id(number, event_id)
    one = StoredTicket(
        ticket_id(booking, place),
        booking,
        event_id,
        "ann",
        f"AB{number}-{place}",
        "ga",
        None,
        "ACTIVE",
        number,
        NOW_MS + number,
    )
    return replace(one, **changes)


def change(one: StoredTicket, cause: str = "confirmed") -> TicketChange:
    return TicketChange(one.ticket_id, one.status, cause, one.sequence, one.at_ms)


async def opened(rig: StoreRig, *secrets: bytes) -> SqlBackOffice:
    store = rig.store(*secrets)
    await store.migrate()
    return store


async def keep(store: SqlBackOffice, vault: Vault, number: int, contact: Contact) -> None:
    await store.write(Writes(contacts=[(booking_id(number), vault.seal_contact(contact))]))


# -- tickets ---------------------------------------------------------------------------


async def test_what_is_written_is_read_back(store_rig: StoreRig) -> None:
    store = await opened(store_rig)
    seated = ticket(1, 1, ticket_type="vip", seat="Loge/Ä-1")
    await store.write(Writes(events=[(event(), 4)], tickets=[seated, ticket(1), ticket(2)]))
    again = store_rig.store()
    assert await again.event(EVENT_ID) == event()
    assert await again.tickets(booking_id(1)) == [ticket(1), seated]
    assert await again.tickets(booking_id(2)) == [ticket(2)]


async def test_nothing_is_there_before_it_is_written(store_rig: StoreRig) -> None:
    store = await opened(store_rig)
    await store.write(Writes())
    assert await store.event(EVENT_ID) is None
    assert await store.tickets(booking_id(1)) == []
    assert await store.trail(booking_id(1)) == []
    assert await store.changes([]) == []
    assert await store.reachable([]) == set()
    assert await store.contact(booking_id(1)) is None
    assert await store.contacts([]) == {}
    assert await store.manifest(EVENT_ID, 0, None, 10) == []
    assert await store.holders(EVENT_ID, None, 10) == []


async def test_only_what_is_newer_is_written_over_a_ticket(store_rig: StoreRig) -> None:
    store = await opened(store_rig)
    for sequence, status in [(5, "ACTIVE"), (4, "USED"), (5, "USED"), (6, "VOID"), (5, "ACTIVE")]:
        one = ticket(1, status=status, sequence=sequence, customer=f"at {sequence}")
        await store.write(Writes(tickets=[one]))
    assert await store.tickets(booking_id(1)) == [
        ticket(1, status="VOID", sequence=6, customer="at 6")
    ]


async def test_of_several_in_one_write_the_newest_stays(store_rig: StoreRig) -> None:
    store = await opened(store_rig)
    rows = [ticket(1, sequence=sequence) for sequence in (2, 9, 3)]
    events = [(event(name=f"at {sequence}"), sequence) for sequence in (2, 9, 3)]
    await store.write(Writes(tickets=rows, events=events))
    assert await store.tickets(booking_id(1)) == [ticket(1, sequence=9)]
    assert await store.event(EVENT_ID) == event(name="at 9")


async def test_only_what_is_newer_is_written_over_an_event(store_rig: StoreRig) -> None:
    store = await opened(store_rig)
    for sequence in (3, 1, 3, 4, 2):
        await store.write(Writes(events=[(event(name=f"at {sequence}"), sequence)]))
    assert await store.event(EVENT_ID) == event(name="at 4")


async def test_what_became_of_tickets_is_kept_once_and_in_order(store_rig: StoreRig) -> None:
    store = await opened(store_rig)
    first = change(ticket(1))
    second = change(ticket(1, 1))
    voided = change(ticket(1, status="VOID", sequence=7), "refund_wanted")
    await store.write(Writes(tickets=[ticket(1)], changes=[voided]))
    for _ in range(2):
        await store.write(Writes(changes=[first, second, change(ticket(2)), change(ticket(3))]))
    assert await store.trail(booking_id(1)) == [first, second, voided]
    both = await store.changes([booking_id(1), booking_id(2)])
    assert both == [first, second, change(ticket(2)), voided]


async def test_a_write_is_all_or_nothing(store_rig: StoreRig) -> None:
    store = await opened(store_rig)
    broken = ticket(2, status=None)  # the schema allows no such thing
    with pytest.raises(Exception, match=r"(?i)null"):
        await store.write(Writes(events=[(event(), 1)], tickets=[ticket(1), broken]))
    assert await store.event(EVENT_ID) is None
    assert await store.tickets(booking_id(1)) == []


async def test_tickets_are_paged_in_order_of_id(store_rig: StoreRig) -> None:
    store = await opened(store_rig)
    mine = [ticket(number, place) for number in (1, 2, 3) for place in (0, 9, 10, 31, 32)]
    await store.write(Writes(tickets=[*reversed(mine), ticket(1, event_id=OTHER_EVENT)]))
    for since in (0, 1):
        expected = [one for one in mine if one.sequence > since]
        assert expected == sorted(expected, key=lambda one: one.ticket_id)
        seen, after = [], None
        while page := await store.manifest(EVENT_ID, since, after, 4):
            assert len(page) <= 4
            seen += page
            after = page[-1].ticket_id
        assert seen == expected


async def test_holders_are_paged_and_named_once(store_rig: StoreRig) -> None:
    store = await opened(store_rig)
    for number in (1, 2, 3, 4, 9):
        await keep(store, Vault((NEW_SECRET,)), number, ANN)
    rows = [ticket(number, place) for number in (3, 1, 2) for place in (0, 1)]
    rows.append(ticket(4, status="VOID"))
    await store.write(Writes(tickets=[*rows, ticket(9, event_id=OTHER_EVENT)]))
    assert await store.holders(EVENT_ID, None, 3) == [booking_id(1), booking_id(2), booking_id(3)]
    assert await store.holders(EVENT_ID, booking_id(3), 3) == [booking_id(4)]
    assert await store.holders(EVENT_ID, booking_id(4), 3) == []


async def test_holders_can_be_written_to_and_nobody_opens_what_is_sealed(
    store_rig: StoreRig,
) -> None:
    """Whose contact is damaged keeps nobody else from being told."""
    store = await opened(store_rig)
    await store.write(Writes(tickets=[ticket(number) for number in range(1, 6)]))
    for number in (1, 2, 3, 5):
        await keep(store, Vault((NEW_SECRET,)), number, BOB)
    async with store.database.writing() as connection:
        damaged = contacts.update().where(contacts.c.booking_id == booking_id(2))
        await connection.execute(damaged.values(sealed=b"damaged"))
    await store.forget(booking_id(3))
    able = [booking_id(1), booking_id(2), booking_id(5)]
    assert await store.holders(EVENT_ID, None, 10) == able
    assert await store.reachable([booking_id(number) for number in range(1, 6)]) == set(able)
    with pytest.raises(NoKeyOpens):
        await store.contact(booking_id(2))


async def test_how_far_the_tickets_of_an_event_are_entered(store_rig: StoreRig) -> None:
    store = await opened(store_rig)
    assert await store.entered(EVENT_ID) == 0
    elsewhere = ticket(99, event_id=OTHER_EVENT)
    await store.write(Writes(tickets=[ticket(7), ticket(30), ticket(4), elsewhere]))
    assert await store.entered(EVENT_ID) == 30
    await store.write(Writes(void_events=[(EVENT_ID, 40, NOW_MS)]))
    assert await store.entered(EVENT_ID) == 40


# -- called-off events -----------------------------------------------------------------


async def test_a_cancelled_event_voids_what_was_written_before(store_rig: StoreRig) -> None:
    store = await opened(store_rig)
    used, refunded = ticket(2, status="USED"), ticket(3, status="VOID")
    others = ticket(4, event_id=OTHER_EVENT)
    later = ticket(5, sequence=30)
    rows = [ticket(1), used, refunded, others, later]
    lines = [change(one) for one in rows]
    await store.write(Writes(tickets=rows, changes=lines))
    for _ in range(2):
        await store.write(Writes(void_events=[(EVENT_ID, 20, NOW_MS + 99)]))
    voided = {"status": "VOID", "sequence": 20, "at_ms": NOW_MS + 99}
    assert await store.manifest(EVENT_ID, 0, None, 10) == [
        ticket(1, **voided),
        ticket(2, **voided),
        refunded,
        later,
    ]
    assert await store.tickets(booking_id(1)) == [ticket(1, **voided)]
    assert await store.tickets(others.booking_id) == [others]
    assert await store.trail(booking_id(2)) == [
        change(used),
        change(ticket(2, **voided), "cancelled"),
    ]
    assert await store.trail(booking_id(3)) == [change(refunded)]
    assert await store.trail(booking_id(5)) == [change(later)]
    assert await store.trail(others.booking_id) == [change(others)]


async def test_a_manifest_tells_of_the_end_whoever_knows_what_was_before(
    store_rig: StoreRig,
) -> None:
    store = await opened(store_rig)
    refunded, later = ticket(3, status="VOID"), ticket(5, sequence=30)
    await store.write(Writes(tickets=[ticket(1), ticket(2, status="USED"), refunded, later]))
    await store.write(Writes(void_events=[(EVENT_ID, 20, NOW_MS)]))
    voided = {"status": "VOID", "sequence": 20, "at_ms": NOW_MS}
    first, second = ticket(1, **voided), ticket(2, **voided)
    for since, expected in [
        (2, [first, second, refunded, later]),
        (3, [first, second, later]),
        (19, [first, second, later]),
        (20, [later]),
        (30, []),
    ]:
        assert await store.manifest(EVENT_ID, since, None, 10) == expected, since
    assert await store.manifest(EVENT_ID, 19, first.ticket_id, 1) == [second]


async def test_what_comes_late_is_void_too(store_rig: StoreRig) -> None:
    store = await opened(store_rig)
    await store.write(Writes(void_events=[(EVENT_ID, 20, NOW_MS)]))
    await store.write(
        Writes(tickets=[ticket(1), ticket(2, sequence=21)], changes=[change(ticket(1))])
    )
    void = ticket(1, status="VOID", sequence=20, at_ms=NOW_MS)
    assert await store.tickets(booking_id(1)) == [void]
    assert await store.trail(booking_id(1)) == [change(ticket(1)), change(void, "cancelled")]
    assert await store.tickets(booking_id(2)) == [ticket(2, sequence=21)]


# -- people ----------------------------------------------------------------------------


async def test_a_contact_is_kept_and_replaced_by_a_newer_one(store_rig: StoreRig) -> None:
    store = await opened(store_rig)
    early = Vault((NEW_SECRET,), now_s=lambda: 100.0)
    late = Vault((NEW_SECRET,), now_s=lambda: 200.0)
    await keep(store, late, 1, ANN)
    await keep(store, late, 2, BOB)
    await keep(store, early, 1, BOB)  # handed out again, after the buyer has changed it
    assert await store.contact(booking_id(1)) == ANN
    assert await store.contacts([booking_id(1), booking_id(2), booking_id(3)]) == {
        booking_id(1): ANN,
        booking_id(2): BOB,
    }
    await keep(store, Vault((NEW_SECRET,), now_s=lambda: 300.0), 1, BOB)
    assert await store.contact(booking_id(1)) == BOB
    assert await store.bookings_of(ANN.email) == []


async def test_bookings_are_found_by_address_newest_first(store_rig: StoreRig) -> None:
    store = await opened(store_rig)
    vault = Vault((NEW_SECRET,))
    for number, contact in [(2, ANN), (1, ANN), (3, BOB)]:
        await keep(store, vault, number, contact)
    assert await store.bookings_of(" ann.önal@EXAMPLE.org\n") == [booking_id(1), booking_id(2)]
    assert await store.bookings_of("nobody@example.org") == []


async def test_who_is_forgotten_stays_forgotten(store_rig: StoreRig) -> None:
    store = await opened(store_rig)
    vault = Vault((NEW_SECRET,))
    sealed = vault.seal_contact(ANN)
    await store.write(Writes(contacts=[(booking_id(1), sealed)], tickets=[ticket(1)]))
    assert await store.forget(booking_id(1))
    assert not await store.forget(booking_id(1))
    assert not await store.forget(booking_id(2))
    await store.write(Writes(contacts=[(booking_id(1), sealed)]))
    assert await store.contact(booking_id(1)) is None
    assert await store.contacts([booking_id(1)]) == {}
    assert await store.bookings_of(ANN.email) == []
    assert await store.tickets(booking_id(1)) == [ticket(1)]


async def test_nothing_personal_is_readable_in_the_database(store_rig: StoreRig) -> None:
    store = await opened(store_rig)
    plain = Contact("visible@example.org", "Visible Name", holders=("Visible Holder",))
    await keep(store, Vault((NEW_SECRET,)), 1, plain)
    await store.write(Writes(tickets=[ticket(1, customer="opaque subject")]))
    await store.bookings_of(plain.email)
    raw = store_rig.raw().lower()
    assert b"opaque subject" in raw, "looked in the wrong place"
    for personal in (plain.email, "example.org", plain.name, *plain.holders):
        assert personal.lower().encode() not in raw


async def test_what_is_forgotten_is_overwritten(sqlite_rig: SqliteRig) -> None:
    store = await opened(sqlite_rig)
    sealed = Vault((NEW_SECRET,)).seal_contact(ANN)
    await store.write(Writes(contacts=[(booking_id(1), sealed)]))
    assert sealed in sqlite_rig.raw()
    await store.forget(booking_id(1))
    await store.close()  # the last one folds the write-ahead log into the file
    assert sealed not in sqlite_rig.raw()


# -- keys ------------------------------------------------------------------------------


async def test_keys_are_rotated_in_slices(store_rig: StoreRig) -> None:
    before = await opened(store_rig, OLD_SECRET)
    vault = Vault((OLD_SECRET,))
    for number in range(5):
        await keep(before, vault, number, ANN)
    assert await before.reseal(10) == 0
    both = store_rig.store(NEW_SECRET, OLD_SECRET)
    assert len(await both.bookings_of(ANN.email)) == 5
    assert [await both.reseal(2) for _ in range(4)] == [2, 2, 1, 0]
    after = store_rig.store(NEW_SECRET)
    assert await after.bookings_of(ANN.email) == [booking_id(number) for number in (4, 3, 2, 1, 0)]
    assert await after.contact(booking_id(3)) == ANN


async def test_several_processes_rotate_at_once(store_rig: StoreRig) -> None:
    before = await opened(store_rig, OLD_SECRET)
    for number in range(9):
        await keep(before, Vault((OLD_SECRET,)), number, ANN)

    async def all_of(store: SqlBackOffice) -> None:
        while await store.reseal(2):
            pass

    await asyncio.gather(*(all_of(store_rig.store(NEW_SECRET, OLD_SECRET)) for _ in range(3)))
    assert len(await store_rig.store(NEW_SECRET).bookings_of(ANN.email)) == 9


async def test_a_contact_of_an_older_key_is_kept_under_the_newest(store_rig: StoreRig) -> None:
    store = await opened(store_rig, NEW_SECRET, OLD_SECRET)
    await keep(store, Vault((OLD_SECRET,)), 1, ANN)
    assert await store.reseal(10) == 0
    assert await store_rig.store(NEW_SECRET).contact(booking_id(1)) == ANN


async def test_a_contact_of_a_key_that_is_not_here_is_refused(store_rig: StoreRig) -> None:
    store = await opened(store_rig, NEW_SECRET)
    with pytest.raises(NoKeyOpens):
        await keep(store, Vault((OLD_SECRET,)), 1, ANN)
    await keep(store, Vault((NEW_SECRET,)), 1, ANN)
    with pytest.raises(NoKeyOpens):
        await store_rig.store(OLD_SECRET).contact(booking_id(1))
