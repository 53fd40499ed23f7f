"""An owner in a fresh process that says how many units it holds, and ends.

python -m loadtests.bench.inprocess.first_answer REDIS_URL EVENT_ID
"""

import asyncio
import os
import sys

import uvloop

from actors.clock import TurnClock
from actors.owner import EventOwner
from actors.process import configure_logging, tune_interpreter
from actors.wire import Answers, Envelope, encode_batch
from engine.domain.commands import ReadAvailability
from engine.journal.connect import connect
from engine.journal.redis import RedisJournal

_PAUSE_SECONDS = 0.002


async def _first_answer(url: str, event_id: str) -> Answers:
    journal = RedisJournal(connect(url), event_id)
    owner = EventOwner(journal, TurnClock(), os.urandom(8), lambda _: None)
    tune_interpreter()
    question = encode_batch([Envelope(60_000, ReadAvailability())])
    # As a gateway does: it asks until the owner knows its state.
    while not isinstance(reply := await owner.submit(question), Answers):  # noqa: ASYNC110
        await asyncio.sleep(_PAUSE_SECONDS)
    sys.stdout.write(f"{len(owner.state.bookings)}\n")
    return reply


if __name__ == "__main__":
    configure_logging("WARNING")
    uvloop.run(_first_answer(*sys.argv[1:]))
    sys.stdout.flush()
    os._exit(0)
