"""Clock: how far off, and who keeps it."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from forestall.server.checks.tests.story import DEBIAN, FAIL, PASS, UNKNOWN, WARN, judged, known_with
from forestall.wire.facts import Time


def clock(offset=None, *, daemon="chronyd", synchronised=True, own=None, virtual="none", previous=None):
    known = known_with(
        Time(daemon=daemon, synchronised=synchronised, offset_seconds=own),
        msgspec.structs.replace(DEBIAN, virtualisation=virtual),
        clock_offset_seconds=offset,
    )
    return judged("clock_drift", known, previous={"": previous} if previous else {})[""]


def test_right_and_kept_passes():
    result = clock(0.012)
    assert (result.status, result.value) == (PASS, 0.012)
    assert "off by 0.012 s" in result.reason
    assert "chronyd keeps it" in result.reason


def test_a_second_warns_and_ten_fail_in_both_directions():
    assert [clock(offset).status for offset in (0.9, 1, -1.5, 9.9, 10, -600)] == [PASS, WARN, WARN, WARN, FAIL, FAIL]


def test_each_threshold_has_a_band_of_a_fifth():
    assert clock(0.85, previous=WARN).status is WARN
    assert clock(0.79, previous=WARN).status is PASS
    assert clock(8.5, previous=FAIL).status is FAIL
    assert clock(7.9, previous=FAIL).status is WARN


@given(st.floats(min_value=0.81, max_value=0.99), st.sampled_from([PASS, WARN, FAIL]))
def test_inside_the_band_it_stays_what_it_became(offset, previous):
    first = clock(offset, previous=previous).status
    assert clock(offset, previous=first).status is first


def test_the_devices_own_measurement_serves_where_there_is_no_other():
    assert clock(None, own=3.2).status is WARN


def test_nothing_that_keeps_it_warns_and_a_guest_is_told_what_that_means():
    result = clock(0.1, daemon="", synchronised=False, virtual="kvm")
    assert result.status is WARN
    assert "no time daemon runs" in result.reason
    assert "virtual machine (kvm)" in result.reason


def test_a_daemon_that_is_not_synchronised_warns():
    assert "not synchronised" in clock(synchronised=False).reason
    assert clock(synchronised=False).status is WARN


def test_a_daemon_of_which_nothing_is_known_is_unknown():
    assert clock(synchronised=None).status is UNKNOWN
