"""When a webhook is sent, when again, and when no more; the database and the far side are told."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from email.utils import formatdate

import pytest
import structlog
from standardwebhooks.webhooks import Webhook
from structlog.testing import LogCapture

from actors.back_office import courier as module
from actors.back_office.courier import Courier, pause_seconds
from actors.back_office.posting import Answer, Unanswered
from actors.back_office.signing import new_secret
from actors.back_office.targets import Target, Targets
from engine.back_office_limits import COURIER_GIVE_UP_MS, COURIER_LEASE_MS, COURIER_PER_ENDPOINT_MAX
from engine.store.contract import StoreAway
from engine.store.webhook_contract import DueDelivery

NOW_MS = 1_800_000_000_000
SECRET = new_secret()
BODY = b'{"type":"booking.confirmed"}'
DAY_MS = 86_400_000

Reply = Answer | Exception


class Clock:
    def __init__(self) -> None:
        self.ms = NOW_MS


class Entry:
    """A delivery as the database has it."""

    def __init__(self, number: int, endpoint_id: str, secrets: tuple[str, ...]) -> None:
        self.number, self.endpoint_id, self.secrets = number, endpoint_id, secrets
        self.next_ms, self.leased_until_ms, self.attempts = NOW_MS, 0, 0
        self.status, self.code, self.error = "PENDING", None, None
        self.attempted_ms: list[int] = []


class Books:
    """Keeps as much of the contract as one courier can see of it.

    Nothing is due: time passes until something is, so that three days take no time.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.entries: list[Entry] = []
        self.disabled: dict[str, str] = {}
        self.away = 0
        self.pruned: list[int] = []
        self.taken: list[list[str]] = []
        self.done = asyncio.Event()

    def add(self, endpoint_id: str = "whe_1", *, secrets: tuple[str, ...] = (SECRET,)) -> Entry:
        entry = Entry(len(self.entries), endpoint_id, secrets)
        self.entries.append(entry)
        return entry

    async def due(
        self, now_ms: int, lease_ms: int, endpoints_max: int, each_max: int, busy: Collection[str]
    ) -> list[DueDelivery]:
        self._answer()
        waiting = [one for one in self.entries if one.status == "PENDING"]
        if not waiting:
            self.done.set()
        elif not busy:
            moments = [max(one.next_ms, one.leased_until_ms) for one in waiting]
            self.clock.ms = now_ms = max(now_ms, min(moments))
        found: list[DueDelivery] = []
        ready = [one for one in waiting if max(one.next_ms, one.leased_until_ms) <= now_ms]
        endpoints = [one for one in dict.fromkeys(x.endpoint_id for x in ready) if one not in busy]
        for endpoint_id in endpoints[:endpoints_max]:
            for one in [one for one in ready if one.endpoint_id == endpoint_id][:each_max]:
                one.leased_until_ms = now_ms + lease_ms
                one.attempts += 1
                one.attempted_ms.append(now_ms)
                found.append(self._due(one))
        self.taken.append([one.endpoint_id for one in found])
        return found

    def _due(self, one: Entry) -> DueDelivery:
        return DueDelivery(
            one.number,
            one.endpoint_id,
            "https://example.com/hook",
            one.secrets,
            f"msg_{one.number}",
            "booking.confirmed",
            BODY,
            one.attempts,
            NOW_MS + COURIER_GIVE_UP_MS,
            one.leased_until_ms,
        )

    async def delivered(self, due: DueDelivery, status_code: int, _at_ms: int) -> None:
        self._answer()
        one = self.entries[due.delivery_id]
        one.status, one.code = "DELIVERED", status_code

    async def failed(
        self, due: DueDelivery, status_code: int | None, error: str, retry_ms: int | None, _at: int
    ) -> None:
        self._answer()
        one = self.entries[due.delivery_id]
        one.code, one.error, one.leased_until_ms = status_code, error, 0
        if retry_ms is None:
            one.status = "GIVEN_UP"
        else:
            one.next_ms = retry_ms

    async def disable(self, endpoint_id: str, reason: str, _at_ms: int) -> None:
        self.disabled[endpoint_id] = reason

    async def prune(self, before_ms: int, limit: int) -> int:
        self.pruned.append(before_ms)
        return limit if len(self.pruned) < 3 else 0

    def _answer(self) -> None:
        if self.away:
            self.away -= 1
            raise StoreAway("away")


