"""What `onsale up` does about a store that ends; drills do it to real ones."""

from typing import Any, cast

import pytest

from engine.journal.embedded import EmbeddedStore, StoreDied
from gateway.cli import stack
from gateway.cli.stack import Stack
from gateway.settings import Settings

FULL = "Can't recover from AOF write error when the AOF fsync policy is 'always'. Exiting..."


class EndedStore:
    """A store that is never there, and is started in vain for these reasons, one each time."""

    def __init__(self, *reasons: Exception | None) -> None:
        self.reasons = list(reasons)

    def alive(self) -> bool:
        return False

    def last_words(self) -> str:
        return FULL

    def start(self) -> None:
        reason = self.reasons.pop(0)
        if reason is not None:
            raise reason


def over(store: EndedStore) -> Stack:
    up = Stack(Settings())
    up._store = cast("EmbeddedStore", store)
    return up


def test_a_store_that_ends_is_started_again_however_often_and_why_is_said_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    monkeypatch.setattr(stack.people, "print", lambda text, **_: said.append(text))
    store = EndedStore(None, StoreDied("no"), OSError(28, "No space left on device"), None)
    up = over(store)
    for _ in range(4):
        up.mend()
    assert store.reasons == []
    assert said == [f"The store has ended and is started again: {FULL}"]


def test_it_goes_on_where_it_cannot_even_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(stack.people, "print", full)
    store = EndedStore(None)
    over(store).mend()
    assert store.reasons == []


def test_the_last_words_of_a_store_are_the_last_line_of_its_log(tmp_path) -> None:
    store = EmbeddedStore(tmp_path)
    assert store.last_words() == ""
    (tmp_path / "valkey.log").write_text(f"Ready\n1:M # {FULL}\n\n")
    assert store.last_words() == f"1:M # {FULL}"
