"""The process of a crowd; see `loadtests.crowd`."""

import contextlib
from collections.abc import Callable
from pathlib import Path

from loadtests.crowd.callers import Crowd
from loadtests.crowd.spec import Result, Spec
from loadtests.own_process import carry_out


async def _run(spec: Spec, progress: Callable[[int], None]) -> Result:
    with contextlib.ExitStack() as files:
        recording = None
        if spec.record:  # nothing else runs yet that it could hold up
            recording = files.enter_context(Path(spec.record).open("wb"))  # noqa: ASYNC230
        return await Crowd(spec, recording).run(progress)


if __name__ == "__main__":
    carry_out(Spec, _run)
