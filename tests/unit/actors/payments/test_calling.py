"""What a call makes of its answers, and when it tries again; in virtual time."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from actors.payments.breaker import Breaker
from actors.payments.calling import ATTEMPTS_MAX, BUDGET_SECONDS, Call, Caller, KeySpent
from actors.payments.connections import Answer
from actors.payments.contract import StripeAway, StripeRefused
from actors.payments.limiter import Limiter, Priority

CALL = Call("payment_intents.create", Priority.OPENING, "post", "/v1/x", {"amount": 1}, "key")
GOOD = Answer(200, {}, "{}")
NOTHING = StripeAway("no answer", 0.5)


def answer(status: int, code: str | None = None, **headers: str) -> Answer:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, names, json.dumps({"error": {"code": code, "message": "so"}}))


class Line:
    """Gives the answers that the test wants, and remembers when it was asked for each."""

    def __init__(self, *answers: Answer | StripeAway, takes_seconds: float = 0.0) -> None:
        self.answers = list(answers)
        self.takes_seconds = takes_seconds
        self.began = asyncio.get_running_loop().time()
        self.asked: list[float] = []
        self.keys: set[str | None] = set()

    async def ask(
        self, method: str, path: str, params: Mapping[str, Any], key: str | None
    ) -> Answer:
        assert (method, path, params) == ("post", "/v1/x", {"amount": 1})
        self.asked.append(asyncio.get_running_loop().time() - self.began)
        self.keys.add(key)
        await asyncio.sleep(self.takes_seconds)
        said = self.answers.pop(0)
        if isinstance(said, StripeAway):
            raise said
        return said


def caller(line: Line, chance: float = 0.0, **parts: Any) -> Caller:
    clock = asyncio.get_running_loop().time
    given = {"limiter": Limiter(), "breaker": Breaker(clock), **parts}
    return Caller(line, **given, chance=lambda: chance)


@pytest.mark.parametrize(
    "trouble",
    [NOTHING, answer(500), answer(503), answer(424), answer(409, "idempotency_key_in_use")],
)
async def test_trouble_that_passes_is_waited_out_under_the_same_key(trouble):
    line = Line(trouble, trouble, GOOD)
    assert await caller(line).call(CALL) == GOOD
    assert line.asked == pytest.approx([0.0, 0.5, 1.0])
    assert line.keys == {"key"}


async def test_every_attempt_is_told_with_its_end_and_its_time():
    told = []
    line = Line(NOTHING, answer(402, "card_declined"), takes_seconds=0.5)
    with pytest.raises(StripeRefused):
        await caller(line, ended=lambda *one: told.append(one)).call(CALL)
    assert [one[:2] for one in told] == [(CALL.operation, "away"), (CALL.operation, "refused")]
    line = Line(GOOD, takes_seconds=0.25)
    await caller(line, ended=lambda *one: told.append(one)).call(CALL)
    assert told[-1] == (CALL.operation, "ok", pytest.approx(0.25))


async def test_pauses_grow_by_chance():
    line = Line(NOTHING, NOTHING, GOOD)
    await caller(line, chance=1.0).call(CALL)
    assert line.asked == pytest.approx([0.0, 0.75, 1.75])


async def test_after_all_attempts_it_says_so():
    line = Line(*[NOTHING] * 9)
    with pytest.raises(StripeAway, match="no answer"):
        await caller(line).call(CALL)
    assert len(line.asked) == ATTEMPTS_MAX


async def test_there_is_no_attempt_after_the_time_is_over():
    line = Line(NOTHING, NOTHING, GOOD, takes_seconds=BUDGET_SECONDS - 0.2)
    with pytest.raises(StripeAway):
        await caller(line).call(CALL)
    assert len(line.asked) == 1


@pytest.mark.parametrize("status", [429, 503])
async def test_it_waits_as_long_as_stripe_wants(status):
    line = Line(answer(status, retry_after="4"), GOOD)
    await caller(line).call(CALL)
    assert line.asked == pytest.approx([0.0, 4.0])


async def test_it_leaves_longer_waits_to_others():
    line = Line(answer(503, retry_after="60"), GOOD)
    with pytest.raises(StripeAway) as away:
        await caller(line).call(CALL)
    assert (away.value.retry_after_seconds, len(line.asked)) == (60.0, 1)


@pytest.mark.parametrize("value", ["", "soon", "-1", "9" * 10_000, "Wed, 21 Oct 2026 07:28:00 GMT"])
async def test_it_waits_a_while_if_it_does_not_understand_for_how_long(value):
    line = Line(answer(503, retry_after=value), GOOD)
    await caller(line).call(CALL)
    assert line.asked == pytest.approx([0.0, 0.5])


async def test_a_failure_that_is_only_repeated_is_told_at_once():
    line = Line(answer(500), answer(500, idempotent_replayed="true"), GOOD)
    with pytest.raises(KeySpent):
        await caller(line).call(CALL)
    assert len(line.asked) == 2


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (answer(400, "amount_too_small"), "amount_too_small"),
        (answer(402, "card_declined"), "card_declined"),
        (answer(401), "unauthorized"),
        (answer(403), "forbidden"),
        (answer(401, "api_key_expired"), "unauthorized"),
        (answer(403, "account_invalid"), "forbidden"),
        (Answer(400, {}, '{"error":{"type":"idempotency_error"}}'), "idempotency_error"),
        (answer(404), "status_404"),
        (Answer(404, {}, "<html>"), "status_404"),
        (Answer(404, {}, "[" * 10_000), "status_404"),
        (Answer(302, {}, ""), "status_302"),
    ],
)
async def test_a_refusal_is_final(said, code):
    line = Line(said, GOOD)
    with pytest.raises(StripeRefused) as refused:
        await caller(line).call(CALL)
    assert (refused.value.code, len(line.asked)) == (code, 1)


@pytest.mark.parametrize(
    ("reason", "slowed"),
    [
        ("endpoint-rate", [("payment_intents.create", 1.0, False)]),
        ("global-concurrency", [("payment_intents.create", 1.0, True)]),
        ("", [("payment_intents.create", 1.0, True)]),
        ("resource-specific", []),
    ],
)
@pytest.mark.parametrize("said", [(429, None), (400, "rate_limit")])
async def test_only_what_was_too_much_is_slowed_down(monkeypatch, said, reason, slowed):
    seen: list[tuple[str, float, bool]] = []
    limiter = Limiter()
    monkeypatch.setattr(limiter, "slow_down", lambda *what: seen.append(what))
    line = Line(answer(*said, stripe_rate_limited_reason=reason), GOOD)
    await caller(line, limiter=limiter).call(CALL)
    assert seen == slowed


async def test_an_answer_of_any_kind_shows_that_stripe_is_there():
    breaker = Breaker(asyncio.get_running_loop().time, failures_max=2)
    for said in (answer(429), answer(409), answer(400), answer(500, idempotent_replayed="true")):
        line = Line(NOTHING, said, NOTHING, said, NOTHING, said)
        for _ in range(3):
            with pytest.raises((StripeAway, StripeRefused)):
                await caller(line, breaker=breaker).call(CALL)
            if not line.answers:
                break
        assert not breaker.is_open()


async def test_while_stripe_is_away_it_is_not_asked():
    breaker = Breaker(asyncio.get_running_loop().time, failures_max=2, open_seconds=5.0)
    line = Line(NOTHING, NOTHING, GOOD, GOOD)
    asking = caller(line, breaker=breaker)
    for _ in range(10):
        with pytest.raises(StripeAway):
            await asking.call(CALL)
    assert len(line.asked) == 2
    await asyncio.sleep(5.0)
    assert await asking.call(CALL) == GOOD


async def test_what_waits_for_its_turn_does_not_leave_once_stripe_is_away():
    breaker = Breaker(asyncio.get_running_loop().time, failures_max=5)
    line = Line(*[answer(503, retry_after="60")] * 50)
    asking = caller(line, breaker=breaker)
    found = await asyncio.gather(*(asking.call(CALL) for _ in range(50)), return_exceptions=True)
    assert all(isinstance(one, StripeAway) for one in found)
    assert len(line.asked) == 5
