"""Random histories of commands against the naive model, with every invariant after each step.

A failure prints its history and a `@reproduce_failure` line that repeats it.
`ONSALE_SIMULATE=long` takes minutes instead of seconds and finds what is rarer.
"""

from collections import Counter
from collections.abc import Callable
from itertools import count

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from msgspec.structs import replace

from engine.domain import apply as apply_module
from engine.domain import decide as decide_module
from engine.domain import doors, holds, moves, payments, refunds, snapshot
from engine.domain.admission import DoorReason
from engine.domain.booking import Booking
from engine.domain.commands import CheckIn, ExpireHold, Item, PlaceHold
from engine.domain.decision import Decision
from engine.domain.event import Event
from engine.domain.outcomes import Granted, Refusal, Refused
from engine.domain.payment import Payment, PaymentState
from engine.domain.records import HoldReleased, PassageUndone, TicketScanned
from engine.domain.state import EventState, Offer
from engine.domain.tickets import Ticket, TicketStatus, ticket_at
from tests.simulation import payment_mistakes
from tests.unit.engine.domain.door_machine import DoorMachine
from tests.unit.engine.domain.payment_machine import PaymentMachine
from tests.unit.engine.domain.sale_machine import SaleMachine
from tests.unit.engine.domain.situations import SITUATIONS


def test_every_history_agrees_with_the_naive_model_and_its_own_replay():
    run_state_machine_as_test(SaleMachine)


def test_every_history_with_payments_agrees_with_its_model_and_its_own_replay():
    run_state_machine_as_test(PaymentMachine)


def test_every_history_with_doors_agrees_with_its_model_and_its_own_replay():
    run_state_machine_as_test(DoorMachine)


# -- what the machine would see ------------------------------------------------------

