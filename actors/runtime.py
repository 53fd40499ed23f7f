"""Ray itself: started for this machine, or joined where it runs."""

import os
import signal
import threading
import time
from typing import Any

import ray
import structlog

from actors.contract import MortalOwners
from actors.declare import NAMESPACE, the_warden
from actors.processes import this_node

log = structlog.get_logger(__name__)

#: Object store of an embedded cluster, bytes: batches travel inline and need none of it.
_OBJECT_STORE_BYTES = 100 * 1024 * 1024

#: How often a gateway asks whether its cluster is still there, seconds.
_ASK_SECONDS = 5.0


class RayUnreachable(Exception):
    """No Ray cluster at that address, or it refuses the token. Argument: what happened."""


def start_local(*, dashboard: bool) -> tuple[str, str | None]:
    """Start a cluster of one node; it ends with this process.

    Its dashboard listens on loopback. Its other ports listen on the machine's own address
    (Ray resolves 127.0.0.1 to that) and want the token.

    Returns:
        Its address, and the URL of the dashboard if there is one.

    Raises:
        RayUnreachable: it did not start.
    """
    try:
        context: Any = ray.init(
            address="local",
            include_dashboard=dashboard,
            dashboard_host="127.0.0.1",
            namespace=NAMESPACE,
            object_store_memory=_OBJECT_STORE_BYTES,
            log_to_driver=False,
            configure_logging=False,
        )
    except (RuntimeError, ConnectionError, OSError, ValueError) as error:
        raise RayUnreachable(f"{type(error).__name__}: {error}") from error
    url = context.dashboard_url
    return context.address_info["gcs_address"], f"http://{url}" if url else None


def join(address: str) -> str:
    """Connect this process to a running cluster, as a driver on one of its nodes.

    Returns:
        The address of the cluster's control service.

    Raises:
        RayUnreachable: there is none, or it refuses the token.
    """
    try:
        context: Any = ray.init(
            address=address,
            namespace=NAMESPACE,
            log_to_driver=False,
            configure_logging=False,
        )
    except (RuntimeError, ConnectionError, OSError, ValueError) as error:
        raise RayUnreachable(f"{type(error).__name__}: {error}") from error
    gcs_address: str = context.address_info["gcs_address"]
    return gcs_address


def keep_asking() -> None:
    """Have a thread end this process in good order once it has lost its place in the cluster.

    That is when its node is dead: small answers of owners would still arrive, large ones and
    audits pass through the node and would not. After a cold restart another cluster is at the
    same address: Ray ends a process of the old one by itself, when it asks for nodes and not
    when it asks for actors, and a gateway asks for nothing else.
    """
    node = this_node()

    def ask() -> None:
        while not _is_dead(node):
            time.sleep(_ASK_SECONDS)
        log.critical("node_lost", node=node)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=ask, name="cluster", daemon=True).start()


def leave() -> None:
    """Disconnect; a cluster that this process has started ends."""
    ray.shutdown()


def ensure_warden(owners: MortalOwners, redis_url: str, prescale_cores: int) -> None:
    """Have the warden started if it is not there."""
    the_warden(owners, redis_url, prescale_cores)


def _nodes() -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return nodes


def _is_dead(node: str) -> bool:
    try:
        return any(known["NodeID"] == node and not known["Alive"] for known in _nodes())
    except (RuntimeError, ConnectionError, OSError):
        return False  # the control service is away, and says nothing of anybody


def machines() -> int:
    """Return how many machines the cluster has."""
    return len({node["NodeManagerHostname"] for node in _nodes() if node["Alive"]})


def answers() -> bool:
    """Tell whether the cluster's control service answers; blocks while it is silent."""
    try:
        return ray.is_initialized() and any(node["Alive"] for node in _nodes())
    except (RuntimeError, ConnectionError, OSError):
        return False
