"""Names of everything that the engine keeps in Redis.

All keys of an event share the hash tag of its partition, so that one script may write
them together on Redis Cluster too. `docs/OPERATING.md` lists them for backups.
"""

import zlib
from typing import NamedTuple

from engine.limits import PARTITIONS

#: What operators have set, who did it, and the gateways that share a pace; see `controls`.
CONTROLS = "{controls}:state"
CONTROLS_CHANGES = "{controls}:changes"
CONTROLS_GATEWAYS = "{controls}:gateways"
#: How many back offices share the work; see `offices`.
OFFICES = "{controls}:offices"
#: How the busiest events fare; see `pulses`.
PULSES = "{controls}:pulses"


def partition_of(event_id: str) -> int:
    """Return the partition of an event, 0 to PARTITIONS - 1; never changes."""
    return zlib.crc32(event_id.encode()) % PARTITIONS


class PartitionKeys(NamedTuple):
    """Keys that the events of one partition share."""

    effects: str
    scans: str
    events: str
    openings: str
    awake: str
    bookings: str
    inbox: str
    dead: str
    contact: str


def partition_keys(partition: int) -> PartitionKeys:
    """Return the keys of one partition.

    `bookings`, `dead` and `contact` are prefixes: a customer, a consumer group's name, a
    booking's id follows.
    """
    tag = f"{{p{partition:02d}}}"
    return PartitionKeys(
        effects=f"{tag}:effects",
        scans=f"{tag}:scans",
        events=f"{tag}:events",
        openings=f"{tag}:openings",
        awake=f"{tag}:awake",
        bookings=f"{tag}:bookings:",
        inbox=f"{tag}:inbox",
        dead=f"{tag}:dead:",
        contact=f"{tag}:contact:",
    )


class EventKeys(NamedTuple):
    """Keys of one event; `snapshot` is a prefix, position and nonce follow."""

    journal: str
    document: str
    snapshots: str
    snapshot: str


def event_keys(event_id: str) -> EventKeys:
    """Return the keys of one event."""
    tag = f"{{p{partition_of(event_id):02d}}}"
    return EventKeys(
        journal=f"{tag}:journal:{event_id}",
        document=f"{tag}:event:{event_id}",
        snapshots=f"{tag}:snapshots:{event_id}",
        snapshot=f"{tag}:snapshot:{event_id}:",
    )
