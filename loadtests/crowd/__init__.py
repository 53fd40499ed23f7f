"""A crowd: many connections that ask as fast as they are answered, in a process of its own.

    python -m loadtests.crowd < spec.json

reads one JSON object (`Spec`), drives a server over HTTP/1.1 keep-alive connections, and
writes JSON lines: `{"done": n}` about five times a second, at the end `{"result": {...}}`
(`Result`), or `{"error": "..."}`. `run_crowd` does the same from Python.

What is measured is the server: a request costs the crowd 5 microseconds of a core when
answers come thick and fast, about 20 when it has to be woken for every one.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import msgspec

from loadtests.crowd.spec import CrowdFailed, Latency, Request, Result, Spec, Template

__all__ = ["CrowdFailed", "Latency", "Request", "Result", "Spec", "Template", "run_crowd"]


def run_crowd(
    spec: Spec | dict[str, Any], on_progress: Callable[[int], None] | None = None
) -> Result:
    """Run a crowd in a process of its own and return what came of it.

    Args:
        spec: what it does.
        on_progress: told the number of answers so far, about five times a second.

    Raises:
        CrowdFailed: it ended without a result.
    """
    with subprocess.Popen(
        [sys.executable, "-m", "loadtests.crowd"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(msgspec.json.encode(spec))
            process.stdin.close()
            for line in process.stdout:
                told = json.loads(line)
                if "result" in told:
                    return msgspec.convert(told["result"], Result)
                if "error" in told:
                    raise CrowdFailed(told["error"])
                if on_progress is not None:
                    on_progress(told["done"])
        except BaseException:
            process.kill()
            raise
    raise CrowdFailed(f"the crowd ended with status {process.returncode}")
