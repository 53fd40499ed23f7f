"""Which field of a body a refusal is about: the rules name its subject, the body has its place."""

from collections.abc import Sequence

from engine.domain.commands import Item
from engine.domain.outcomes import Refusal
from gateway.bodies import EventPatch, RefundItem
from gateway.problems import FieldError, Problem

#: JSON pointers by code and subject of the refusal.
Pointers = dict[tuple[str, str | None], str]


def pointed(problem: Problem, pointers: Pointers) -> Problem:
    """Return a problem with the field that it is about, the same one where it is about none."""
    pointer = pointers.get((problem.code, problem.facts.get("subject")))
    if pointer is None:
        return problem
    error = FieldError(pointer, problem.kind.title)
    return Problem(problem.code, problem.detail, (error,), problem.facts, problem.retry_after)


def of_hold(items: Sequence[Item]) -> Pointers:
    """Return the fields of a hold's body that it can be refused for."""
    pointers: Pointers = {}
    for index, item in enumerate(items):
        pointer = f"/items/{index}"
        pointers[Refusal.UNKNOWN_TICKET_TYPE, item.ticket_type] = f"{pointer}/ticket_type"
        # Where no seats are named, the best ones were asked for, of a type that has none.
        pointers[Refusal.UNKNOWN_SEAT, item.ticket_type] = f"{pointer}/best_available"
        for place, seat in enumerate(item.seats):
            pointers[Refusal.UNKNOWN_SEAT, seat] = f"{pointer}/seats/{place}"
    return pointers


def of_refund(items: Sequence[RefundItem]) -> Pointers:
    """Return the fields of a refund's body that it can be refused for."""
    return {
        (Refusal.UNKNOWN_TICKET_TYPE, item.ticket_type): f"/items/{index}/ticket_type"
        for index, item in enumerate(items)
    }


def of_patch(body: EventPatch) -> Pointers:
    """Return the fields of an amendment that it can be refused for."""
    pointers: Pointers = {}
    for index, allotment in enumerate(body.allotments):
        pointers[Refusal.UNKNOWN_ALLOTMENT, allotment.code] = f"/allotments/{index}/code"
    for index, kind in enumerate(body.ticket_types):
        pointer = f"/ticket_types/{index}/code"
        pointers[Refusal.UNKNOWN_TICKET_TYPE, kind.code] = pointer
        if kind.capacity is not None:
            pointers[Refusal.UNKNOWN_ALLOTMENT, kind.code] = pointer
    if body.sale is not None and body.sale.model_fields_set:
        # The one that makes the window end too early, if both were given.
        given = body.sale.model_fields_set
        late = "closes_at" if "closes_at" in given else "opens_at"
        pointers[Refusal.SALE_WINDOW_INVALID, None] = f"/sale/{late}"
    return pointers
