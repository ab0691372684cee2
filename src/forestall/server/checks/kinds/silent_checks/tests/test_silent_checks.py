"""Silent checks: what stopped arriving while the device goes on checking in."""

from forestall.server.checks.tests.story import NOW, PASS, UNKNOWN, WARN, ago, judged, known_with, series

FRESH = {"system": NOW, "updates": ago(hours=20), "disks": ago(hours=30)}


def silent(collected=None, samples=None, **others):
    known = known_with(
        collected_at=FRESH if collected is None else collected,
        samples={"cpu.used_percent": series(10)} if samples is None else samples,
        **others,
    )
    return judged("silent_checks", known)


def test_everything_arrives():
    result = silent()[""]
    assert (result.status, result.value) == (PASS, 0)
    assert "3 documents and the samples arrive" in result.reason


def test_a_document_that_stopped_is_named_with_its_age():
    result = silent({**FRESH, "updates": ago(days=4)})[""]
    assert (result.status, result.value) == (WARN, 1)
    assert "1 input stopped arriving: updates (4 days)" in result.reason


def test_samples_that_stopped():
    assert "samples (30 min)" in silent(samples={"cpu.used_percent": series(10, end=ago(minutes=30))})[""].reason
    assert silent(samples={})[""].status is WARN


def test_of_an_offline_device_only_what_was_silent_before_counts():
    last = ago(days=5)
    collected = {"system": ago(days=5, hours=2)}
    samples = {"cpu.used_percent": series(10, end=last)}
    assert silent(collected, samples, last_check_in_at=last)[""].status is PASS


def test_before_anything_arrived_nothing_can_be_said():
    assert silent({}, {})[""].status is UNKNOWN


def test_never_checked_in_is_unknown_and_not_approved_is_nothing():
    assert silent(last_check_in_at=None)[""].status is UNKNOWN
    assert silent(approved=False) == {}
