"""Whatever a process says is one JSON object a line: our events, and what libraries say."""

import json
import subprocess
import sys

_TALK = """
import logging, sys, warnings
import structlog
from actors.process import configure_logging
configure_logging(sys.argv[1])
log = structlog.get_logger("ours")
with structlog.contextvars.bound_contextvars(request_id="r1", event_id="evt_1", booking_id="bk_1"):
    log.info("bought", tickets=2)
    logging.getLogger("theirs").warning("about %s", "it")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("broken")
    logging.getLogger("theirs").exception("theirs, too")
logging.getLogger("httpx").info("a body with secrets")
"""


def said(level: str) -> list[dict]:
    ran = subprocess.run(
        [sys.executable, "-c", _TALK, level], capture_output=True, text=True, check=True
    )
    assert ran.stdout == ""
    return [json.loads(line) for line in ran.stderr.splitlines()]


def test_every_line_is_json_with_the_ids_that_are_known() -> None:
    bought, about, broken, theirs = said("INFO")
    ids = {"request_id": "r1", "event_id": "evt_1", "booking_id": "bk_1"}
    assert ids.items() <= bought.items()
    assert (bought["event"], bought["level"], bought["logger"]) == ("bought", "info", "ours")
    assert bought["tickets"] == 2
    assert bought["timestamp"].endswith("Z")
    assert ids.items() <= about.items(), "what a library says names the request, too"
    assert (about["event"], about["level"], about["logger"]) == ("about it", "warning", "theirs")
    for line in (broken, theirs):
        assert "ZeroDivisionError" in line["exception"]
        assert "request_id" not in line


def test_a_level_silences_what_is_below() -> None:
    assert [line["event"] for line in said("ERROR")] == ["broken", "theirs, too"]
