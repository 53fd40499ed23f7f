"""The process of payers; see `loadtests.payers`."""

from collections.abc import Callable

from loadtests.own_process import carry_out
from loadtests.payers.buying import buy
from loadtests.payers.delivering import deliver
from loadtests.payers.spec import Buying, Delivered, Delivering, Takings


async def _run(spec: Buying | Delivering, progress: Callable[[int], None]) -> Takings | Delivered:
    if isinstance(spec, Buying):
        return await buy(spec, progress)
    return await deliver(spec, progress)


if __name__ == "__main__":
    carry_out(Buying | Delivering, _run)
