"""Hysteresis and the trend, by their properties."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forestall.server.checks.result import Series, Status
from forestall.server.checks.tests.story import FAIL, PASS, UNKNOWN, WARN, series
from forestall.server.checks.thresholds import grade, lasting, levels_around
from forestall.server.checks.trend import trend

BADNESS = {PASS: 0, WARN: 1, FAIL: 2}
ANSWERS = st.sampled_from([None, PASS, WARN, FAIL, UNKNOWN])
PERCENT = st.floats(min_value=0, max_value=100)


def graded(value: float, previous: Status | None) -> Status:
    return grade(value, warn=80, fail=90, band=2, previous=previous)


@given(st.lists(st.floats(min_value=88, max_value=90, exclude_min=True, exclude_max=True), min_size=2), ANSWERS)
def test_inside_the_band_nothing_ever_flaps(values, previous):
    statuses = []
    for value in values:
        previous = graded(value, previous)
        statuses.append(previous)
    assert len(set(statuses)) == 1


@given(PERCENT, PERCENT, ANSWERS)
def test_a_higher_value_is_never_judged_better(one, other, previous):
    low, high = sorted((one, other))
    assert BADNESS[graded(low, previous)] <= BADNESS[graded(high, previous)]


@given(PERCENT, ANSWERS)
def test_judging_the_same_again_changes_nothing(value, previous):
    first = graded(value, previous)
    assert graded(value, first) is first


def test_the_threshold_itself_counts_and_so_does_the_end_of_the_band():
    assert graded(90, PASS) is FAIL
    assert graded(89.99, PASS) is WARN
    assert graded(88.01, FAIL) is FAIL
    assert graded(88, FAIL) is WARN
    assert graded(78, WARN) is PASS


def test_low_values_can_be_the_bad_ones():
    assert grade(5, warn=20, fail=10, band=2, previous=PASS, rising=False) is FAIL
    assert grade(11, warn=20, fail=10, band=2, previous=FAIL, rising=False) is FAIL
    assert grade(12, warn=20, fail=10, band=2, previous=FAIL, rising=False) is WARN


def test_nan_is_refused_and_does_not_pass():
    with pytest.raises(ValueError, match="NaN"):
        graded(math.nan, PASS)
    with pytest.raises(ValueError, match="NaN"):
        lasting(series(math.nan), limit=90, band=5, seconds=300, slack_seconds=60, previous=None)


def of_span(*values: float, previous: Status | None = PASS) -> bool | None:
    return lasting(series(*values), limit=90, band=5, seconds=300, slack_seconds=90, previous=previous)


def test_it_lasts_only_when_every_sample_of_the_span_is_beyond():
    assert of_span(95, 96, 97, 98, 99) is True
    assert of_span(95, 96, 40, 98, 99) is False
    assert of_span(10, 95, 96, 97, 98, 99) is True, "what was before the span does not matter"


def test_it_is_not_known_while_the_span_is_not_full_but_one_good_sample_settles_it():
    assert of_span(95) is None
    assert of_span(95, 96) is None
    assert of_span(12) is False
    assert lasting(Series(), limit=90, band=5, seconds=300, slack_seconds=60, previous=None) is None


def test_once_lasting_one_dip_does_not_end_it():
    assert of_span(95, 96, 40, 98, 99, previous=FAIL) is True
    assert of_span(60, 50, 40, 98, 99, previous=FAIL) is False


def test_levels_are_the_thresholds_and_where_they_are_left():
    assert levels_around([80, 90], band=2) == [78, 80, 88, 90]
    assert levels_around([10], band=2, rising=False) == [10, 12]


HOUR = 3600.0


def points(days: float, value) -> tuple[list[float], list[float]]:
    times = [hour * HOUR for hour in range(int(days * 24))]
    return times, [value(time / 86400) for time in times]


def test_a_straight_line_is_found_exactly():
    found = trend(*points(10, lambda day: 50 + 2 * day))
    assert found is not None
    assert found.slope * 86400 == pytest.approx(2)
    assert found.low <= found.slope <= found.high
    assert found.recent * 86400 == pytest.approx(2)


@given(st.floats(min_value=-5, max_value=5), st.integers(min_value=0, max_value=2**32))
def test_noise_does_not_hide_the_slope_and_the_interval_holds_it(per_day, seed):
    noise = random.Random(seed)
    found = trend(*points(10, lambda day: 50 + per_day * day + noise.gauss(0, 0.3)))
    assert found is not None
    assert found.slope * 86400 == pytest.approx(per_day, abs=0.2)


def test_a_file_that_came_and_went_is_no_trend():
    found = trend(*points(10, lambda day: 50 + (30 if 4 < day < 5.5 else 0)))
    assert found is not None
    assert found.slope == pytest.approx(0)


def test_too_little_is_no_trend():
    assert trend([0, 1, 2], [1, 2, 3]) is None
    assert trend([5.0] * 20, list(range(20))) is None
