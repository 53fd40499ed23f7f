"""What Ray reads from the environment. Import nothing of Ray before this was called."""

import os
import secrets
import sys
from pathlib import Path

#: What every process must have in its environment before it imports or starts Ray.
#: A mismatch of the mode between two processes looks like a cluster that hangs.
ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Owners must not be the first victims when memory is short.
    "RAY_worker_oom_score_adjustment": "0",
    # Owners are the service itself; at Ray's default niceness of 15 anything would go first.
    "RAY_worker_niceness": "0",
    # Nobody takes the output of owners from Ray's log monitor; it looks into each of their files
    # ten times a second. It finds none where it looks for new ones once a day.
    "RAY_LOG_MONITOR_MANY_FILES_THRESHOLD": "0",
    "LOG_NAME_UPDATE_INTERVAL_S": "86400",
    # An id is looked up anywhere in tables of many megabytes: on huge pages, where the kernel
    # lends them to who asks (`madvise`), that is faster. glibc reads it when a
    # process starts, so that owners get it from the Ray that starts them. It costs each of
    # them 4 MB.
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    # Ray's own two processes free in one of eight arenas what they take again in another, and
    # grow: a raylet by a sixth in the first quarter of an hour of a sale. With one arena, whose
    # free pages go back after a second, it stays at 28 MB instead of growing from 33.
    "RAY_JEMALLOC_PROFILE": "raylet,gcs_server",
    "RAY_JEMALLOC_CONF": (
        "narenas:1,tcache:false,background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0"
    ),
}

#: Label of nodes that take no actors: the head, which has to keep the cluster together, and
#: nodes of gateways, which need their cores for sockets. Zero CPUs do not keep away an actor
#: that asks for none. A node without the label takes its share: so does the only one.
NO_ACTORS = {"onsale-actors": "none"}


def prepare_environment(token_file: Path) -> None:
    """Set what Ray reads from the environment, and make its token if there is none.

    A token that the operator has set (RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH) is kept.
    """
    assert "ray" not in sys.modules, "Ray was imported before its environment was set"
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if "RAY_AUTH_TOKEN" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ:
        return
    token_file.parent.mkdir(parents=True, exist_ok=True)
    if not token_file.exists():
        token_file.touch(mode=0o600)
        token_file.write_text(secrets.token_hex(32))
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(token_file.resolve())
