"""What a letter is told when its tickets cannot be drawn."""

import pytest

from actors.back_office.channels import TryLater
from actors.back_office.papers import Papers
from engine.store.contract import Contact
from engine.tickets.draftsman import NotDrawn
from engine.tickets.seal import Seals
from tests.unit.engine.tickets.test_paper import EVENT


async def test_a_letter_whose_tickets_cannot_be_drawn_is_tried_later(monkeypatch):
    papers = Papers(Seals((bytes(32),)))

    def ended(*_drawing: object) -> bytes:
        raise NotDrawn("the process that draws has ended twice")

    monkeypatch.setattr(papers._draftsman, "draw", ended)
    with pytest.raises(TryLater) as told:
        await papers.tickets(EVENT, (), Contact("ann@example.org", "Ann", "en"), 0)
    assert told.value.reason == "the tickets could not be drawn"
    await papers.close()