class Far:
    """The organizer's server: gives the replies of the test, the last one for ever."""

    def __init__(self, *replies: Reply, by_id: Callable[[str], Reply] | None = None) -> None:
        self.replies = list(replies)
        self.by_id = by_id
        self.got: list[dict[str, str]] = []
        self.under_way = self.most_under_way = 0
        self.held: dict[str, asyncio.Event] = {}

    async def post(self, target: Target, headers: Mapping[str, str], body: bytes) -> Answer:
        assert target.addresses == ("8.8.8.8",)
        assert body == BODY
        self.got.append(dict(headers))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await asyncio.sleep(0)
            hold = self.held.get(headers["webhook-id"])
            if hold is not None:
                await hold.wait()
        finally:
            self.under_way -= 1
        reply = (
            self.by_id(headers["webhook-id"])
            if self.by_id is not None
            else (self.replies.pop(0) if len(self.replies) > 1 else self.replies[0])
        )
        if isinstance(reply, Exception):
            raise reply
        return reply


async def _resolve(_host: str, _port: int) -> Sequence[str]:
    return ["8.8.8.8"]


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch) -> list:
    capture = LogCapture()
    monkeypatch.setattr(module, "log", structlog.wrap_logger(None, processors=[capture]))
    return capture.entries


@pytest.fixture
def books(logs: list) -> Books:
    return Books(Clock())


def courier(books: Books, far: Far, chance: float = 0.0) -> Courier:
    targets = Targets(_resolve, private=False)
    return Courier(books, targets, far, lambda: books.clock.ms, lambda: chance)


async def work_until(books: Books, far: Far, end: asyncio.Event, chance: float = 0.0) -> None:
    working = asyncio.create_task(courier(books, far, chance).work())
    ending = asyncio.create_task(end.wait())
    await asyncio.wait([working, ending], return_when=asyncio.FIRST_COMPLETED)
    ending.cancel()
    working.cancel()
    await asyncio.wait([working])
    assert working.cancelled(), working.exception()


async def work(books: Books, *replies: Reply, chance: float = 0.0) -> Far:
    """Work until nothing is pending."""
    far = Far(*replies)
    await work_until(books, far, books.done, chance)
    return far


def pauses(entry: Entry) -> list[float]:
    return [
        (later - earlier) / 1_000
        for earlier, later in zip(entry.attempted_ms, entry.attempted_ms[1:], strict=False)
    ]


OK, BROKEN, GONE = Answer(200), Answer(500), Answer(410)


# -- what counts -----------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_any_two_hundred_is_delivered(books: Books, status: int):
    entry = books.add()
    await work(books, Answer(status))
    assert (entry.status, entry.code, entry.attempts) == ("DELIVERED", status, 1)


@pytest.mark.parametrize(
    "reply",
    [
        *map(Answer, (100, 199, 300, 301, 302, 307, 308, 400, 401, 404, 409, 429, 500, 503)),
        Unanswered("no connection"),
        RuntimeError("a mistake of ours"),
    ],
    ids=str,
)
async def test_anything_else_is_tried_again(books: Books, reply: Reply):
    entry = books.add()
    await work(books, reply, OK)
    assert (entry.status, entry.attempts) == ("DELIVERED", 2)


async def test_every_attempt_has_the_same_id_and_a_signature_of_its_own_time(books: Books):
    books.add()
    far = await work(books, BROKEN, BROKEN, OK)
    assert {headers["webhook-id"] for headers in far.got} == {"msg_0"}
    stamps = [int(headers["webhook-timestamp"]) for headers in far.got]
    assert stamps == [NOW_MS // 1_000, NOW_MS // 1_000 + 5, NOW_MS // 1_000 + 25]
    assert len({headers["webhook-signature"] for headers in far.got}) == 3
    assert far.got[0]["content-type"] == "application/json"


async def test_each_secret_signs(books: Books, monkeypatch: pytest.MonkeyPatch):
    older = new_secret()
    books.add(secrets=(SECRET, older))
    far = await work(books, OK)
    monkeypatch.setattr(Webhook, "_Webhook__verify_timestamp", lambda _self, stamp: _moment(stamp))
    for secret in (SECRET, older):
        assert Webhook(secret).verify(BODY, far.got[0])["type"] == "booking.confirmed"


def _moment(stamp: str):
    from datetime import UTC, datetime

    return datetime.fromtimestamp(int(stamp), UTC)


async def test_without_a_secret_nothing_is_sent(books: Books):
    entry = books.add(secrets=())
    far = await work(books, OK)
    assert far.got == []
    assert entry.status == "GIVEN_UP"
    assert "secret" in entry.error


# -- again and again -------------------------------------------------------------------


async def test_it_is_tried_for_three_days_and_then_given_up_loudly(books: Books, logs: list):
    entry = books.add()
    await work(books, BROKEN)
    assert entry.status == "GIVEN_UP"
    assert entry.code == 500
    assert entry.attempted_ms[-1] == NOW_MS + 3 * DAY_MS
    assert entry.attempts == 14
    grown = pauses(entry)
    assert grown[:4] == [5, 20, 80, 320]
    assert grown[:-1] == sorted(grown[:-1])
    assert max(grown) <= 12 * 3_600
    (told,) = [line for line in logs if line["event"] == "webhook_given_up"]
    assert told["log_level"] == "critical"
    assert (told["webhook_id"], told["endpoint_id"]) == ("msg_0", "whe_1")


async def test_pauses_grow_by_chance_so_that_not_all_come_back_together(books: Books):
    entry = books.add()
    await work(books, BROKEN, BROKEN, OK, chance=1.0)
    assert pauses(entry) == pytest.approx([6.25, 25])


def test_a_pause_never_grows_beyond_half_a_day_and_a_quarter_of_it():
    for attempts in (1, 2, 20, 10_000):
        assert 5 <= pause_seconds(attempts, 0.0) <= 43_200
        assert pause_seconds(attempts, 1.0) == pause_seconds(attempts, 0.0) * 1.25


@pytest.mark.parametrize(
    ("wanted", "seconds"),
    [
        ("120", 120), ("0", 5), ("1", 5), (formatdate(NOW_MS / 1_000 + 600, usegmt=True), 600),
        (formatdate(NOW_MS / 1_000 - 600, usegmt=True), 5), ("soon", 5), ("", 5), ("-5", 5),
        ("Wed, 99 Foo 99999 99:99:99 GMT", 5), ("9" * 400, 3 * 86_400), ("١٢٠", 5),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3 * 86_400),
    ],
)  # fmt: skip
async def test_retry_after_is_honoured_within_the_three_days(
    books: Books, wanted: str, seconds: int
):
    entry = books.add()
    await work(books, Answer(503, wanted), OK)
    assert entry.status == "DELIVERED"
    assert pauses(entry) == [seconds]


