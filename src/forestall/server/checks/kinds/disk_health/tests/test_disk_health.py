"""Disk health: what disks say of themselves."""

from forestall.server.checks.result import Risk
from forestall.server.checks.tests.story import FAIL, PASS, UNKNOWN, WARN, judged, known_with
from forestall.wire.facts import Disk, Disks, Gap


def health(previous=None, **fields):
    disk = Disk(**{"device": "/dev/sda", "model": "WD Red", "size_bytes": 4 * 10**12, "smart_passed": True, **fields})
    return judged("disk_health", known_with(Disks(disks=(disk,))), previous=previous)["/dev/sda"]


def test_a_well_disk_passes_with_its_figures():
    result = health(temperature_celsius=35, wear_percent=3, power_on_hours=24000)
    assert result.status is PASS
    assert result.reason == (
        "/dev/sda (WD Red 4 TB) says that it is well, 35 °C, 3 % of its endurance used, 24,000 hours of operation."
    )


def test_a_disk_that_says_it_is_failing_is_critical():
    result = health(smart_passed=False)
    assert (result.status, result.risk) == (FAIL, Risk.CRITICAL)


def test_sectors_that_cannot_be_read_fail_even_when_the_disk_calls_itself_well():
    result = health(pending_sectors=8, reallocated_sectors=2)
    assert (result.status, result.risk) == (FAIL, Risk.CRITICAL)
    assert "8 sectors that cannot be read now, 2 reallocated sectors" in result.reason


def test_a_few_reallocated_sectors_warn_many_fail():
    assert health(reallocated_sectors=2).status is WARN
    assert health(reallocated_sectors=50).status is FAIL


def test_wear_and_heat():
    assert health(wear_percent=85).status is WARN
    assert health(wear_percent=99).status is FAIL
    assert health(temperature_celsius=61).status is WARN
    assert health(temperature_celsius=58, previous={"/dev/sda": WARN}).status is WARN
    assert health(temperature_celsius=58).status is PASS


def test_a_virtual_disk_has_no_health_of_its_own():
    result = health(kind="virtual", smart_passed=None, smart_available=False)
    assert result.status is UNKNOWN
    assert "a virtual disk has no health of its own" in result.reason


def test_without_smart_it_is_unknown_and_says_why():
    result = health(smart_passed=None, unknown_why="smartctl is not installed")
    assert result.status is UNKNOWN
    assert "smartctl is not installed" in result.reason
    assert "smartmontools" in result.remedy


def test_no_disk_seen_is_unknown_and_no_disk_there_is_nothing():
    gap = Gap(what="disks", why="/sys/block does not exist")
    assert judged("disk_health", known_with(Disks(gaps=(gap,))))[""].status is UNKNOWN
    assert judged("disk_health", known_with(Disks())) == {}
