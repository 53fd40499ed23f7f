"""Users over time, and the moments at which visitors arrive."""

import pytest

from loadtests.locust.courses import COURSES, Course, Leg


def test_the_seed_is_what_was_asked_for():
    seed = COURSES["Seed"]
    assert seed.seconds == 30
    found = [round(seed.at(second)) for second in (0, 5, 10, 15, 20, 25, 30, 31)]
    assert found == [0, 500, 1_000, 1_000, 1_000, 500, 0, 0]


def test_a_spike_is_there_from_one_moment_to_the_next():
    spike = COURSES["Spike"]
    assert [spike.at(second) for second in (0, 14.999, 15, 29.999, 30)] == [
        *(100, 100, 1_000, 1_000, 100)
    ]


def test_steps_rise_by_the_same():
    step = COURSES["Step"]
    assert [round(step.at(second)) for second in (0, 20, 40, 60, 80, 99.9)] == [
        *(200, 400, 600, 800, 1_000, 1_000)
    ]


def test_a_double_wave_has_two_crests():
    wave = COURSES["DoubleWave"]
    heights = [wave.at(second) for second in range(61)]
    crests = [
        second
        for second in range(1, 60)
        if heights[second - 1] < heights[second] > heights[second + 1]
    ]
    assert crests == [15, 45]


def test_a_soak_stays_where_it_is():
    soak = COURSES["Soak"]
    assert soak.seconds == 1_800
    assert soak.at(60) == soak.at(1_739) == 200


def test_a_ramp_stays_at_its_height_to_the_end():
    ramp = COURSES["Ramp"]
    assert [ramp.at(second) for second in (30, 60, 119.9)] == [500, 1_000, 1_000]


def test_a_course_is_stretched():
    course = COURSES["Seed"].with_peak(10).with_seconds(3)
    assert course.seconds == pytest.approx(3)
    assert [course.at(second) for second in (0.5, 1.5, 2.5)] == pytest.approx([5, 10, 5])
    assert COURSES["Seed"].with_peak(None).with_seconds(None) == COURSES["Seed"]


def test_arrivals_at_a_steady_rate_are_equally_far_apart():
    assert list(Course((Leg(2, 1, 1),), 2).moments()) == pytest.approx([0.25, 0.75, 1.25, 1.75])


@pytest.mark.parametrize("name", COURSES)
def test_as_many_arrive_in_every_second_as_the_course_says(name):
    course = COURSES[name]
    moments = list(course.moments())
    assert moments == sorted(moments)
    assert len(moments) == pytest.approx(course.peak * sum(leg.area for leg in course.legs), abs=1)
    began = 0.0
    for leg in course.legs:
        here = sum(began <= moment < began + leg.seconds for moment in moments)
        assert here == pytest.approx(course.peak * leg.area, abs=1), leg
        middle = began + leg.seconds / 2
        earlier = sum(began <= moment < middle for moment in moments)
        first_half = Leg(leg.seconds / 2, leg.begin, (leg.begin + leg.end) / 2)
        assert earlier == pytest.approx(course.peak * first_half.area, abs=1), leg
        began += leg.seconds


def test_nobody_arrives_where_the_course_is_at_zero():
    course = Course((Leg(1, 1, 0), Leg(5, 0, 0), Leg(1, 0, 1)), 100)
    assert not [moment for moment in course.moments() if 1 < moment < 6]
    assert len(list(course.moments())) == 100
