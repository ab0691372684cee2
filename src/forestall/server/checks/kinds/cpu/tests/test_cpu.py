"""CPU: busy without pause, and not merely busy."""

from forestall.server.checks.tests.story import FAIL, PASS, STALE, UNKNOWN, ago, judged, known_with, series


def cpu(*values, previous=None, **others):
    samples = {"cpu.used_percent": series(*values)} if values else {}
    return judged("cpu", known_with(samples=samples, **others), previous=previous)[""]


def test_a_runaway_process_fails_after_five_minutes():
    result = cpu(20, 97, 98, 99, 97, 98.4)
    assert result.status is FAIL
    assert "98.4 % busy" in result.reason
    assert "5 min" in result.reason


def test_a_busy_minute_passes():
    assert cpu(20, 30, 20, 25, 99).status is PASS


def test_right_after_a_start_a_busy_cpu_is_not_yet_known_to_be_a_fault():
    assert cpu(99).status is UNKNOWN
    assert cpu(20).status is PASS


def test_one_pause_does_not_clear_it():
    assert cpu(98, 99, 60, 99, 98, previous={"": FAIL}).status is FAIL
    assert cpu(50, 40, 60, 50, 40, previous={"": FAIL}).status is PASS


def test_no_samples_is_unknown_and_old_ones_are_stale():
    assert cpu().status is UNKNOWN
    samples = {"cpu.used_percent": series(20, end=ago(minutes=5))}
    assert judged("cpu", known_with(samples=samples))[""].status is STALE
