"""With an error planted, what every drill ends with must find it; else the drills prove nothing."""

import pytest

from tests.calls import GRANTED, Violation
from tests.end_to_end.by_hand import HandEvent
from tests.end_to_end.hand_owner import Bug, Moment


async def test_an_answer_before_the_append_is_found(by_hand: HandEvent):
    first = await by_hand.on_sale(
        bug=Bug.ANSWER_BEFORE_APPEND, dies=Moment.BEFORE_APPEND, dies_at_append=2
    )
    (ann,) = await by_hand.ask(first, by_hand.hold("ann"))
    assert ann.outcome == GRANTED
    assert await first.ended() == -9
    second = await by_hand.start_owner()
    with pytest.raises(Violation, match="I2"):
        await by_hand.verify(second)


async def test_an_owner_that_no_fence_stops_is_found(by_hand: HandEvent):
    first = await by_hand.on_sale(10, bug=Bug.NO_FENCE)
    first.freeze()
    second = await by_hand.start_owner()
    await second.in_phase("serving")
    (bob,) = await by_hand.ask(second, by_hand.hold("bob", quantity=6))
    first.thaw()
    (ann,) = await by_hand.ask(first, by_hand.hold("ann", quantity=6))
    assert ann.outcome == bob.outcome == GRANTED, "nothing was oversold"
    with pytest.raises(Violation, match="I5"):
        await by_hand.verify(second)
    third = await by_hand.start_owner()
    await third.in_phase("halted")
    assert "oversold by 2" in third.log


async def test_stale_answers_of_an_owner_that_no_fence_stops_are_found(by_hand: HandEvent):
    first = await by_hand.on_sale(10, bug=Bug.NO_FENCE)
    await by_hand.ask(first, by_hand.hold("ann", quantity=6))
    first.freeze()
    second = await by_hand.start_owner()
    await second.in_phase("serving")
    await by_hand.ask(second, by_hand.release("ann"))
    (bob,) = await by_hand.ask(second, by_hand.hold("bob", quantity=6))
    assert bob.outcome == GRANTED
    await by_hand.proofs_are_old()
    first.thaw()
    (ann,) = await by_hand.ask(first, by_hand.read("ann"))
    assert ann.seen is not None
    assert ann.seen.status == "RESERVED", "it knew better"
    with pytest.raises(Violation, match="I2: seen further on before"):
        await by_hand.verify(second)
