"""Disk space: thresholds with hysteresis, and the day a volume will be full."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forestall.server.checks.kinds import CHECK_KINDS
from forestall.server.checks.result import Risk, Series
from forestall.server.checks.tests.story import FAIL, NOW, PASS, UNKNOWN, WARN, judged, known_with, series
from forestall.wire.facts import Volume, Volumes

BADNESS = {PASS: 0, WARN: 1, FAIL: 2}
DAY = 86400.0


def volume(mountpoint: str = "/", **others) -> Volume:
    return Volume(
        **{"mountpoint": mountpoint, "device": "/dev/sda1", "filesystem": "ext4", "total_bytes": 100 * 10**9, **others}
    )


ROOT = (volume(),)


def disk(used, *, volumes=ROOT, previous=None, free=None, **policy):
    samples = {"disk.used_percent{volume=/}": used if isinstance(used, Series) else series(used)}
    if free is not None:
        samples["disk.free_bytes{volume=/}"] = series(free)
    known = known_with(Volumes(volumes=volumes), samples=samples)
    return judged("disk_space", known, previous=previous, **policy)


def growing(per_day: float, *, last: float, days: float = 10, noise: float = 0.0, seed: int = 1) -> Series:
    """Hourly means over some days that end at ``last``."""
    rough = random.Random(seed)
    hours = list(reversed(range(int(days * 24))))
    end = NOW.timestamp()
    return Series(
        times=[end - hour * 3600 for hour in hours],
        values=[last - per_day * hour / 24 + (rough.gauss(0, noise) if hour else 0) for hour in hours],
    )


def test_the_reason_says_how_full_where_it_fails_and_what_is_left():
    result = disk(93, free=1.4e9)["/"]
    assert (result.status, result.value, result.unit) == (FAIL, 93, "%")
    assert result.reason == "/ is 93 % full (fails at 90 %); 1.4 GB free."


def test_80_warns_90_fails_and_below_passes():
    assert [disk(used)["/"].status for used in (79.9, 80, 89.9, 90)] == [PASS, WARN, WARN, FAIL]


def test_it_clears_only_two_points_lower_and_says_so():
    still = disk(88.5, previous={"/": FAIL})["/"]
    assert still.status is FAIL
    assert "88.5 % full (fail until below 88 %)" in still.reason
    assert disk(87.9, previous={"/": FAIL})["/"].status is WARN
    assert disk(78.5, previous={"/": WARN})["/"].status is WARN
    assert disk(77.9, previous={"/": WARN})["/"].status is PASS


def test_a_steady_growth_that_fills_it_this_week_fails_before_any_threshold():
    result = disk(growing(5, last=70, noise=0.2))["/"]
    assert result.status is FAIL
    assert result.forecast_at is not None
    assert timedelta(days=5) < result.forecast_at - NOW < timedelta(days=7)
    assert "full in about 6 days" in result.reason
    assert "Fails within 7 days" in result.reason


def test_a_slow_growth_is_foretold_and_passes():
    result = disk(growing(1, last=40, noise=0.1))["/"]
    assert result.status is PASS
    assert "full in about 60 days, on 2027-01-22" in result.reason


def test_a_forecast_of_a_few_hours_of_history_is_not_trusted():
    assert disk(growing(5, last=70, days=1))["/"].status is PASS


def test_a_jump_that_is_over_is_no_trend():
    end = NOW.timestamp()
    times = [end - hour * 3600 for hour in reversed(range(240))]
    jump = Series(times=times, values=[40.0 if time < end - 4 * DAY else 75.0 for time in times])
    result = disk(jump)["/"]
    assert (result.status, result.forecast_at) == (PASS, None)


def test_nightly_files_that_come_and_go_are_no_trend():
    end = NOW.timestamp()
    times = [end - hour * 3600 for hour in reversed(range(240))]
    saw = Series(times=times, values=[60.0 + (time % DAY) / DAY * 15 for time in times])
    assert disk(saw)["/"].status is PASS


def test_a_forecast_that_failed_clears_only_when_it_is_two_days_better():
    at_eight_days = growing(3.75, last=70, noise=0.05)
    assert disk(at_eight_days)["/"].status is PASS
    assert disk(at_eight_days, previous={"/": FAIL})["/"].status is FAIL
    assert disk(growing(3, last=70, noise=0.05), previous={"/": FAIL})["/"].status is PASS


def test_each_volume_is_judged_for_itself():
    samples = {"disk.used_percent{volume=/}": series(20), "disk.used_percent{volume=/var\\,log}": series(91)}
    known = known_with(Volumes(volumes=(volume("/"), volume("/var,log"), volume("/new"))), samples=samples)
    results = judged("disk_space", known)
    assert {target: result.status for target, result in results.items()} == {
        "/": PASS,
        "/var,log": FAIL,
        "/new": UNKNOWN,
    }


def test_images_that_are_full_by_nature_are_left_out():
    assert disk(50, volumes=(volume("/snap/core", filesystem="squashfs"),)) == {}


def test_warning_is_a_lesser_risk_than_failing():
    assert disk(85)["/"].risk is Risk.MEDIUM
    assert (disk(95)["/"].risk or CHECK_KINDS["disk_space"].risk) is Risk.HIGH


@given(
    st.floats(min_value=0, max_value=100), st.floats(min_value=0, max_value=100), st.sampled_from([PASS, WARN, FAIL])
)
def test_more_free_space_never_makes_it_worse(one, other, previous):
    less, more = sorted((one, other))
    statuses = [disk(used, previous={"/": previous})["/"].status for used in (less, more)]
    assert BADNESS[statuses[0]] <= BADNESS[statuses[1]]


@settings(max_examples=25)
@given(
    st.floats(min_value=0.5, max_value=8), st.floats(min_value=30, max_value=79), st.floats(min_value=0, max_value=20)
)
def test_the_same_growth_with_more_room_never_makes_it_worse(per_day, last, room):
    fuller = disk(growing(per_day, last=last, noise=0.1))["/"]
    emptier = disk(growing(per_day, last=last - room, noise=0.1))["/"]
    assert BADNESS[emptier.status] <= BADNESS[fuller.status]


def test_intake_watches_both_thresholds_and_where_they_are_left():
    kind = CHECK_KINDS["disk_space"]
    assert [level.value for level in kind.levels(kind.policy())] == [78, 80, 88, 90]


@pytest.mark.parametrize("fail_percent", [91, 99])
def test_a_policy_moves_the_threshold(fail_percent):
    assert disk(90.5, fail_percent=fail_percent)["/"].status is WARN
