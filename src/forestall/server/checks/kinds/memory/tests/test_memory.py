"""Memory: little left, and for long."""

from forestall.server.checks.tests.story import DEBIAN, FAIL, PASS, UNKNOWN, judged, known_with, series


def memory(*values, previous=None):
    samples = {"memory.available_percent": series(*values)} if values else {}
    return judged("memory", known_with(DEBIAN, samples=samples), previous=previous)[""]


def test_a_leak_fails_when_it_lasts():
    result = memory(4, 4, 3, 3, 2.5)
    assert result.status is FAIL
    assert "2.5 % of the memory is available (200 MB)" in result.reason


def test_a_short_need_passes():
    assert memory(40, 4, 30, 5, 4).status is PASS


def test_it_clears_only_above_the_band():
    assert memory(11, 11, 11, 11, 11, previous={"": FAIL}).status is FAIL
    assert memory(13, 13, 13, 13, 13, previous={"": FAIL}).status is PASS


def test_unknown_until_a_sample_comes():
    assert memory().status is UNKNOWN
    assert memory(5).status is UNKNOWN
