"""The page for organizers says what is so."""

import json
import re
import time
from pathlib import Path

import pytest

from actors.back_office.courier import pause_seconds
from actors.back_office.signing import headers, new_secret
from engine.store.webhook_contract import WebhookKind

PAGE = (Path(__file__).parents[4] / "docs" / "WEBHOOKS.md").read_text()


def test_every_kind_is_in_the_table_and_no_other() -> None:
    rows = re.findall(r"^\| `([a-z]+\.[a-z_]+)` \|", PAGE, re.MULTILINE)
    assert sorted(rows) == sorted(WebhookKind)


def test_the_examples_are_json_of_known_kinds() -> None:
    examples = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        assert json.loads(example)["type"] in set(WebhookKind)


def test_the_snippet_verifies_what_we_sign_and_nothing_else() -> None:
    (snippet,) = re.findall(r"```python\n(import.*?)```", PAGE, re.DOTALL)
    names: dict = {}
    exec(snippet, names)
    verify = names["verify"]
    secret, other, body, now = new_secret(), new_secret(), b'{"type":"ping"}', int(time.time())
    signed = headers([other, secret], "msg_1", now, body)
    assert verify(secret, signed, body)
    assert verify(other, signed, body)
    assert not verify(new_secret(), signed, body)
    assert not verify(secret, signed, body + b" ")
    assert not verify(secret, headers([secret], "msg_1", now - 301, body), body)


@pytest.mark.parametrize(
    ("attempts", "words"),
    [(1, "5 seconds"), (2, "20 seconds"), (3, "80 seconds"), (4, "5 minutes"), (5, "21 minutes"),
     (6, "85 minutes"), (7, "6 hours"), (8, "12\nhours")],
)  # fmt: skip
def test_the_pauses_are_those_of_the_courier(attempts: int, words: str) -> None:
    assert words in PAGE
    number, unit = words.split()
    seconds = int(number) * {"seconds": 1, "minutes": 60, "hours": 3_600}[unit]
    assert pause_seconds(attempts, 0.0) == pytest.approx(seconds, rel=0.07)
