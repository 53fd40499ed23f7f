"""What travels between a gateway and an owner: one batch there, one reply back.

MessagePack on both legs; Ray sees two byte strings and copies them once.
"""

import msgspec
from msgspec import Struct

from engine.domain.commands import Command
from engine.domain.outcomes import Outcome
from engine.domain.views import Availability
from engine.journal.pulses import Pulse


class Envelope(Struct, frozen=True, array_like=True, gc=False):
    """A command and how long its client still waits, milliseconds.

    A span, not an instant: the clocks of gateway and owner need not agree.
    """

    budget_ms: int
    command: Command


class Answers(Struct, frozen=True, array_like=True, tag="answers"):
    """Outcomes in the order of the batch; None where the budget ran out before its turn.

    `availability` is that after the turn, None while there is no such event.
    """

    outcomes: list[Outcome | None]
    availability: Availability | None


class Recovering(Struct, frozen=True, array_like=True, tag="recovering"):
    """The owner does not know its state yet, or leaves; ask again. Nothing was decided."""


class Overloaded(Struct, frozen=True, array_like=True, tag="overloaded"):
    """The owner's inbox is full. Nothing was decided."""


class Halted(Struct, frozen=True, array_like=True, tag="halted"):
    """The event stands still until somebody has looked at it. Nothing was decided."""

    reason: str


Reply = Answers | Recovering | Overloaded | Halted

_encoder = msgspec.msgpack.Encoder()
encode_batch = _encoder.encode
encode_reply = _encoder.encode
decode_batch = msgspec.msgpack.Decoder(list[Envelope]).decode
decode_reply = msgspec.msgpack.Decoder(Reply).decode

#: What is sent over a shortcut instead of a batch to be told the `Health` of an owner.
ASK_HEALTH = b""


class Health(Struct, frozen=True, array_like=True):
    """What an owner says of itself; `incarnation` tells it from its predecessors.

    `process_started` is the kernel's start time of process `pid` on node `node`: together
    they name the process even after its number was given to another one. `pulse` is how
    its event fares, None for who has none.
    """

    incarnation: str
    node: str
    pid: int
    process_started: int
    phase: str
    epoch: int
    sequence: int
    bookings: int
    pulse: Pulse | None = None


class LiveFacts(Struct, frozen=True):
    """The owner's side of an audit: its whole state at one sequence number."""

    epoch: int
    sequence: int
    digest: str
    availability: Availability | None


encode_facts = _encoder.encode
decode_facts = msgspec.msgpack.Decoder(LiveFacts).decode
decode_health = msgspec.msgpack.Decoder(Health).decode
