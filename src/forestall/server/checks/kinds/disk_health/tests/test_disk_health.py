"""Disk health: what disks say of themselves."""

import pytest

from forestall.server.checks.result import Risk
from forestall.server.checks.rules import PolicyError
from forestall.server.checks.tests.story import FAIL, PASS, UNKNOWN, WARN, judged, known_with
from forestall.wire.facts import Disk, Disks, Gap, SmartAttribute


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


def test_two_attributes_that_predict_failure_together_fail():
    assert health(media_errors=1).status is WARN
    assert health(media_errors=10).status is FAIL
    result = health(reallocated_sectors=2, media_errors=1)
    assert (result.status, result.risk) == (FAIL, Risk.HIGH)
    assert "2 reallocated sectors, 1 media error" in result.reason
    assert health(command_timeouts=5).status is PASS
    assert health(command_timeouts=100).status is WARN


def test_an_attribute_at_its_threshold_fails_now_and_warns_of_once():
    failing = SmartAttribute(id=5, name="Reallocated_Sector_Ct", value=1, threshold=10, failed="now")
    past = SmartAttribute(id=190, name="Airflow_Temperature_Cel", value=60, threshold=45, failed="past")
    assert health(attributes=(failing,)).status is FAIL
    assert "at or below its threshold (1 of 10)" in health(attributes=(failing,)).reason
    assert health(attributes=(past,)).status is WARN


def test_what_an_nvme_disk_warns_of_itself():
    assert health(critical_warning=0b10).status is WARN
    assert "it only lets itself be read" in health(critical_warning=0b1000).reason
    assert health(spare_percent=10, spare_threshold_percent=10).status is FAIL
    assert health(spare_percent=15, spare_threshold_percent=10).status is WARN
    assert health(spare_percent=100, spare_threshold_percent=99).status is PASS


def test_its_own_limit_of_temperature_is_the_one_that_counts():
    assert health(kind="nvme", temperature_celsius=70, temperature_limit_celsius=82).status is PASS
    result = health(kind="nvme", temperature_celsius=80, temperature_limit_celsius=82)
    assert (result.status, "its own limit is 82 °C" in result.reason) == (WARN, True)
    assert health(kind="hdd", temperature_celsius=70, temperature_limit_celsius=85).status is FAIL
    assert health(kind="hdd", temperature_celsius=55, temperature_limit_celsius=55).status is FAIL


def test_a_bad_cable_is_told_as_one():
    result = health(crc_errors=250)
    assert result.status is WARN
    assert "cable" in result.reason
    assert "Replace the cable" in result.remedy


def test_what_the_controller_says_of_a_disk_behind_it():
    assert health(smart_passed=None, state="failed").risk is Risk.CRITICAL
    assert health(smart_passed=None, state="rebuilding").status is WARN
    assert health(smart_passed=None, state="online").status is PASS
    assert health(smart_passed=None, state="something new").status is UNKNOWN


def test_a_policy_that_cannot_be_is_refused():
    with pytest.raises(PolicyError, match="media_errors_fail"):
        judged("disk_health", known_with(Disks()), media_errors_fail=0)
    with pytest.raises(PolicyError, match="limit_margin_celsius"):
        judged("disk_health", known_with(Disks()), limit_margin_celsius=-1)