async def test_gone_is_for_ever(books: Books, logs: list):
    entry = books.add()
    far = await work(books, GONE)
    assert len(far.got) == 1
    assert (entry.status, entry.code) == ("GIVEN_UP", 410)
    assert list(books.disabled) == ["whe_1"]
    assert "endpoint_gone" in [line["event"] for line in logs]


# -- one beside the other --------------------------------------------------------------


async def test_a_hanging_endpoint_holds_up_nobody_else(books: Books):
    slow = [books.add("whe_slow") for _ in range(30)]
    quick = [books.add("whe_quick") for _ in range(30)]
    far = Far(OK)
    hanging = asyncio.Event()
    far.held = {f"msg_{one.number}": hanging for one in slow}
    all_quick = asyncio.Event()

    original = books.delivered

    async def count(due: DueDelivery, status_code: int, at_ms: int) -> None:
        await original(due, status_code, at_ms)
        if all(one.status == "DELIVERED" for one in quick):
            all_quick.set()

    books.delivered = count  # type: ignore[method-assign]
    await work_until(books, far, all_quick)
    assert all(one.status == "PENDING" for one in slow)
    begun = [headers for headers in far.got if int(headers["webhook-id"][4:]) < len(slow)]
    assert len(begun) == COURIER_PER_ENDPOINT_MAX


async def test_no_endpoint_gets_more_than_a_few_at_once(books: Books):
    for _ in range(50):
        books.add()
    far = await work(books, OK)
    assert len(far.got) == 50
    assert far.most_under_way == COURIER_PER_ENDPOINT_MAX


# -- trouble ---------------------------------------------------------------------------


async def test_it_works_on_when_the_database_comes_back(books: Books, logs: list):
    entry = books.add()
    books.away = 3
    await work(books, OK)
    assert entry.status == "DELIVERED"
    assert [line["event"] for line in logs] == ["back_office_unreachable"] * 3


async def test_what_could_not_be_noted_is_sent_again_under_the_same_id(books: Books, logs: list):
    entry = books.add()
    far = Far(OK)
    original = books.delivered

    async def lost_once(*args: object) -> None:
        books.delivered = original  # type: ignore[method-assign]
        raise StoreAway("the answer was lost")

    books.delivered = lost_once  # type: ignore[method-assign]
    await work_until(books, far, books.done)
    assert entry.status == "DELIVERED"
    assert [headers["webhook-id"] for headers in far.got] == ["msg_0", "msg_0"]
    assert pauses(entry) == [COURIER_LEASE_MS / 1_000]
    assert [line["event"] for line in logs] == ["not_noted"]


async def test_a_mistake_of_ours_is_logged_and_is_one_deliverys_trouble(books: Books, logs: list):
    bad, good = books.add(), books.add()
    broken = iter([RuntimeError("a mistake")])
    far = Far(by_id=lambda name: next(broken, OK) if name == "msg_0" else OK)
    await work_until(books, far, books.done)
    assert (bad.attempts, good.attempts) == (2, 1)
    (line,) = [line for line in logs if line["event"] == "attempt_broke"]
    assert line["log_level"] == "error"
    assert line["exc_info"]


async def test_what_is_old_is_deleted_slice_by_slice(books: Books):
    books.add()
    await work(books, OK)
    assert len(books.pruned) >= 3
    assert books.pruned[0] == NOW_MS - 30 * DAY_MS
