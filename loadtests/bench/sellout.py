"""A sell-out of everybody who keeps holds: exactly the units there are, each kept."""

from msgspec import Struct

from loadtests.bench import servers
from loadtests.bench.peers import Peer
from loadtests.bench.rounds import BODY, DURABLE, Contest
from loadtests.crowd import Result, Spec, Template, run_crowd

_CAPACITY = 300
_BUYERS = 1_000
_CONNECTIONS = 64


class SellOut(Struct, frozen=True):
    """What came of it. `fault` says what is wrong, None if nothing is."""

    contender: str
    capacity: int
    granted: int
    refused: int
    fault: str | None


def of_everybody(contest: Contest) -> list[SellOut]:
    """Sell out an event of each that keeps holds. It also warms them up."""
    found = [_ours(contest)]
    for name, peer in contest.peers.running.items():
        if peer.way:
            found.append(_theirs(contest, name, peer))
    return found


def _ours(contest: Contest) -> SellOut:
    event_id = servers.create_event(contest.service, "Sells out", _CAPACITY)
    path = f"/api/v1/events/{event_id}"
    result = _crowd(contest, contest.service.port, path)
    (counts,) = servers.get(contest.service, f"{path}/availability")["ticket_types"]
    stored = (counts["available"], counts["held"])
    wrong = None if stored == (0, _CAPACITY) else f"stored is {counts}"
    return _judged(DURABLE, result, wrong)


def _theirs(contest: Contest, name: str, peer: Peer) -> SellOut:
    event_id = peer.new_event(_CAPACITY)
    path = peer.event_path(event_id)
    # One of the bookings is asked for by its buyer.
    booking = peer.ask("POST", f"{path}/holds", {"items": [{"ticket_type": "ga", "quantity": 1}]})
    kept = peer.ask("GET", f"{path}/holds/{booking['id']}")
    result = _crowd(contest, peer.port, path)
    wrong = peer.miscounted(event_id, result.granted + 1, _CAPACITY)
    if kept is None or kept["booking_id"] != booking["id"]:
        wrong = f"of the booking {booking['id']} it keeps {kept}"
    return _judged(name, result, wrong, before=1)


def _crowd(contest: Contest, port: int, path: str) -> Result:
    service = contest.service
    template = Template("POST", f"{path}/holds", BODY, service.buyers, True, _BUYERS)
    return run_crowd(Spec(service.host, port, template=template, connections=_CONNECTIONS))


def _judged(name: str, result: Result, wrong: str | None, before: int = 0) -> SellOut:
    granted, refused = result.granted + before, result.statuses.get("409", 0)
    if wrong is None and (granted, refused) != (_CAPACITY, _BUYERS + before - _CAPACITY):
        wrong = f"{granted} of {_CAPACITY} were sold, {refused} refused, {result.unknown} unknown"
    return SellOut(name, _CAPACITY, granted, refused, wrong)
