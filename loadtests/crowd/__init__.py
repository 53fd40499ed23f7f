"""A crowd: many connections that ask as fast as they are answered, in a process of its own.

    python -m loadtests.crowd < spec.json

reads one JSON object (`Spec`), drives a server over HTTP/1.1 keep-alive connections, and
tells what came of it (`Result`), as `loadtests.own_process` describes. `run_crowd` does the
same from Python.

What is measured is the server: a request costs the crowd 5 microseconds of a core when
answers come thick and fast, about 20 when it has to be woken for every one.
"""

from collections.abc import Callable
from typing import Any

from loadtests.crowd.spec import Latency, Request, Result, Spec, Template, Webhooks
from loadtests.own_process import LoadFailed, run_apart

__all__ = [
    "Latency",
    "LoadFailed",
    "Request",
    "Result",
    "Spec",
    "Template",
    "Webhooks",
    "run_crowd",
]


def run_crowd(
    spec: Spec | dict[str, Any], on_progress: Callable[[int], None] | None = None
) -> Result:
    """Run a crowd in a process of its own and return what came of it.

    Args:
        spec: what it does.
        on_progress: told the number of answers so far, about five times a second.

    Raises:
        LoadFailed: it ended without a result.
    """
    return run_apart("loadtests.crowd", spec, Result, on_progress)
