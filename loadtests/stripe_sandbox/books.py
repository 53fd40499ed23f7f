"""The sandbox's accounts: every object, and the file that keeps them.

The file has a line for every change of an object. What a request changed is written in
one piece before the request is answered, so that a killed process forgets nothing it
told anyone; it is not synced, and a power cut may.
"""

import fcntl
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import msgspec
from msgspec import Struct

from loadtests.stripe_sandbox.collection import Collection
from loadtests.stripe_sandbox.errors import Object, missing
from loadtests.stripe_sandbox.objects import new_event

#: How long an idempotency key is remembered, seconds; Stripe promises "at least 24 hours".
_REMEMBERED_SECONDS = 86_400

KINDS = ("payment_intent", "charge", "refund", "dispute", "event", "webhook_endpoint")


class DamagedBooks(Exception):
    """A line of the file that is not its last one cannot be read."""


class BooksInUse(Exception):
    """Another sandbox is writing to the file."""


class Delivery(Struct, frozen=True):
    """An event on its way to an endpoint, by their ids."""

    event: str
    endpoint: str


class Answer(Struct, frozen=True):
    """What was answered to the first request with an idempotency key."""

    key: str
    fingerprint: str
    status: int
    body: msgspec.Raw
    created: int
    request_id: str


class Change:
    """What a request reads and changes; nothing of it is to be seen before the commit.

    Args:
        books: what it changes.
        now: seconds since 1970.
        request_id: of the request that asked for it, if there was one.
        idempotency_key: of that request.
        site: where the sandbox is, for links to its own pages.
    """

    def __init__(
        self,
        books: "Books",
        now: int,
        request_id: str | None = None,
        idempotency_key: str | None = None,
        site: str = "",
    ) -> None:
        self.books = books
        self.now = now
        self.site = site
        self.things: dict[str, Object] = {}
        self.events: list[Object] = []
        self.removed: list[str] = []
        self._request = {"id": request_id, "idempotency_key": idempotency_key}

    def find(self, kind: str, object_id: str) -> Object | None:
        """Return an object as this change sees it, None if it is not there."""
        return self.things.get(object_id) or self.books[kind].get(object_id)

    def get(self, kind: str, object_id: str, param: str = "id") -> Object:
        """Return an object as this change sees it.

        Raises:
            StripeError: it is not there.
        """
        found = self.find(kind, object_id)
        if found is None:
            raise missing(kind, object_id, param)
        return found

    def put(self, thing: Object, **fields: Any) -> Object:
        """Add or replace an object, with these fields changed; return it as it is now."""
        thing = {**thing, **fields}
        self.things[thing["id"]] = thing
        return thing

    def remove_endpoint(self, endpoint_id: str) -> None:
        """Forget an endpoint and what was to be delivered to it."""
        self.removed.append(endpoint_id)

    def emit(self, kind: str, thing: Object, previous: Object | None = None) -> None:
        """Tell the world about an object as it is now."""
        event = new_event(self.now, kind, thing, previous)
        event["request"] = self._request
        self.events.append(event)