#: Until found: these tests ask what the machines can find, not the domain. Which histories
#: are made up depends on what else of ours is imported, so that none of them is counted on.
UNTIL_FOUND = settings(
    max_examples=2_000,
    stateful_step_count=40,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
ROUNDS_MAX, IN_A_ROUND = 20, 50

ANSWERS: set[str] = {
    # There are no seats yet that could be taken.
    *({*Refusal} - {Refusal.SEAT_TAKEN}),
    *("granted", "booking", "event", "done", "replayed", "expired"),
    *("payment", "payments", "called off", "scan", "admitted", *DoorReason),
}


def situations_in(met: Counter[str]) -> set[str]:
    return {name for name in met if name.split(" ")[-1] in set(PaymentState)}


@pytest.fixture(scope="module")
def met() -> Counter[str]:
    """What all machines meet, round after round until nothing is left to be met."""
    met: Counter[str] = Counter()
    for number in range(ROUNDS_MAX):
        if met.keys() >= ANSWERS and len(situations_in(met)) >= 12:
            break
        for machine in (SaleMachine, PaymentMachine, DoorMachine):
            machine.met.clear()
            of_this_round = seed(number)(type(machine.__name__, (machine,), {}))
            settings_of_this_round = settings(UNTIL_FOUND, max_examples=IN_A_ROUND)
            run_state_machine_as_test(of_this_round, settings=settings_of_this_round)
            met += machine.met
    return met


def test_the_machines_meet_every_answer_that_the_domain_can_give(met):
    assert ANSWERS - met.keys() == set()


def test_the_machines_meet_no_situation_of_a_payment_that_its_table_has_not(met):
    known = set()
    for situation in SITUATIONS.values():
        booking = situation().booking("ann")
        if booking.payment is not None:
            known.add(f"{booking.status} {booking.payment.state}")

    assert situations_in(met) <= known
    assert len(situations_in(met)) >= 12, f"hardly any was met: {situations_in(met)}"


def sells_one_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = holds._stock_refusal

    def generous(offers: dict[str, Offer], items: tuple[Item, ...]) -> Refused | None:
        one_more = {
            code: Offer(
                offer.ticket_type, replace(offer.stock, available=offer.stock.available + 1)
            )
            for code, offer in offers.items()
        }
        return honest(one_more, items)

    monkeypatch.setattr(holds, "_stock_refusal", generous)


def answers_a_changed_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    def trusting(earlier: Booking, _command: PlaceHold, event: Event) -> Decision:
        return Granted(earlier.as_placed(), event.currency, replayed=True), ()

    monkeypatch.setattr(holds, "_repeat", trusting)


def expires_early(monkeypatch: pytest.MonkeyPatch) -> None:
    def hasty(state: EventState, command: ExpireHold, now_ms: int) -> Decision:
        return holds.expire(state, command, now_ms + 1)

    monkeypatch.setitem(decide_module._DECIDE, ExpireHold, hasty)


def sells_before_the_opening(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = holds.place

    def hasty(state: EventState, command: PlaceHold, now_ms: int) -> Decision:
        return honest(state, command, now_ms + 1)

    monkeypatch.setitem(decide_module._DECIDE, PlaceHold, hasty)


def never_forgets_what_a_customer_had(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = moves.count_for_customer

    def grudging(state: EventState, customer: str, change: int) -> None:
        honest(state, customer, max(change, 0))

    monkeypatch.setattr(apply_module, "count_for_customer", grudging)
    monkeypatch.setattr(moves, "count_for_customer", grudging)


def gives_stock_back_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    def generous(state: EventState, record: HoldReleased) -> None:
        apply_module._hold_released(state, record)
        for line in state.bookings[record.booking_id].lines:
            stock = state.offers[line.ticket_type].stock
            stock.available, stock.held = stock.available + 1, stock.held - 1

    monkeypatch.setitem(apply_module._APPLY, HoldReleased, generous)


def applies_by_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = count()

    def moody(state: EventState, record: HoldReleased) -> None:
        apply_module._hold_released(state, replace(record, at_ms=record.at_ms + next(chance)))

    monkeypatch.setitem(apply_module._APPLY, HoldReleased, moody)


def snapshot_forgets_the_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = snapshot._restore_head

    def forgetful(state: EventState, head: snapshot.SnapshotHead) -> None:
        honest(state, replace(head, paused=False))

    monkeypatch.setattr(snapshot, "_restore_head", forgetful)


@pytest.mark.parametrize(
    "plant",
    [
        sells_one_too_many,
        answers_a_changed_retry,
        expires_early,
        sells_before_the_opening,
        never_forgets_what_a_customer_had,
        gives_stock_back_twice,
        applies_by_chance,
        snapshot_forgets_the_pause,
    ],
)
def test_the_machine_sees_a_planted_bug(plant: Callable[[pytest.MonkeyPatch], None], monkeypatch):
    plant(monkeypatch)

    with pytest.raises(AssertionError):
        run_state_machine_as_test(SaleMachine, settings=UNTIL_FOUND)


def counts_the_wait_for_stripe_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    def generous(booking: Booking, payment: Payment, now_ms: int) -> int:
        return booking.expires_at_ms + now_ms - payment.opened_at_ms

    monkeypatch.setattr(payments, "_opened_until_ms", generous)


@pytest.mark.parametrize(
    "plant",
    [
        counts_the_wait_for_stripe_twice,
        payment_mistakes.count_every_failure,
        payment_mistakes.expire_whatever_is_paid,
        payment_mistakes.confirm_without_looking,
        payment_mistakes.keep_late_money,
        payment_mistakes.count_refunds_twice,
        payment_mistakes.settle_what_failed,
    ],
)
def test_the_machine_with_payments_sees_a_planted_bug(
    plant: Callable[[pytest.MonkeyPatch], None], monkeypatch
):
    plant(monkeypatch)

    with pytest.raises(AssertionError):
        run_state_machine_as_test(PaymentMachine, settings=UNTIL_FOUND)


# -- at the doors --------------------------------------------------------------------


def lets_in_again_whoever_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "REENTRY", "single")


def lets_in_with_a_void_ticket(monkeypatch: pytest.MonkeyPatch) -> None:
    def generous(booking: Booking, place: int, *, cancelled: bool = False) -> Ticket | None:
        ticket = ticket_at(booking, place, cancelled=cancelled)
        return None if ticket is None else replace(ticket, status=TicketStatus.ACTIVE)

    monkeypatch.setattr(doors, "ticket_at", generous)


def gives_money_back_for_used_tickets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refunds, "_takes_used_ticket", lambda _before, _after: False)


def opens_early_for_clocks_that_are_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = doors.check_in

    def trusting(state: EventState, command: CheckIn, now_ms: int) -> Decision:
        return honest(state, command, max(now_ms, command.seen_at_ms))

    monkeypatch.setitem(decide_module._DECIDE, CheckIn, trusting)


def decides_a_repeated_scan_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(state: EventState, record: TicketScanned) -> None:
        apply_module._ticket_scanned(state, record)
        if not record.scan.admitted:
            del state.scans[record.scan.scan_id]

    monkeypatch.setitem(apply_module._APPLY, TicketScanned, forgetful)


def remembers_what_was_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    def stubborn(state: EventState, record: PassageUndone) -> None:
        scans = dict(state.scans)
        apply_module._passage_undone(state, record)
        state.scans = scans

    monkeypatch.setitem(apply_module._APPLY, PassageUndone, stubborn)


def snapshot_forgets_the_scans(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = snapshot._restore_head

    def forgetful(state: EventState, head: snapshot.SnapshotHead) -> None:
        honest(state, replace(head, scans=()))

    monkeypatch.setattr(snapshot, "_restore_head", forgetful)


def takes_back_one_more_for_a_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(state: EventState, record: PassageUndone) -> None:
        apply_module._passage_undone(state, replace(record, said=None))

    monkeypatch.setitem(apply_module._APPLY, PassageUndone, forgetful)


def snapshot_forgets_the_undos(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = snapshot._restore_head

    def forgetful(state: EventState, head: snapshot.SnapshotHead) -> None:
        honest(state, replace(head, undos=()))

    monkeypatch.setattr(snapshot, "_restore_head", forgetful)


@pytest.mark.parametrize(
    "plant",
    [
        lets_in_again_whoever_left,
        lets_in_with_a_void_ticket,
        gives_money_back_for_used_tickets,
        opens_early_for_clocks_that_are_ahead,
        decides_a_repeated_scan_anew,
        remembers_what_was_undone,
        snapshot_forgets_the_scans,
        takes_back_one_more_for_a_repeat,
        snapshot_forgets_the_undos,
    ],
)
def test_the_machine_with_doors_sees_a_planted_bug(
    plant: Callable[[pytest.MonkeyPatch], None], monkeypatch
):
    plant(monkeypatch)

    with pytest.raises(AssertionError):
        run_state_machine_as_test(DoorMachine, settings=UNTIL_FOUND)
