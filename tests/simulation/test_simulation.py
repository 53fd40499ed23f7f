"""Worlds in which everything goes wrong, and every promise is kept all the same.

`ONSALE_SIMULATE=<n> pytest tests/simulation` looks at n worlds instead of the forty of every
commit, `ONSALE_SIMULATE_FROM=<seed>` begins elsewhere. A failure names its seed:
`tests.simulation.simulate.simulate(<seed>)` gives the same world to the last byte.
"""

import os
from collections import Counter

import pytest

from tests.simulation.simulate import simulate
from tests.simulation.troubles import Troubles
from tests.simulation.world import World

_WORLDS_OF = {"quick": 40, "long": 1_000}


def seeds() -> range:
    wanted = os.environ.get("ONSALE_SIMULATE", "quick")
    worlds = int(wanted) if wanted.isdigit() else _WORLDS_OF[wanted]
    first = int(os.environ.get("ONSALE_SIMULATE_FROM", "0"))
    return range(first, first + worlds)


@pytest.mark.parametrize("seed", seeds())
def test_no_promise_is_broken_whatever_goes_wrong(seed: int) -> None:
    run = simulate(seed)
    for verdict in run.verdicts:
        assert verdict.granted, "nothing was sold: this world proves nothing"


def test_a_seed_gives_the_same_world_to_the_last_byte() -> None:
    first, again, other = simulate(7), simulate(7), simulate(8)
    assert first.fingerprint == again.fingerprint
    assert first.log == again.log
    assert first.fingerprint != other.fingerprint


def test_a_few_worlds_together_see_everything_that_can_go_wrong() -> None:
    seen: Counter[str] = Counter()
    for seed in range(8):
        run = simulate(seed)
        seen.update(run.log)
        seen["owners"] += run.owners
        for verdict in run.verdicts:
            assert verdict.granted > 10, "hardly anything was sold: this world proves little"
            seen["granted"] += verdict.granted
            seen["shortages"] += verdict.shortages_checked
            seen["unknown"] += verdict.unknown
            seen["unknown but done"] += verdict.unknown_but_done
    assert seen["owners"] >= 50
    assert seen["granted"] >= 400
    assert seen["shortages"] >= 200
    assert seen["unknown"] > seen["unknown but done"] >= 20
    for what in ("append_in_doubt", "fenced", "recovered", "resting", "snapshot"):
        assert seen[what] >= 3, f"{what}: {seen}"
    for what in ("snapshot_unusable", "store_unreachable"):
        assert seen[what] >= 1, f"{what}: {seen}"


def test_every_trouble_is_chosen_by_some_of_the_seeds() -> None:
    chosen: Counter[str] = Counter()
    for seed in range(40):
        chosen.update(trouble.__name__ for trouble in Troubles(World(seed)).chosen)
    assert min(chosen.values()) >= 10
    assert len(chosen) == 10
