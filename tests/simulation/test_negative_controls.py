"""With a mistake planted in the product, a simulation must fail, or it proves nothing."""

import pytest

from tests.calls import Violation
from tests.simulation import mistakes
from tests.simulation.simulate import Plant, simulate
from tests.virtual_time import Stuck

#: Worlds in which a mistake must have been found. Every commit looks at as many.
_WORLDS = 40


def found(mistake: Plant) -> Violation:
    """Return the first broken promise that the mistake leads to."""
    for seed in range(_WORLDS):
        try:
            simulate(seed, mistake)
        except Violation as violation:
            return violation
        except Stuck:
            continue  # the mistake drives an owner mad; the next world will show more
    pytest.fail(f"{mistake.__name__} goes unnoticed in {_WORLDS} worlds")


@pytest.mark.parametrize(
    ("mistake", "promises"),
    [
        (mistakes.answer_before_append, {"I2"}),
        (mistakes.no_fence, {"I2", "I5"}),
        (mistakes.no_dedupe, {"I6"}),
        (mistakes.append_again, {"I1", "I3", "I4", "I5", "I6"}),
        (mistakes.no_proof_for_reads, {"I2"}),
        (mistakes.first_come_first_served, {"I2"}),
        (mistakes.believe_the_wall_clock, {"I5"}),
        (mistakes.read_before_claiming, {"I5", "17"}),
    ],
)
def test_a_planted_mistake_is_found(mistake: Plant, promises: set[str]) -> None:
    assert found(mistake).invariant in promises
