"""What operators have set for all gateways: sales stopped, holds throttled; and who did it.

Kept beside the journals and outside of them: it is about this service and not about any
event, and no owner asks for it. Each change is written together with its line in the log.
"""

from typing import Any

from msgspec import Struct
from redis.asyncio import Redis
from redis.exceptions import RedisError

from engine.journal.contract import Unavailable
from engine.journal.keys import CONTROLS, CONTROLS_CHANGES, CONTROLS_GATEWAYS
from engine.limits import CONTROLS_CHANGES_KEPT, CONTROLS_GATEWAY_GONE_MS

#: KEYS: state, gateways. ARGV: this gateway, ms after which a silent one has gone.
#: Returns how many gateways there are, 0 where nothing is throttled, and the state. Gateways
#: sign in only while they have to share a pace, so that asking is no write at other times.
_LOOK = """
local state = redis.call('HGETALL', KEYS[1])
for i = 1, #state, 2 do
  if state[i] ~= 'stopped' then
    local t = redis.call('TIME')
    local now = t[1] * 1000 + math.floor(t[2] / 1000)
    redis.call('ZADD', KEYS[2], now, ARGV[1])
    redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[2])
    return {redis.call('ZCARD', KEYS[2]), state}
  end
end
return {0, state}
"""
_FIRST_PLACE = "0-0"
_STOPPED = "stopped"
_PACE = "pace"


class Controlled(Struct, frozen=True):
    """What is set now.

    `holds_per_second` is for all gateways and events together, `events` for one event each;
    None and absent: as many as there are. `gateways` share them, 0 where nothing is to share.
    """

    stopped: bool = False
    holds_per_second: float | None = None
    events: dict[str, float] = {}
    gateways: int = 0


class Change(Struct, frozen=True):
    """One line of the log: `who` did what, and why. `event_id` "" is for all events."""

    change_id: str
    at_ms: int
    who: str
    action: str
    reason: str
    event_id: str = ""
    holds_per_second: float | None = None


class Controls:
    """The controls of one deployment. Every method raises `Unavailable` if nobody answers."""

    def __init__(self, client: Redis) -> None:
        self._redis = client
        self._look = client.register_script(_LOOK)

    async def look(self, gateway: str) -> Controlled:
        """Return what is set, as the gateway of this name."""
        try:
            gateways, flat = await self._look(
                keys=[CONTROLS, CONTROLS_GATEWAYS], args=[gateway, CONTROLS_GATEWAY_GONE_MS]
            )
        except (RedisError, OSError, TimeoutError) as error:
            raise Unavailable(f"{type(error).__name__}: {error}") from error
        fields = dict(zip(flat[::2], flat[1::2], strict=True))
        stopped = fields.pop(_STOPPED.encode(), None) is not None
        try:
            paces = {_event_of(name): float(pace) for name, pace in fields.items()}
        except ValueError as error:
            raise Unavailable(f"somebody else has written {CONTROLS}: {error}") from error
        return Controlled(stopped, paces.pop("", None), dict(sorted(paces.items())), gateways)

    async def stop(self, who: str, reason: str) -> None:
        """Stop new holds of all events."""
        await self._change("HSET", _STOPPED, "1", {"who": who, "what": "stop", "why": reason})

    async def go(self, who: str, reason: str) -> None:
        """Take new holds again."""
        await self._change("HDEL", _STOPPED, None, {"who": who, "what": "go", "why": reason})

    async def throttle(
        self, who: str, reason: str, holds_per_second: float | None, event_id: str = ""
    ) -> None:
        """Set the pace of new holds, of one event or of all together; None: no pace."""
        field = f"{_PACE}:{event_id}" if event_id else _PACE
        line = {"who": who, "what": "throttle", "why": reason, "event": event_id}
        if holds_per_second is None:
            await self._change("HDEL", field, None, line)
        else:
            line["pace"] = repr(holds_per_second)
            await self._change("HSET", field, line["pace"], line)

    async def note(self, who: str, reason: str, action: str, event_id: str) -> None:
        """Log what is decided elsewhere: somebody wants an event to be paused."""
        await self._change(
            None, "", None, {"who": who, "what": action, "why": reason, "event": event_id}
        )

    async def changes(self, limit: int, before: str | None = None) -> list[Change]:
        """Return the log, newest first, before the change of this id."""
        if before == _FIRST_PLACE:
            return []  # nothing is before it, and the server calls the question a mistake
        high = "+" if before is None else f"({before}"
        try:
            found: Any = await self._redis.xrevrange(CONTROLS_CHANGES, high, "-", limit)
        except (RedisError, OSError, TimeoutError) as error:
            raise Unavailable(f"{type(error).__name__}: {error}") from error
        return [_change(change_id.decode(), fields) for change_id, fields in found]

    async def _change(
        self, command: str | None, field: str, value: str | None, line: dict[str, str]
    ) -> None:
        pipeline = self._redis.pipeline(transaction=True)
        if command is not None:
            arguments = [field] if value is None else [field, value]
            pipeline.execute_command(command, CONTROLS, *arguments)
        entry: dict[Any, Any] = {**line}
        pipeline.xadd(CONTROLS_CHANGES, entry, maxlen=CONTROLS_CHANGES_KEPT, approximate=True)
        try:
            await pipeline.execute()
        except (RedisError, OSError, TimeoutError) as error:
            raise Unavailable(f"{type(error).__name__}: {error}") from error


def _event_of(field: bytes) -> str:
    """Return the event that a pace is for, "" for all together."""
    return field.decode().removeprefix(_PACE).removeprefix(":")


def _change(change_id: str, fields: dict[bytes, bytes]) -> Change:
    said = {name.decode(): value.decode() for name, value in fields.items()}
    return Change(
        change_id,
        int(change_id.partition("-")[0]),
        said["who"],
        said["what"],
        said["why"],
        said.get("event", ""),
        float(said["pace"]) if "pace" in said else None,
    )
