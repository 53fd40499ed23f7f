"""A Ray cluster of several nodes on one machine, at the orders of a drill.

    python -m tests.end_to_end.ray_nodes SOCKET PORT

Runs in a process of its own: `ray.cluster_utils.Cluster` starts Ray's processes as children
of whoever uses it, and the drill wants to find them, and end them, without being one of them.
Orders and answers are lines of JSON on a Unix socket. The first node is the head.
"""

import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

from actors.ray_environment import prepare_environment

#: Object store of each node, bytes: the smallest that Ray takes.
_OBJECT_STORE_BYTES = 80 * 1024 * 1024


def main(path: str, port: int) -> None:
    """Start a node for each line that comes, until nobody is there to ask for more."""
    prepare_environment(Path(path).parent / "ray-token")
    from ray.cluster_utils import Cluster

    cluster = Cluster(shutdown_at_exit=False)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        line, _ = listener.accept()
    with line, line.makefile("rw") as orders:
        for order in orders:
            options: dict[str, Any] = json.loads(order)
            if cluster.head_node is None:
                options |= {"gcs_server_port": port, "include_dashboard": False}
            node = cluster.add_node(object_store_memory=_OBJECT_STORE_BYTES, **options)
            (raylet,) = node.all_processes["raylet"]
            told = {
                "address": cluster.address,
                "raylet": raylet.process.pid,
                "processes": [
                    info.process.pid for kind in node.all_processes.values() for info in kind
                ],
            }
            orders.write(json.dumps(told) + "\n")
            orders.flush()
    os._exit(0)  # its keeper ends what is left


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
