"""The process of a crowd; see `loadtests.crowd`."""

import contextlib
import gc
import sys
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from loadtests.crowd.callers import Crowd
from loadtests.crowd.spec import CrowdFailed, Result, Spec


def _run(spec: Spec) -> Result:
    # Nothing of a short run is worth looking for while the clock runs.
    gc.collect()
    gc.freeze()
    gc.disable()
    with contextlib.ExitStack() as files:
        recording = files.enter_context(Path(spec.record).open("wb")) if spec.record else None

        async def run() -> Result:
            return await Crowd(spec, recording).run(lambda done: _tell({"done": done}))

        return uvloop.run(run())


def _tell(message: dict[str, Any]) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(message) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    try:
        _tell({"result": _run(msgspec.json.decode(sys.stdin.buffer.read(), type=Spec))})
    except (CrowdFailed, msgspec.MsgspecError, OSError) as failure:
        _tell({"error": f"{type(failure).__name__}: {failure}"})
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
