"""Running a generator of load in a process of its own, where it disturbs nobody's clock.

The process reads one JSON object from its standard input, and writes JSON lines:
`{"done": n}` now and then, at the end `{"result": {...}}` or `{"error": "..."}`.
"""

import gc
import json
import subprocess
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import msgspec
import uvloop

_T = TypeVar("_T")


class LoadFailed(Exception):
    """A generator could not do what it was asked. Argument: why."""


def run_apart(
    module: str, spec: object, result: type[_T], on_progress: Callable[[int], None] | None = None
) -> _T:
    """Run a module with this to do, and return what came of it.

    Args:
        module: its `__main__` calls `carry_out`.
        spec: what it is told.
        result: form of what it tells.
        on_progress: told what is done so far, now and then.

    Raises:
        LoadFailed: it ended without a result.
    """
    with subprocess.Popen(  # noqa: S603 - our own programs
        [sys.executable, "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(msgspec.json.encode(spec))
            process.stdin.close()
            for line in process.stdout:
                told = json.loads(line)
                if "result" in told:
                    return msgspec.convert(told["result"], result)
                if "error" in told:
                    raise LoadFailed(told["error"])
                if on_progress is not None:
                    on_progress(told["done"])
        except BaseException:
            process.kill()
            raise
    raise LoadFailed(f"{module} ended with status {process.returncode}")


def carry_out(
    spec: Any, run: Callable[[Any, Callable[[int], None]], Coroutine[Any, Any, object]]
) -> None:
    """Be such a process.

    Args:
        spec: form of what it is told, a type or a union of types.
        run: does it; given that, and a function to tell the progress to.
    """
    try:
        todo = msgspec.json.decode(sys.stdin.buffer.read(), type=spec)
        # Nothing of a short run is worth looking for while the clock runs.
        gc.collect()
        gc.freeze()
        gc.disable()
        _tell({"result": uvloop.run(run(todo, lambda done: _tell({"done": done})))})
    except (LoadFailed, msgspec.MsgspecError, OSError) as failure:
        _tell({"error": f"{type(failure).__name__}: {failure}"})
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _tell(message: dict[str, Any]) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(message) + b"\n")
    sys.stdout.buffer.flush()
