"""Offline: five minutes warn, thirty fail."""

from forestall.server.checks.result import Risk
from forestall.server.checks.tests.story import ENROLLED, FAIL, PASS, WARN, ago, judged, known_with


def offline(minutes, **others):
    last = None if minutes is None else ago(minutes=minutes)
    return judged("offline", known_with(last_check_in_at=last, **others))


def test_it_warns_after_five_minutes_and_fails_after_thirty():
    assert [offline(m)[""].status for m in (0, 4.9, 5, 29.9, 30, 9000)] == [PASS, PASS, WARN, WARN, FAIL, FAIL]


def test_the_reason_says_when_it_was_last_seen():
    result = offline(42)[""]
    assert result.value == 42
    assert result.reason == "Overdue (fails after 30 min): the last check-in was 42 min ago (2026-11-23 08:18 UTC)."


def test_a_server_that_is_overdue_is_critical_an_endpoint_is_not():
    assert offline(42)[""].risk is Risk.CRITICAL
    assert offline(42, role="endpoint")[""].risk is Risk.MEDIUM
    assert offline(6)[""].risk is Risk.MEDIUM


def test_one_that_never_checked_in_counts_from_its_enrolment():
    result = offline(None, enrolled_at=ENROLLED)[""]
    assert result.status is FAIL
    assert "no check-in since it enrolled 60 days ago" in result.reason


def test_nothing_is_expected_of_a_device_that_nobody_approved():
    assert offline(9000, approved=False) == {}