class Books:
    """All objects, the answers that keys remember, and which events are still to deliver.

    Args:
        path: the file; None keeps nothing.

    Raises:
        DamagedBooks: a line before the last one cannot be read.
        BooksInUse: somebody else writes to the file.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._file: int | None = None
        self._encode = msgspec.json.Encoder().encode_lines
        self._forget()
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._load(path)
            except BlockingIOError:
                os.close(file)
                raise BooksInUse(str(path)) from None
            except DamagedBooks:
                os.close(file)
                raise
            self._file = file

    def __getitem__(self, kind: str) -> Collection:
        return self._kinds[kind]

    def commit(self, change: Change, answer: Answer | None = None) -> list[Delivery]:
        """Make a change true and lasting; return what is to be delivered for it."""
        lines: list[Object] = []
        carried: dict[str, Object] = {}
        for event in change.events:
            to = self._subscribers(event["type"])
            event["pending_webhooks"] = len(to)
            thing = event["data"]["object"]
            carried[thing["id"]] = thing
            lines.append({"event": event, "to": to})
        # An event's line is also the line of the object that it carries.
        things = change.things.values()
        lines += [{"put": thing} for thing in things if carried.get(thing["id"]) is not thing]
        lines += [{"removed": endpoint_id} for endpoint_id in change.removed]
        if answer is not None:
            lines.append({"answer": answer})
        self._write(lines)
        for thing in things:
            self[thing["object"]].put(thing)
        for endpoint_id in change.removed:
            self._remove_endpoint(endpoint_id)
        if answer is not None:
            self._remember(answer)
        return [made for line in lines if "event" in line for made in self._post(**line)]

    def answered(self, key: str, now: int) -> Answer | None:
        """Return what a key remembers, None if it is new or too old."""
        found = self._answers.get(key)
        return found if found and found.created > now - _REMEMBERED_SECONDS else None

    def delivered(self, delivery: Delivery) -> None:
        """Note that an endpoint has taken an event."""
        if self.undelivered.pop(delivery, None) is not None:
            self._write([{"delivered": delivery}])
            self._count_delivered(delivery.event)

    def gave_up(self, delivery: Delivery) -> None:
        """Note that an event will not be sent to an endpoint any more."""
        if self.undelivered.get(delivery):
            self._write([{"gave_up": delivery}])
            self.undelivered[delivery] = False

    def reset(self) -> None:
        """Forget everything but the endpoints."""
        endpoints = list(self["webhook_endpoint"])
        self._forget()
        if self._file is not None:
            os.ftruncate(self._file, 0)
        self._write([{"put": endpoint} for endpoint in endpoints])
        for endpoint in endpoints:
            self["webhook_endpoint"].put(endpoint)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _forget(self) -> None:
        self._kinds = {kind: Collection(kind) for kind in KINDS}
        self._answers: dict[str, Answer] = {}
        #: What endpoints have not taken; False once nobody tries any more.
        self.undelivered: dict[Delivery, bool] = {}

    def _subscribers(self, kind: str) -> list[str]:
        return [
            endpoint["id"]
            for endpoint in self["webhook_endpoint"]
            if kind in endpoint["enabled_events"] or "*" in endpoint["enabled_events"]
        ]

    def _post(self, event: Object, to: Iterable[str]) -> list[Delivery]:
        self["event"].put(event)
        made = [Delivery(event["id"], endpoint) for endpoint in to]
        self.undelivered.update(dict.fromkeys(made, True))
        return made

    def _count_delivered(self, event_id: str) -> None:
        event = self["event"].get(event_id)
        assert event is not None
        self["event"].put({**event, "pending_webhooks": event["pending_webhooks"] - 1})

    def _remember(self, answer: Answer) -> None:
        self._answers.pop(answer.key, None)
        self._answers[answer.key] = answer
        oldest = next(iter(self._answers.values()))
        if oldest.created <= answer.created - _REMEMBERED_SECONDS:
            del self._answers[oldest.key]

    def _remove_endpoint(self, endpoint_id: str) -> None:
        self["webhook_endpoint"].remove(endpoint_id)
        for delivery in [d for d in self.undelivered if d.endpoint == endpoint_id]:
            del self.undelivered[delivery]
            self._count_delivered(delivery.event)

    def _write(self, lines: list[Object]) -> None:
        if self._file is not None and lines:
            data = self._encode(lines)
            assert os.write(self._file, data) == len(data), "the disk is full"

    def _load(self, path: Path) -> None:
        kept, content = 0, path.read_bytes()
        for number, line in enumerate(content.splitlines(keepends=True), 1):
            if not line.endswith(b"\n"):
                break  # torn: whoever asked for it was not answered
            try:
                self._replay(msgspec.json.decode(line))
            except msgspec.DecodeError as error:
                raise DamagedBooks(f"{path}, line {number}: {error}") from None
            kept += len(line)
        if kept < len(content):
            os.truncate(path, kept)

    def _replay(self, line: Object) -> None:
        match line:
            case {"event": event, "to": to}:
                thing = event["data"]["object"]
                self[thing["object"]].put(thing)
                self._post(event, to)
            case {"put": thing}:
                self[thing["object"]].put(thing)
            case {"answer": told}:
                body = msgspec.Raw(msgspec.json.encode(told.pop("body")))
                self._remember(Answer(**told, body=body))
            case {"delivered": told}:
                if self.undelivered.pop(Delivery(**told), None) is not None:
                    self._count_delivered(told["event"])
            case {"gave_up": told}:
                self.undelivered[Delivery(**told)] = False
            case {"removed": endpoint_id}:
                self._remove_endpoint(cast("str", endpoint_id))
            case _:
                raise DamagedBooks(f"nobody knows what this line means: {line}")
