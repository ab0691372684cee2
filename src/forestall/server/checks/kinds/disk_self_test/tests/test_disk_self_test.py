"""Self tests: a disk that never reads its whole surface finds its bad sectors when somebody needs them."""

import pytest

from forestall.server.checks.result import Risk
from forestall.server.checks.rules import PolicyError
from forestall.server.checks.tests.story import FAIL, PASS, UNKNOWN, WARN, judged, known_with
from forestall.wire.facts import Disk, Disks, SelfTest

WHOLE = SelfTest(kind="Extended offline", status="Completed without error", passed=True, hours=9000)
SHORT = SelfTest(kind="Short offline", status="Completed without error", passed=True, hours=9990)
BROKEN = SelfTest(
    kind="Short offline", status="Completed: read failure", passed=False, hours=9995, first_error="7814035"
)
ABORTED = SelfTest(kind="Extended offline", status="Aborted by host", hours=9999)


def looked(*entries, **fields):
    disk = Disk(
        **{"device": "/dev/sda", "smart_available": True, "power_on_hours": 10000, "interface": "sata", **fields},
        self_tests=entries,
    )
    return judged("disk_self_test", known_with(Disks(disks=(disk,))))


def test_a_failed_test_is_critical_and_says_where():
    result = looked(BROKEN, WHOLE)["/dev/sda"]
    assert (result.status, result.risk) == (FAIL, Risk.CRITICAL)
    assert result.reason == "/dev/sda: its last test (Short offline) failed at 7814035: Completed: read failure."


def test_a_whole_test_lately_passes_and_an_aborted_one_says_nothing():
    result = looked(ABORTED, SHORT, WHOLE)["/dev/sda"]
    assert (result.status, result.value) == (PASS, 41.7)
    assert "41 days of operation ago" in result.reason


def test_an_old_whole_test_warns_and_short_ones_are_not_enough():
    assert looked(SHORT, WHOLE, power_on_hours=12000)["/dev/sda"].status is WARN
    assert looked(SHORT)["/dev/sda"].status is WARN
    assert looked()["/dev/sda"].reason == "/dev/sda: it has never tested itself."


def test_hours_that_wrapped_are_not_taken_for_years():
    assert looked(WHOLE, power_on_hours=9000 + 65536 + 48)["/dev/sda"].value == 2
    assert looked(WHOLE, power_on_hours=9000 + 65536 + 48, interface="sas")["/dev/sda"].status is WARN


def test_one_that_tests_itself_now_and_one_that_does_not_say_when():
    now = SelfTest(kind="Extended offline", status="Self-test routine in progress", remaining_percent=30)
    assert looked(now)["/dev/sda"].status is PASS
    assert looked(WHOLE, power_on_hours=None)["/dev/sda"].status is PASS


def test_who_cannot_say_is_unknown_and_who_cannot_test_is_left_out():
    assert looked(kind="nvme")["/dev/sda"].status is UNKNOWN
    assert looked(kind="virtual") == looked(smart_available=False) == {}


def test_a_policy_that_cannot_be_is_refused():
    with pytest.raises(PolicyError, match="extended_days"):
        judged("disk_self_test", known_with(Disks()), extended_days=0)
