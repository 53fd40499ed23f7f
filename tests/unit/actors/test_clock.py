"""The owner's time only goes forward and never jumps (FAULTS.md, 22)."""

from hypothesis import given
from hypothesis import strategies as st

from actors.clock import TurnClock

HOUR_MS = 3_600_000
NOW_MS = 1_800_000_000_000


class Machine:
    """A computer whose two clocks the test moves."""

    def __init__(self) -> None:
        self.wall_ms = NOW_MS
        self.up_ms = 5_000

    def clock(self) -> TurnClock:
        return TurnClock(lambda: self.wall_ms * 1_000_000, lambda: self.up_ms * 1_000_000)

    def run(self, ms: int) -> None:
        self.wall_ms += ms
        self.up_ms += ms


def test_time_passes_as_it_does_on_the_machine() -> None:
    machine = Machine()
    clock = machine.clock()
    assert clock.now_ms() == NOW_MS
    machine.run(1_234)
    assert clock.now_ms() == NOW_MS + 1_234


def test_parts_of_a_millisecond_are_cut() -> None:
    clock = TurnClock(lambda: 5_999_999, lambda: 0)
    assert clock.now_ms() == 5


def test_a_wall_clock_that_is_set_forth_or_back_changes_nothing() -> None:
    machine = Machine()
    clock = machine.clock()
    for jump_ms in (10 * 60_000, -20 * 60_000, HOUR_MS, -3 * HOUR_MS):
        machine.wall_ms += jump_ms
        assert clock.now_ms() == NOW_MS


def test_an_owner_whose_machine_is_an_hour_back_goes_on_from_the_journals_last_instant() -> None:
    machine = Machine()
    machine.wall_ms -= HOUR_MS
    clock = machine.clock()
    clock.not_before(NOW_MS)
    assert clock.now_ms() == NOW_MS
    machine.run(250)
    assert clock.now_ms() == NOW_MS + 250


def test_a_journal_that_ends_in_the_past_does_not_hold_the_clock_back() -> None:
    clock = Machine().clock()
    clock.not_before(NOW_MS - HOUR_MS)
    assert clock.now_ms() == NOW_MS


def test_the_wall_clock_is_asked_once() -> None:
    asked = []
    clock = TurnClock(lambda: asked.append(1) or 0, lambda: 0)
    clock.now_ms()
    clock.not_before(10)
    clock.now_ms()
    assert asked == [1]


@given(
    st.lists(
        st.tuples(st.sampled_from(["run", "jump", "not_before"]), st.integers(0, 2 * HOUR_MS)),
        max_size=30,
    ),
    st.data(),
)
def test_time_never_goes_back_whatever_happens_to_the_machine(steps, data) -> None:
    machine = Machine()
    clock = machine.clock()
    seen = clock.now_ms()
    for what, ms in steps:
        if what == "run":
            machine.run(ms)
        elif what == "jump":
            machine.wall_ms += ms * data.draw(st.sampled_from([-1, 1]))
        else:
            clock.not_before(NOW_MS - HOUR_MS + ms)
            assert clock.now_ms() >= NOW_MS - HOUR_MS + ms
        assert clock.now_ms() >= seen
        seen = clock.now_ms()
