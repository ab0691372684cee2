"""Pending enrolment: somebody has to approve the device."""

from forestall.server.checks.tests.story import FAIL, PASS, UNKNOWN, WARN, ago, judged, known_with


def pending(hours, *, approved=False):
    enrolled = None if hours is None else ago(hours=hours)
    return judged("pending_enrolment", known_with(approved=approved, enrolled_at=enrolled, last_check_in_at=None))[""]


def test_it_warns_at_once_and_fails_after_a_day():
    assert pending(1).status is WARN
    assert "enrolled 36 s ago" in pending(0.01).reason
    assert "enrolled 3 h ago" in pending(3).reason
    assert pending(25).status is FAIL


def test_approved_passes():
    assert pending(9000, approved=True).status is PASS


def test_unknown_when_the_enrolment_is():
    assert pending(None).status is UNKNOWN
