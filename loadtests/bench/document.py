"""What is kept of a run, for machines: one JSON document."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from loadtests.bench import verdict
from loadtests.bench.found import Found
from loadtests.bench.rounds import Plan
from loadtests.bench.verdict import Finding

_SCHEMA = 4


class Document(Struct, frozen=True):
    """A run: when, where, how much was measured, what was found, and what it is worth.

    A quick one is not `judged`: it is too short to be worth anything.
    """

    schema: int
    at: str
    machine: dict[str, Any]
    plan: Plan
    verdict: list[Finding]
    found: Found
    judged: bool = True


def document(plan: Plan, found: Found, machine: dict[str, Any], *, judged: bool) -> Document:
    """Return the document of a run that has just ended."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Document(_SCHEMA, now, machine, plan, verdict.of(found), found, judged)


def read(path: Path) -> Document:
    """Return a document that was kept.

    Raises:
        msgspec.ValidationError: it is none of this version.
    """
    return msgspec.json.decode(path.read_bytes(), type=Document)


def write(directory: Path, kept: Document) -> Path:
    """Keep a document in a file of its own and return its path."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{datetime.fromisoformat(kept.at):%Y%m%dT%H%M%SZ}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(kept), indent=1) + b"\n")
    return path
