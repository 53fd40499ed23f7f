"""`onsale dead-letters`: what consumers have given up on, and another chance for it."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import msgspec
import typer
from rich.table import Table

from engine.journal.connect import connect
from engine.journal.contract import Unavailable
from engine.journal.projection import decode_record
from engine.journal.redis_streams import RedisStreams
from engine.journal.stream_fields import split_letter_id
from engine.journal.streams import DeadLetter, Effect, Group, Incoming, Message, Streams
from engine.limits import LIST_MAX
from gateway.cli.at_rest import store_url
from gateway.cli.console import fail, people, read_settings

_Answer = TypeVar("_Answer")

app = typer.Typer(no_args_is_help=True, help="Look at what consumers have given up on.")


def _checked(given: str | list[str] | None) -> str | list[str] | None:
    """Return ids of dead letters as they are, if that is what they are."""
    for letter_id in [given] if isinstance(given, str) else given or []:
        try:
            split_letter_id(letter_id)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
    return given


_GroupName = Annotated[str, typer.Argument(help="Name of the consumer group.")]
_LetterId = Annotated[
    str, typer.Argument(callback=_checked, help="Id of the dead letter, as `list` shows it.")
]


@app.command(name="list")
def list_letters(
    group: Annotated[str | None, typer.Option(help="Only this consumer group's.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Of each group.")] = LIST_MAX,
    after: Annotated[
        str | None, typer.Option(callback=_checked, help="Go on behind this id.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """List dead letters, oldest first."""

    async def gather(streams: Streams) -> list[tuple[Group, list[DeadLetter]]]:
        groups = await streams.groups() if group is None else [await _group(streams, group)]
        return [(one, await streams.dead_letters(one, limit, after)) for one in groups]

    found = [(one, letters) for one, letters in _with_streams(gather) if letters]
    if as_json:
        for one, letters in found:
            for letter in letters:
                typer.echo(json.dumps(_as_json(one, letter)))
        return
    if not found:
        people.print("No dead letters.")
    for one, letters in found:
        people.print(_table(one, letters))
        if len(letters) == limit:
            people.print(f"There may be more: --group {one.name} --after {letters[-1].letter_id}")


@app.command()
def show(group: _GroupName, letter_id: _LetterId) -> None:
    """Show one dead letter with its message, as JSON."""

    async def look(streams: Streams) -> dict[str, Any]:
        of_group = await _group(streams, group)
        letter = await streams.dead_letter(of_group, letter_id)
        if letter is None:
            raise fail(f"{group} has no dead letter {letter_id}")
        return _as_json(of_group, letter)

    typer.echo(json.dumps(_with_streams(look), indent=2))


@app.command()
def replay(
    group: _GroupName,
    letter_ids: Annotated[
        list[str] | None, typer.Argument(callback=_checked, help="Ids of the letters.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All there are now.")] = False,
) -> None:
    """Put dead letters back on their stream, for this group to handle once more."""
    if bool(letter_ids) == everything:
        raise fail("name the dead letters to replay, or say --all")

    async def put_back(streams: Streams) -> int:
        of_group = await _group(streams, group)
        ids = letter_ids or [letter.letter_id for letter in await _all(streams, of_group)]
        missing = 0
        for letter_id in ids:
            place = await streams.replay_dead(of_group, letter_id)
            missing += place is None
            people.print(
                f"{letter_id}: " + (f"replayed as {place}" if place else "there is no such letter")
            )
        return missing

    if _with_streams(put_back):
        raise typer.Exit(1)


async def _all(streams: Streams, group: Group) -> list[DeadLetter]:
    """Return every letter there is now: one that dies again meanwhile is another letter."""
    letters: list[DeadLetter] = []
    while page := await streams.dead_letters(
        group, LIST_MAX, letters[-1].letter_id if letters else None
    ):
        letters += page
    return letters


async def _group(streams: Streams, name: str) -> Group:
    groups = {group.name: group for group in await streams.groups()}
    if name not in groups:
        known = ", ".join(sorted(groups)) or "none"
        raise fail(f"there is no consumer group {name} (there are: {known})")
    return groups[name]


# -- how it looks ----------------------------------------------------------------------


def _table(group: Group, letters: list[DeadLetter]) -> Table:
    table = Table("id", "buried", "event", "message", "attempts", "replays", "reason", box=None)
    table.title = f"{group.name} ({group.kind})"
    table.title_justify = "left"
    for letter in letters:
        table.add_row(
            letter.letter_id,
            _time(letter.at_ms),
            letter.message.event_id,
            _name(letter.message),
            str(letter.attempts),
            str(letter.replays),
            letter.reason,
        )
    return table


def _name(message: Message) -> str:
    match message:
        case Effect():
            return f"{_record(message)['record']} {message.entry}/{message.index}"
        case Incoming():
            return f"{message.kind} {message.id}"
        case _:
            return "unreadable"


def _as_json(group: Group, letter: DeadLetter) -> dict[str, Any]:
    return {
        "group": group.name,
        "stream": group.kind.value,
        "id": letter.letter_id,
        "buried": _time(letter.at_ms),
        "reason": letter.reason,
        "attempts": letter.attempts,
        "replays": letter.replays,
        "partition": letter.partition,
        "message_id": letter.message_id,
        "message": _message(letter.message),
    }


def _message(message: Message) -> dict[str, Any]:
    match message:
        case Effect():
            return {
                "event": message.event_id,
                "entry": str(message.entry),
                "index": message.index,
                **_record(message),
            }
        case Incoming():
            return {
                "event": message.event_id,
                "id": message.id,
                "kind": message.kind,
                "received": _time(message.at_ms),
                "body": _readable(message.body),
            }
        case _:
            return {_text(name): _text(value) for name, value in sorted(message.fields.items())}


def _record(effect: Effect) -> dict[str, Any]:
    """Return the name and the fields of an effect's record."""
    try:
        record = decode_record(effect.record)
    except msgspec.MsgspecError as error:
        return {"record": "undecodable", "error": str(error), "bytes": effect.record.hex()}
    names = record.__struct_fields__
    fields = {name: msgspec.to_builtins(getattr(record, name)) for name in names}
    return {"record": type(record).__name__, "fields": fields}


def _readable(body: bytes) -> Any:
    """Return what JSON says, or the text as it is."""
    try:
        return json.loads(body)
    except ValueError:
        return _text(body)


def _text(data: bytes) -> str:
    return data.decode(errors="backslashreplace")


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1_000, UTC).isoformat(timespec="milliseconds")


# -- where the store is ----------------------------------------------------------------


def _with_streams(ask: Callable[[Streams], Awaitable[_Answer]]) -> _Answer:
    """Ask the store of these settings, the embedded one started for it if need be."""

    async def run(url: str) -> _Answer:
        client = connect(url)
        try:
            return await ask(RedisStreams(client))
        except Unavailable as error:
            raise fail(f"the store does not answer ({error})") from error
        finally:
            await client.aclose()

    with store_url(read_settings()) as url:
        return asyncio.run(run(url))
